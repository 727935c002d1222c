//! The set's StatefulSetPolicy as the planner reads it, and whether it is in force at all.

use std::sync::Arc;

use api::{
    k8s::{
        api::apps::v1::StatefulSet,
        apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
    },
    policy::{StatefulSetPolicy, StatefulSetPolicySpec, reserved},
};

use super::{
    ordinals::at,
    view::{Health, View, controller_of, revision_of},
};

/// What a policy in force asks for. A set without one has none, and behaves as upstream's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    pub(super) paused: bool,
    pub(super) replace_broken: bool,
    pub(super) max_unavailable: Option<IntOrString>,
    pub(super) batched: bool,
    pub(super) deadline_s: Option<i64>,
    pub(super) returns: bool,
    pub(super) scale_max: Option<IntOrString>,
    /// First and last of each reserved range: ascending, without overlaps.
    pub(super) reserved: Vec<(i64, i64)>,
    pub(super) delete_claims: bool,
}

/// Why a policy is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Rules {
    /// Those of the one policy among `policies`, all of which name `set`, if it is in force.
    #[must_use]
    pub fn of(set: &StatefulSet, policies: &[Arc<StatefulSetPolicy>]) -> Option<Self> {
        judge(set, policies)?.ok()
    }
}

/// Whether the policy of a set is in force; `None` where it has none.
pub(super) fn judge(
    set: &StatefulSet,
    policies: &[Arc<StatefulSetPolicy>],
) -> Option<Result<Rules, Refusal>> {
    let mut staying = staying(policies);
    let policy = staying.next()?;
    if staying.next().is_some() {
        let names: Vec<&str> = self::staying(policies).map(|policy| name(policy)).collect();
        let names = names.join(", ");
        let message = format!("policies {names} name one StatefulSet: none is in force");
        return Some(Err(Refusal { reason: "Conflicting", message }));
    }
    let rules = rules(&policy.spec)
        .and_then(|rules| fits(set, &rules).map(|()| rules))
        .map_err(|message| Refusal { reason: "Contradicts", message });
    Some(rules)
}

/// Those that are not being deleted.
pub(super) fn staying(
    policies: &[Arc<StatefulSetPolicy>],
) -> impl Iterator<Item = &Arc<StatefulSetPolicy>> {
    policies.iter().filter(|policy| policy.metadata.deletion_timestamp.is_none())
}

pub(super) fn name(policy: &StatefulSetPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}

/// The spec, read; another cluster's API server may have let anything in.
fn rules(spec: &StatefulSetPolicySpec) -> Result<Rules, String> {
    let rollout = spec.rollout.clone().unwrap_or_default();
    let ordinals = spec.ordinals.clone().unwrap_or_default();
    let mut ranges = Vec::new();
    for entry in ordinals.reserved.unwrap_or_default() {
        let range =
            reserved(&entry).map_err(|error| format!("reserved ordinal {entry:?}: {error}"))?;
        ranges.push((i64::from(*range.start()), i64::from(*range.end())));
    }
    Ok(Rules {
        paused: spec.paused.unwrap_or(false),
        replace_broken: rollout.replace_broken_pods.unwrap_or(false),
        max_unavailable: rollout.max_unavailable,
        batched: rollout.creation.as_deref() == Some("Batched"),
        deadline_s: rollout.progress_deadline_seconds.map(i64::from).filter(|s| *s > 0),
        returns: rollout.on_deadline.as_deref() == Some("Return"),
        scale_max: spec.scaling.as_ref().and_then(|scaling| scaling.max_unavailable.clone()),
        reserved: merged(ranges),
        delete_claims: ordinals.claims.as_deref() == Some("Delete"),
    })
}

