//! The promises about a set with a StatefulSetPolicy.

use api::{
    k8s::api::apps::v1::StatefulSet,
    policy::{StatefulSetPolicy, StatefulSetPolicyStatus},
};

use super::MOVES_MAX;
use super::case::{Case, revision};
use super::law::{staying, told};
use crate::Verb;

impl Case<'_> {
    /// No pod is replaced for its revision while the rollout is paused, and no template comes back.
    pub(super) fn paused_rests(&self) -> bool {
        !self.law.paused || self.rolled().next().is_none() && self.returned.is_none()
    }

    /// Every broken pod of an old revision goes at once, where the policy says so.
    pub(super) fn broken_go(&self) -> bool {
        let full = self.deleted.len() + self.created.len() >= MOVES_MAX;
        let deleting = self.set.metadata.deletion_timestamp.is_some();
        full || deleting
            || self.law.policy.is_none()
            || self.returned.is_some()
            || self.replicas.iter().all(|(ordinal, seen)| {
                let goes = self.deleted.iter().any(|(gone, _)| gone == ordinal);
                seen.going || goes || !self.hopeless(*ordinal)
            })
    }

    /// This pod is replaced without being waited for: broken, of an old revision, and not held.
    pub(super) fn hopeless(&self, ordinal: i64) -> bool {
        let Some(seen) = self.replicas.get(&ordinal) else { return false };
        self.rolling
            && !self.law.paused
            && ordinal >= self.first
            && !self.updated(ordinal)
            && !seen.available
            && self.law.replaces(revision(seen.pod))
    }

    /// A template comes back only where the policy says so, after its deadline, and it is that of the
    /// revision on record; nothing else is done then.
    pub(super) fn returns_rightly(&self) -> bool {
        let Some(back) = self.returned else { return true };
        let Some(policy) = self.law.policy else { return false };
        let rollout = &self.law.rollout;
        let asked = rollout.on_deadline.as_deref() == Some("Return");
        let seconds = i64::from(rollout.progress_deadline_seconds.unwrap_or(i32::MAX));
        let moved = told(policy.status.as_ref(), "Progressing");
        let late = moved.is_some_and(|moved| {
            let since = self.view.now.duration_since(moved.last_transition_time.0);
            since >= jiff::SignedDuration::from_secs(seconds)
        });
        let record = self.policy_writes().next().map(|(_, status)| status);
        let known = record.and_then(|status| status.last_completed_revision.as_deref());
        let named = |name: &str| {
            let all = self.view.revisions.iter();
            all.clone().find(|one| one.metadata.name.as_deref() == Some(name))
        };
        let mut template = known
            .and_then(named)
            .and_then(|one| one.data.as_ref()?.0.pointer("/spec/template").cloned());
        if let Some(fields) = template.as_mut().and_then(|value| value.as_object_mut()) {
            fields.remove("$patch");
        }
        let given = back.spec.as_ref().and_then(|s| serde_json::to_value(&s.template).ok());
        let mut rest: StatefulSet = back.clone();
        if let (Some(spec), Some(old)) = (&mut rest.spec, &self.set.spec) {
            spec.template = old.template.clone();
        }
        let alone = self.created.is_empty() && self.deleted.is_empty();
        asked && late && alone && template.is_some() && template == given && rest == *self.set
    }

    /// A policy is told that it is accepted when it is in force, and only then.
    pub(super) fn acceptance_is_told(&self) -> bool {
        let own = self.law.policy.map(|policy| &policy.metadata.name);
        self.policy_writes().all(|(policy, status)| {
            let accepted = told(Some(status), "Accepted").map(|one| one.status.as_str());
            let wanted = if own == Some(&policy.metadata.name) { "True" } else { "False" };
            accepted == Some(wanted) && policy.spec == self.spec_of(policy)
        })
    }

    /// Every policy's status says all there is to say once the set has converged.
    pub(super) fn policies_told(&self, update: Option<&str>) -> bool {
        staying(&self.view.policies).all(|policy| {
            let status = policy.status.as_ref();
            let says = |kind: &str| told(status, kind);
            let in_force = self.law.policy.is_some();
            let accepted = says("Accepted").is_some_and(|one| (one.status == "True") == in_force);
            let completed = status.and_then(|status| status.last_completed_revision.as_deref());
            accepted
                && status.and_then(|status| status.observed_generation)
                    == policy.metadata.generation
                && (!in_force || completed == update)
                && says("Progressing").is_none()
                && says("Paused").is_some() == (in_force && self.law.paused)
        })
    }

    fn policy_writes(
        &self,
    ) -> impl Iterator<Item = (&StatefulSetPolicy, &StatefulSetPolicyStatus)> {
        self.plan.actions.iter().filter_map(|action| match &action.verb {
            Verb::Update { object, subresource: Some("status") } => {
                let policy: &StatefulSetPolicy = object.as_any().downcast_ref()?;
                Some((policy, policy.status.as_ref()?))
            }
            _ => None,
        })
    }

    fn spec_of(&self, policy: &StatefulSetPolicy) -> api::policy::StatefulSetPolicySpec {
        let named =
            |one: &&std::sync::Arc<StatefulSetPolicy>| one.metadata.name == policy.metadata.name;
        let seen = self.view.policies.iter().find(named);
        seen.map(|one| one.spec.clone()).unwrap_or_default()
    }
}
