//! A set's policy as the second judge reads it: from its spec, with none of the planner's functions.

use std::sync::Arc;

use api::{
    k8s::{
        api::apps::v1::StatefulSet,
        apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
    },
    policy::{RolloutPolicy, StatefulSetPolicy, StatefulSetPolicyStatus},
};

use super::super::View;

/// What the one policy in force asks for; without one, nothing.
#[derive(Default)]
pub(super) struct Law<'a> {
    pub(super) policy: Option<&'a StatefulSetPolicy>,
    pub(super) rollout: RolloutPolicy,
    pub(super) paused: bool,
    pub(super) drops_claims: bool,
    reserved: Vec<(i64, i64)>,
}

impl<'a> Law<'a> {
    /// The law of this view, and the ordinals that are wanted under it.
    pub(super) fn of(view: &'a View) -> (Self, Vec<i64>) {
        let set = &*view.set;
        let none = Self::default();
        let plain = none.wanted(set);
        let mut staying = staying(&view.policies);
        let (Some(policy), None) = (staying.next(), staying.next()) else { return (none, plain) };
        let rollout = policy.spec.rollout.clone().unwrap_or_default();
        let spec = set.spec.as_ref();
        let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
        let by_hand = strategy.and_then(|one| one.type_.as_deref()) == Some("OnDelete");
        let rolls = rollout.max_unavailable.is_some()
            || rollout.replace_broken_pods == Some(true)
            || rollout.progress_deadline_seconds.is_some();
        let ordinals = policy.spec.ordinals.clone().unwrap_or_default();
        let mut reserved = Vec::new();
        for entry in ordinals.reserved.iter().flatten() {
            let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
            let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else { return (none, plain) };
            reserved.push((first, last));
        }
        let law = Self {
            policy: Some(policy),
            rollout,
            paused: policy.spec.paused == Some(true),
            drops_claims: ordinals.claims.as_deref() == Some("Delete"),
            reserved,
        };
        let wanted = law.wanted(set);
        let beyond = wanted.last().is_some_and(|last| *last > i64::from(i32::MAX));
        if beyond || by_hand && rolls { (none, plain) } else { (law, wanted) }
    }

    fn wanted(&self, set: &StatefulSet) -> Vec<i64> {
        let spec = set.spec.as_ref();
        let start = spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0);
        let count = spec.and_then(|spec| spec.replicas).unwrap_or(1).max(0);
        let count = usize::try_from(count).unwrap_or(0);
        let mut wanted = Vec::with_capacity(count);
        let mut next = i64::from(start.max(0));
        while wanted.len() < count {
            match self.reserved.iter().find(|(first, last)| (first..=last).contains(&&next)) {
                Some((_, last)) => next = last + 1,
                None => {
                    wanted.push(next);
                    next += 1;
                }
            }
        }
        wanted
    }

    pub(super) fn reserves(&self, ordinal: i64) -> bool {
        self.reserved.iter().any(|(first, last)| (first..=last).contains(&&ordinal))
    }

    /// How many pods may be being made or removed at once, where the policy says.
    pub(super) fn pace(&self, replicas: usize) -> Option<usize> {
        let scaling = self.policy?.spec.scaling.as_ref()?;
        scaling.max_unavailable.as_ref().map(|said| share(said, replicas))
    }

    pub(super) fn status(&self) -> Option<&StatefulSetPolicyStatus> {
        self.policy?.status.as_ref()
    }

    /// A broken pod of this revision is not waited for.
    pub(super) fn replaces(&self, revision: &str) -> bool {
        let returns = self.rollout.on_deadline.as_deref() == Some("Return");
        let given_up = self.status().and_then(|status| status.returned_from.as_deref());
        self.rollout.replace_broken_pods == Some(true) || returns && given_up == Some(revision)
    }
}

pub(super) fn staying(
    policies: &[Arc<StatefulSetPolicy>],
) -> impl Iterator<Item = &StatefulSetPolicy> {
    let stays = |one: &&StatefulSetPolicy| one.metadata.deletion_timestamp.is_none();
    policies.iter().map(|one| &**one).filter(stays)
}

/// A number, or a share of the replicas rounded down; at least one.
pub(super) fn share(said: &IntOrString, replicas: usize) -> usize {
    let pods = match said {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(part) => {
            part.trim_end_matches('%').parse::<usize>().unwrap_or(0) * replicas / 100
        }
    };
    pods.max(1)
}

/// A policy's condition of this type.
pub(super) fn told<'a>(
    status: Option<&'a StatefulSetPolicyStatus>,
    kind: &str,
) -> Option<&'a Condition> {
    status?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}