/// Ascending, without overlaps.
fn merged(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Whether the set leaves the policy its say.
fn fits(set: &StatefulSet, rules: &Rules) -> Result<(), String> {
    let spec = set.spec.as_ref();
    let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
    let on_delete = strategy.and_then(|one| one.type_.as_deref()) == Some("OnDelete");
    let asked = [
        (rules.max_unavailable.is_some(), "maxUnavailable"),
        (rules.replace_broken, "replaceBrokenPods"),
        (rules.deadline_s.is_some(), "progressDeadlineSeconds"),
    ];
    if let Some((_, field)) = asked.iter().find(|(asked, _)| *asked && on_delete) {
        return Err(format!(
            "rollout.{field} is set, and the StatefulSet's update strategy is OnDelete"
        ));
    }
    let start = spec.and_then(|spec| spec.ordinals.as_ref()?.start).unwrap_or(0);
    let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let last = at(i64::from(start), &rules.reserved, i64::from(replicas) - 1);
    if replicas > 0 && last > i64::from(i32::MAX) {
        return Err(format!(
            "with these ordinals reserved, the last of {replicas} pods would have ordinal {last}, \
             which is greater than {}",
            i32::MAX
        ));
    }
    Ok(())
}

/// How many pods a rollout of this set may take, and how many of its pods are unavailable; `None`
/// where the set rolls one by one, with the gate closed and no budget of a policy.
#[must_use]
pub fn unavailability(view: &View) -> Option<(i64, i64)> {
    let budget = view.budget()?;
    let up = view.pods.iter().filter(|pod| {
        let wanted = view.ordinal(pod).is_some_and(|ordinal| view.in_range(ordinal));
        let owner = controller_of(&pod.metadata).is_some_and(|owner| owner.uid == view.uid());
        wanted && owner && !view.unavailable(pod)
    });
    Some((budget, view.replicas() - i64::try_from(up.count()).unwrap_or(0)))
}

impl View {
    /// The policy in force.
    pub(super) fn policy(&self) -> Option<&Arc<StatefulSetPolicy>> {
        self.rules.as_ref().and_then(|_| staying(&self.policies).next())
    }

    /// A condition of the policy in force.
    pub(super) fn policy_condition(&self, kind: &str) -> Option<&Condition> {
        let conditions = self.policy()?.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == kind)
    }

    /// No pod is replaced for its revision now.
    pub(super) fn paused(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.paused)
    }

    /// The revision of the last completed rollout, as the policy's status keeps it.
    pub(super) fn last_completed(&self) -> Option<&str> {
        self.policy()?.status.as_ref()?.last_completed_revision.as_deref()
    }

    /// The revision that was given up after the deadline.
    pub(super) fn given_up(&self) -> Option<&str> {
        self.policy()?.status.as_ref()?.returned_from.as_deref()
    }

    /// Whether a broken pod of this revision is replaced without being waited for: all are where the
    /// policy says so, and those of a revision that was given up are in any case.
    pub(super) fn replaces_broken(&self, revision: &str) -> bool {
        let Some(rules) = &self.rules else { return false };
        rules.replace_broken || rules.returns && self.given_up() == Some(revision)
    }

    /// How many pods a rollout may take at once (M1), if it may take several.
    ///
    /// The policy's word goes before the set's own, which counts where the gate is on.
    pub(super) fn budget(&self) -> Option<i64> {
        let said = self.rules.as_ref().and_then(|rules| rules.max_unavailable.as_ref());
        if said.is_none() && !self.options.max_unavailable {
            return None;
        }
        let strategy = self.spec().update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let own = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        Some(said.or(own).map_or(1, |said| self.share(said)))
    }

    /// How many pods may be being made, or removed, at once.
    pub(super) fn pace(&self) -> i64 {
        let said = self.rules.as_ref().and_then(|rules| rules.scale_max.as_ref());
        match said {
            Some(said) => self.share(said),
            None if self.parallel() => i64::MAX,
            None => 1,
        }
    }

    /// A number of pods: a percentage is of the replicas and rounded down; at least one.
    fn share(&self, said: &IntOrString) -> i64 {
        let wanted = match said {
            IntOrString::Int(number) => i64::from(*number),
            IntOrString::String(percent) => {
                let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
                self.replicas().saturating_mul(percent) / 100
            }
        };
        wanted.max(1)
    }

    /// A pod stands at this revision and is available.
    pub(super) fn serves(&self, revision: &str) -> bool {
        self.pods
            .iter()
            .any(|pod| revision_of(pod) == revision && self.health(pod) == Health::Available)
    }
}
