//! What a set's StatefulSetPolicy has to do with it.

use api::{k8s::api::apps::v1::StatefulSet, policy::StatefulSetPolicy};

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    snapshot::name_of,
};

impl Case<'_> {
    /// The one policy that speaks for the set, if it is accepted.
    pub(crate) fn policy(&self, set: &StatefulSet) -> Option<&StatefulSetPolicy> {
        match self.seen.policies(name_of(&set.metadata)).as_slice() {
            [policy] if refusal(policy).is_none() => Some(policy),
            _ => None,
        }
    }

    /// Broken pods of an old template are replaced without a person.
    pub(crate) fn replaces_broken(&self, set: &StatefulSet) -> bool {
        let policy = self.policy(set);
        policy.and_then(|policy| policy.spec.rollout.as_ref()?.replace_broken_pods) == Some(true)
    }

    /// The rollout is held on purpose.
    pub(crate) fn paused(&self, set: &StatefulSet) -> Option<Finding> {
        let policy = self.policy(set).filter(|policy| policy.spec.paused == Some(true))?;
        let set = name_of(&set.metadata);
        let status = policy.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let since = conditions.into_iter().flatten().find(|condition| condition.type_ == "Paused");
        let why = "it pauses the set: no pod gets the new template (scaling goes on)";
        let namespace = self.namespace_flag();
        let cure = format!("stead rollout resume statefulset/{set}{namespace}");
        let cause = Cause::new(Reason::Paused, why, cure);
        let cause = cause.since(since.map(|condition| condition.last_transition_time.0));
        Some(cause.works().through("statefulsetpolicy", name_of(&policy.metadata)))
    }

    /// A policy names the set, and does not act.
    pub(crate) fn policy_ignored(&self, set: &StatefulSet) -> Option<Finding> {
        let policies = self.seen.policies(name_of(&set.metadata));
        let first = *policies.first()?;
        let name = name_of(&first.metadata);
        let (why, cure, since) = if policies.len() > 1 {
            let names: Vec<&str> =
                policies.iter().map(|policy| name_of(&policy.metadata)).collect();
            let why = format!(
                "{} policies name the set, so none acts: {}",
                names.len(),
                names.join(", ")
            );
            (why, self.kubectl(&format!("delete statefulsetpolicy {}", names.last()?)), None)
        } else {
            let (message, since) = refusal(first)?;
            let why = format!("it is not accepted, and the set goes on as without it: {message}");
            (why, self.kubectl(&format!("edit statefulsetpolicy {name}")), Some(since))
        };
        let cause = Cause::new(Reason::PolicyIgnored, why, cure).since(since);
        Some(cause.works().through("statefulsetpolicy", name))
    }

    pub(crate) fn namespace_flag(&self) -> String {
        match self.seen.namespace.as_str() {
            "default" | "" => String::new(),
            namespace => format!(" -n {namespace}"),
        }
    }
}

/// Why the policy is not accepted, and since when.
fn refusal(policy: &StatefulSetPolicy) -> Option<(&str, jiff::Timestamp)> {
    let conditions = policy.status.as_ref()?.conditions.as_ref()?;
    let accepted = conditions.iter().find(|condition| condition.type_ == "Accepted")?;
    (accepted.status == "False").then_some((&accepted.message, accepted.last_transition_time.0))
}
