//! What the set's conditions say: Available, Progressing, ReplicaFailure.
//!
//! Beyond upstream, which has the field and never writes it. Conditions of other types are others',
//! and stay as they are, where they are.

use std::collections::BTreeMap;

use api::k8s::{
    api::{
        apps::v1::{StatefulSetCondition, StatefulSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use jiff::Timestamp;

use super::{
    deadline::Clock,
    identity::pod_name,
    policy::name,
    reasons::{Trouble, since, trouble},
    revision::Revisions,
    view::{View, controller_of, revision_of},
};
use crate::Wait;

/// What the conditions are made of, besides the view: the facts as the plan sorted them.
pub(super) struct Facts<'a> {
    pub(super) view: &'a View,
    pub(super) revisions: &'a Revisions,
    pub(super) replicas: &'a BTreeMap<i64, &'a Pod>,
    pub(super) condemned: &'a BTreeMap<i64, &'a Pod>,
    pub(super) waits: &'a [Wait],
    pub(super) clock: Clock,
}

/// The set's conditions as they shall be: `old` with ours in their places.
///
/// A condition keeps its transition time as long as its status is the same.
pub(super) fn of(
    facts: &Facts<'_>,
    old: Option<&StatefulSetStatus>,
) -> Option<Vec<StatefulSetCondition>> {
    let mut all = old.and_then(|status| status.conditions.clone()).unwrap_or_default();
    if !facts.view.deleting() {
        let first = facts.first_trouble();
        let now = facts.view.now;
        put(&mut all, "Available", Some(facts.available(first.as_ref())), now);
        put(&mut all, "Progressing", Some(facts.progressing(first.as_ref())), now);
        put(&mut all, "ReplicaFailure", facts.failure(first), now);
    }
    Some(all).filter(|all| !all.is_empty())
}

/// What one condition says.
struct Said {
    status: &'static str,
    reason: String,
    message: String,
}

impl Said {
    fn new(status: &'static str, reason: &str, message: String) -> Self {
        Self { status, reason: reason.to_owned(), message }
    }
}

fn put(all: &mut Vec<StatefulSetCondition>, kind: &str, said: Option<Said>, now: Timestamp) {
    let place = all.iter().position(|condition| condition.type_ == kind);
    let Some(said) = said else {
        all.retain(|condition| condition.type_ != kind);
        return;
    };
    let old = place.map(|at| &all[at]).filter(|old| old.status == said.status);
    let kept = old.and_then(|old| old.last_transition_time.clone());
    let condition = StatefulSetCondition {
        type_: kind.to_owned(),
        status: said.status.to_owned(),
        reason: Some(said.reason),
        message: Some(said.message),
        last_transition_time: Some(kept.unwrap_or_else(|| Time(whole(now)))),
    };
    match place {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
}

/// In whole seconds, as the API has times.
pub(super) fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl Facts<'_> {
    /// True when every wanted pod is available.
    fn available(&self, first: Option<&Trouble>) -> Said {
        let wanted = self.view.replicas();
        let up = self.replicas.values().filter(|pod| !self.view.unavailable(pod)).count();
        match first {
            None => {
                let message = match wanted {
                    0 => "the set wants no pods".to_owned(),
                    1 => "its pod is available".to_owned(),
                    _ => format!("all {wanted} pods are available"),
                };
                Said::new("True", "AllPodsAvailable", message)
            }
            Some(trouble) => {
                let message = format!("{up} of {wanted} available: {}", trouble.sentence);
                Said::new("False", &trouble.reason, message)
            }
        }
    }

    /// What is the matter with the lowest wanted pod that is not available.
    fn first_trouble(&self) -> Option<Trouble> {
        self.view.wanted().find_map(|ordinal| match self.replicas.get(&ordinal) {
            Some(pod) => trouble(self.view, pod),
            None => Some(self.missing(&pod_name(self.view.name(), ordinal))),
        })
    }

    /// Why a wanted pod is not there.
    fn missing(&self, name: &str) -> Trouble {
        let refused = self.view.refused.as_ref();
        let named = |pod: &&std::sync::Arc<Pod>| pod.metadata.name.as_deref() == Some(name);
        let squatter = self.view.pods.iter().find(named);
        let not_made = format!("pod {name} is not made");
        if let Some(squatter) = squatter {
            let born = squatter.metadata.creation_timestamp.as_ref().map(|at| at.0);
            let whose = match controller_of(&squatter.metadata) {
                Some(owner) => format!("{} {}", owner.kind, owner.name),
                None => "nobody, and the set's selector does not match it".to_owned(),
            };
            let born = since(born);
            let sentence =
                format!("{not_made}: a pod of its name is there{born}, owned by {whose}");
            return Trouble::new("NameTaken", sentence, true);
        }
        let claim = self.waits.iter().find_map(|wait| match wait {
            Wait::ClaimGone(claim) if claim.ends_with(&format!("-{name}")) => Some(claim),
            _ => None,
        });
        if let Some(claim) = claim {
            let object = self.view.claims.get(claim);
            let going = object.and_then(|claim| claim.metadata.deletion_timestamp.as_ref());
            let sentence = match going {
                Some(at) => format!("{not_made}: claim {claim} is being deleted since {}", at.0),
                None => format!("{not_made}: claim {claim} goes with an earlier pod of its name"),
            };
            return Trouble::new("ClaimTerminating", sentence, false);
        }
        match refused {
            Some(refused) => {
                let sentence =
                    format!("{not_made}{}: {}", since(Some(refused.since)), refused.error);
                Trouble::new("FailedCreate", sentence, true)
            }
            None => Trouble::new("PodMissing", format!("pod {name} is to be made"), false),
        }
    }

    /// True while the set is, or is on its way to be, what its spec says.
    fn progressing(&self, late: Option<&Trouble>) -> Said {
        let update = self.revisions.update.metadata.name.clone().unwrap_or_default();
        let old = |ordinal: &i64| {
            self.replicas.get(ordinal).is_some_and(|pod| revision_of(pod) != update)
        };
        let first = self.view.at(self.view.partition().unwrap_or(0));
        let outdated = self.replicas.range(first..).filter(|(ordinal, _)| old(ordinal)).count();
        let held = self.replicas.range(..first).any(|(ordinal, _)| old(ordinal));
        let waiting = self.waiting().map(|wait| format!("; {wait}")).unwrap_or_default();
        if outdated > 0 {
            let all = self.replicas.range(first..).count();
            let message = format!("{} of {all} pods are at revision {update}", all - outdated);
            return self.rolling(&update, message, &waiting);
        }
        if let Some(said) = self.exceeded(&waiting) {
            return said;
        }
        let there = i64::try_from(self.replicas.len()).unwrap_or(i64::MAX);
        if there < self.view.replicas() || !self.condemned.is_empty() {
            let total = there + i64::try_from(self.condemned.len()).unwrap_or(0);
            let message = format!("{total} pods are there, {} wanted", self.view.replicas());
            return Said::new("True", "Scaling", message + &waiting);
        }
        if let Some(trouble) = late {
            return Said::new("True", "PodsUnavailable", trouble.sentence.clone());
        }
        if held {
            let message = format!("revision {update} is on all pods from the partition on");
            return Said::new("True", "PartitionReached", message);
        }
        Said::new("True", "Complete", format!("revision {update} is on all pods"))
    }

    /// Progressing, while pods are at older revisions than they shall be.
    fn rolling(&self, update: &str, message: String, waiting: &str) -> Said {
        if !self.view.rolling() {
            let rest = "; the others follow when someone deletes them";
            return Said::new("True", "OnDelete", message + rest);
        }
        if let Some(policy) = self.view.policy().filter(|_| self.view.paused()) {
            let paused = format!("; StatefulSetPolicy {} has paused the rollout", name(policy));
            return Said::new("Unknown", "Paused", message + &paused);
        }
        if let Some(said) = self.exceeded(waiting) {
            return said;
        }
        match self.view.given_up() {
            Some(old) if self.view.last_completed() == Some(update) => {
                let back = format!("; the set comes back to it, revision {old} was given up");
                Said::new("True", "Returning", message + &back + waiting)
            }
            _ => Said::new("True", "RollingUpdate", message + waiting),
        }
    }

    /// Progressing, once a rollout has stood still for longer than its deadline.
    fn exceeded(&self, waiting: &str) -> Option<Said> {
        let Clock::Exceeded { since } = self.clock else { return None };
        let seconds = self.view.rules.as_ref().and_then(|rules| rules.deadline_s).unwrap_or(0);
        let message = format!("no progress since {since}, for more than {seconds} s{waiting}");
        Some(Said::new("False", "ProgressDeadlineExceeded", message))
    }

    /// What the plan waits for first, told of the pod itself where it is one.
    fn waiting(&self) -> Option<String> {
        let wait = self.waits.first()?;
        let (Wait::Healthy(name) | Wait::Gone(name)) = wait else {
            return Some(format!("waits {wait}"));
        };
        let pods = self.replicas.values().chain(self.condemned.values());
        let mut named = pods.filter(|pod| pod.metadata.name.as_ref() == Some(name));
        Some(match named.next() {
            Some(pod) => match trouble(self.view, pod) {
                Some(trouble) => trouble.sentence,
                None => format!("pod {name} is to go"),
            },
            None => self.missing(name).sentence,
        })
    }

    /// There when a pod cannot be made, or cannot become ready as it is.
    fn failure(&self, first: Option<Trouble>) -> Option<Said> {
        let mut troubles = self.replicas.values().filter_map(|pod| trouble(self.view, pod));
        let broken = troubles.find(|trouble| trouble.lasting);
        let trouble = broken.or_else(|| first.filter(|trouble| trouble.lasting))?;
        Some(Said::new("True", &trouble.reason, trouble.sentence))
    }
}
