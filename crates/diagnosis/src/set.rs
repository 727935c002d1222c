//! A StatefulSet: the planner says which pod it waits for; that pod's cause is the set's.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::api::{apps::v1::StatefulSet, core::v1::Pod},
    policy::StatefulSetPolicy,
};
use controllers::{
    Plan, Verb, Wait,
    statefulset::{self, member_ordinal},
};

use crate::{
    explanation::{Case, Cause, Finding, Reason, State},
    pod::{condition, ready},
    snapshot::{Part, controller_of, created_at, first_seen, last_seen, name_of},
};

/// A controller acts within seconds; whatever it left undone for longer, it does not see.
const SILENCE_S: i64 = 30;

/// What people change in a set's template; an OrderedReady set does not give it to a broken pod.
const OF_TEMPLATE: &[Reason] = &[
    Reason::ContainerConfig,
    Reason::ContainerStart,
    Reason::CrashLoop,
    Reason::ImagePull,
    Reason::OutOfMemory,
    Reason::ProbeFails,
    Reason::Unschedulable,
];

impl Case<'_> {
    /// How a set stands, and what keeps it.
    pub(crate) fn whole_set(&self, set: &Arc<StatefulSet>) -> (String, Option<Finding>) {
        let wanted = replicas(set);
        let own: Vec<_> = self
            .own_pods(set)
            .into_iter()
            .filter(|p| self.wants(set, name_of(&p.metadata)))
            .collect();
        let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        let up = own.iter().filter(|pod| ready(pod) && stays(pod)).count();
        let mut summary = format!("{up} of {wanted} pods are ready");
        if set.metadata.deletion_timestamp.is_some() {
            return ("it is being deleted".to_owned(), Some(self.set_going(set)));
        }
        if !self.seen.knows(Part::Pods) {
            return ("its pods could not be read".to_owned(), Some(self.unreadable(Part::Pods)));
        }
        let plan = statefulset::reconcile(&self.view(set));
        let blocked = self.blocked(set, &plan);
        if let Some((_, finding)) = &blocked
            && finding.cause.reason == Reason::RollingOut
            && let Some(paused) = self.paused(set)
        {
            return (summary, Some(paused));
        }
        if let Some((pods, finding)) = blocked {
            if let Some(wait) = plan.waits.first() {
                summary += &format!(", it waits {wait}");
            }
            if pods > 1 && finding.state == State::Stuck {
                summary += &format!(", {pods} pods are stuck");
            }
            if let Some(condition) = deadline_exceeded(set) {
                summary += &format!(", its rollout is past its deadline ({condition})");
            }
            return (summary, Some(self.with_template(set, finding)));
        }
        let rollout = self.rollout(set, &own);
        if rollout.is_some()
            && let Some(paused) = self.paused(set)
        {
            return (summary, Some(paused));
        }
        let finding = rollout.or_else(|| self.service_of(set)).or_else(|| self.policy_ignored(set));
        (summary, finding)
    }

    /// What the planner would see of this set.
    fn view(&self, set: &Arc<StatefulSet>) -> statefulset::View {
        let name = name_of(&set.metadata);
        let ours = |meta: &api::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            controller_of(meta).is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
        };
        let pods = self.seen.pods.iter().filter(|pod| {
            ours(&pod.metadata) || member_ordinal(name, name_of(&pod.metadata)).is_some()
        });
        let claims = self.seen.claims.iter();
        let prefix = format!("{name}-");
        let revisions = self.seen.revisions.iter().filter(|revision| {
            ours(&revision.metadata) || name_of(&revision.metadata).starts_with(&prefix)
        });
        let of_set = |policy: &&Arc<StatefulSetPolicy>| policy.spec.stateful_set_name == name;
        let mut policies: Vec<_> = self.seen.policies.iter().filter(of_set).cloned().collect();
        policies.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let rules = statefulset::Rules::of(set, &policies);
        statefulset::View {
            set: Arc::clone(set),
            pods: pods.cloned().collect(),
            claims: claims.map(|c| (name_of(&c.metadata).to_owned(), Arc::clone(c))).collect(),
            gone: BTreeMap::new(),
            revisions: revisions.cloned().collect(),
            refused: None,
            now: self.now,
            options: statefulset::Options::default(),
            policies,
            rules,
        }
    }

    /// The worst of what the set waits for, and how many pods are stuck.
    fn blocked(&self, set: &Arc<StatefulSet>, plan: &Plan) -> Option<(usize, Finding)> {
        let mut findings: Vec<Finding> =
            plan.waits.iter().filter_map(|wait| self.waited_for(set, wait, plan)).collect();
        let parallel =
            spec_says(set, |spec| spec.pod_management_policy.as_deref() == Some("Parallel"));
        for action in &plan.actions {
            if let Verb::Create(object) = &action.verb
                && object.kind() == "Pod"
            {
                findings.push(self.creation(set, name_of(object.meta())));
            }
        }
        if parallel || findings.is_empty() {
            for pod in self.own_pods(set) {
                if !ready(pod) || pod.metadata.deletion_timestamp.is_some() {
                    let finding = self.pod(pod);
                    findings.extend(finding.map(|f| f.through("pod", name_of(&pod.metadata))));
                }
            }
        }
        let mut pods: Vec<_> = findings
            .iter()
            .filter(|finding| finding.state == State::Stuck)
            .filter_map(|finding| finding.chain.first().cloned())
            .collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        pods.dedup();
        let worst = findings.into_iter().min_by_key(|finding| finding.state)?;
        Some((pods.len(), worst))
    }

    fn waited_for(&self, set: &Arc<StatefulSet>, wait: &Wait, plan: &Plan) -> Option<Finding> {
        match wait {
            Wait::Healthy(name) | Wait::Gone(name) => {
                let Some(pod) = self.seen.pod(name) else {
                    return Some(self.creation(set, name));
                };
                if !owns(set, pod) {
                    return Some(self.squatted(pod).through("pod", name));
                }
                let finding = self.pod(pod).or_else(|| self.settling(set, pod));
                let finding = finding.unwrap_or_else(|| self.replaced(set, pod, plan));
                Some(finding.through("pod", name))
            }
            Wait::ClaimGone(name) | Wait::Bound(name) => {
                let claim = self.seen.claim(name)?;
                Some(self.claim(claim)?.through("pvc", name))
            }
            Wait::Resumed(_) => self.paused(set),
            Wait::Fresh(_) => None,
        }
    }

    /// Why a wanted pod is not there.
    pub(crate) fn creation(&self, set: &StatefulSet, pod: &str) -> Finding {
        if let Some((text, since)) = self.refusal_of(set, pod) {
            return self.refused(&text, pod, name_of(&set.metadata)).or_since(since);
        }
        let newest =
            self.seen.events("StatefulSet", &set.metadata).first().and_then(|e| last_seen(e));
        let changed = newest.max(created_at(&set.metadata));
        let behind = set.status.as_ref().and_then(|status| status.observed_generation)
            < set.metadata.generation;
        if behind && self.age_s(changed) > SILENCE_S {
            return self.controller_silent(set, pod).through("pod", pod);
        }
        let why = "it does not exist yet; the set's controller makes it next";
        let cause = Cause::new(Reason::Creating, why, "none needed: ask again in a few seconds");
        cause.waiting().through("pod", pod)
    }

    fn controller_silent(&self, set: &StatefulSet, pod: &str) -> Finding {
        let seen = set.status.as_ref().and_then(|status| status.observed_generation);
        let why = format!(
            "no controller acts on the set: {pod} was never made, and the set's generation {} was \
             not looked at (the last one is {})",
            set.metadata.generation.unwrap_or_default(),
            seen.map_or_else(|| "none".to_owned(), |seen| seen.to_string()),
        );
        let cure = "start the cluster's StatefulSet controller: `stead up`, `stead controller`, or \
                    kube-controller-manager";
        Cause::new(Reason::ControllerSilent, why, cure).since(created_at(&set.metadata)).stuck()
    }

    /// The newest refusal to make this pod or one of its claims, unless it was made since.
    fn refusal_of(
        &self,
        set: &StatefulSet,
        pod: &str,
    ) -> Option<(String, Option<jiff::Timestamp>)> {
        let (with_space, at_end) = (format!("Pod {pod} "), format!("Pod {pod}"));
        let about = |text: &str| text.contains(&with_space) || text.ends_with(&at_end);
        let events = self.seen.events("StatefulSet", &set.metadata);
        let newest = events.into_iter().find(|event| about(event.message.as_deref().unwrap_or("")));
        if let Some(event) = newest.filter(|event| event.reason.as_deref() == Some("FailedCreate"))
        {
            let message = event.message.as_deref().unwrap_or_default();
            let text = message.split_once("failed error: ").map_or(message, |(_, text)| text);
            return Some((text.to_owned(), first_seen(event)));
        }
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let failure =
            conditions.iter().find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
        let message = failure.message.clone().unwrap_or_default();
        let text = message.split_once("failed error: ").map(|(_, text)| text.to_owned());
        Some((text.unwrap_or(message), failure.last_transition_time.as_ref().map(|time| time.0)))
    }

    /// Ready, but the set also wants it to stay so for a while.
    fn settling(&self, set: &StatefulSet, pod: &Pod) -> Option<Finding> {
        let wanted_s = spec_of(set).and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let since = condition(pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0);
        let left_s = i64::from(wanted_s) - self.age_s(since);
        (ready(pod) && left_s > 0).then(|| {
            let why = format!("it is ready, and must stay so for {wanted_s}s (minReadySeconds)");
            let cure = format!("none needed: in {left_s}s it counts as available");
            Cause::new(Reason::Settling, why, cure).since(since).waiting()
        })
    }

    /// Healthy, and about to be replaced or just deleted.
    fn replaced(&self, set: &StatefulSet, pod: &Pod, plan: &Plan) -> Finding {
        let failed = self.seen.event("StatefulSet", &set.metadata, &["FailedDelete"]);
        let name = name_of(&pod.metadata);
        let about = |text: &str| text.contains(&format!("Pod {name} "));
        if let Some(event) = failed.filter(|e| about(e.message.as_deref().unwrap_or_default())) {
            let message = event.message.as_deref().unwrap_or_default();
            let text = message.split_once("failed error: ").map_or(message, |(_, text)| text);
            let why = format!("the set may not delete it: {text}");
            let cure = "allow the StatefulSet controller to delete pods, or remove what refuses it";
            return Cause::new(Reason::Refused, why, cure).since(first_seen(event)).stuck();
        }
        let why = match plan.actions.first() {
            Some(action) => format!("the set's controller does this next: {action}"),
            None => "it has just changed".to_owned(),
        };
        let cure = "none needed: `stead rollout status` follows it";
        Cause::new(Reason::RollingOut, why, cure).waiting()
    }

    /// A pod that is not the set's has the name of one of its pods.
    fn squatted(&self, pod: &Pod) -> Finding {
        let name = name_of(&pod.metadata);
        let whose = match controller_of(&pod.metadata) {
            Some(owner) => format!("it belongs to {}/{}", owner.kind.to_lowercase(), owner.name),
            None => {
                "it belongs to nobody, and the set's selector does not match its labels".to_owned()
            }
        };
        let why = format!("another pod has the name that the set needs: {whose}");
        let delete = self.kubectl(&format!("delete pod {name}"));
        let cure = match controller_of(&pod.metadata) {
            Some(_) => format!("rename one of the two, or {delete} once its owner is gone"),
            None => {
                format!("{delete}, or give it the labels of the set's selector to have it adopted")
            }
        };
        Cause::new(Reason::NameSquatted, why, cure).since(created_at(&pod.metadata)).stuck()
    }

    /// What a template's cure needs besides, in a set that waits for its broken pod.
    fn with_template(&self, set: &StatefulSet, mut finding: Finding) -> Finding {
        let ordered =
            !spec_says(set, |spec| spec.pod_management_policy.as_deref() == Some("Parallel"));
        if !ordered || finding.state != State::Stuck || !OF_TEMPLATE.contains(&finding.cause.reason)
        {
            return finding;
        }
        let Some(pod) = finding.chain.iter().find(|link| link.kind == "pod") else {
            return finding;
        };
        let delete = self.kubectl(&format!("delete pod {}", pod.name));
        let outdated =
            rolling(set) && self.seen.pod(&pod.name).is_some_and(|pod| outdated(set, pod));
        let cause = &mut finding.cause;
        if outdated && self.replaces_broken(set) {
            cause.why += "; the set's template has changed since";
            cause.cure = "none needed: the set's policy has broken pods replaced".to_owned();
            finding.state = State::Waiting;
        } else if outdated {
            cause.why += "; the set's template has changed since, but an OrderedReady set does not \
                          replace a broken pod by itself";
            cause.cure = format!(
                "{delete}, which comes back with the new template (a StatefulSetPolicy with \
                 rollout.replaceBrokenPods does this by itself)"
            );
        } else if cause.cure.contains("edit statefulset") || cause.cure.contains(" set image ") {
            cause.cure += &format!(
                "; after an edit of the set also: {delete}, which an OrderedReady set does not \
                 replace by itself"
            );
        }
        finding
    }

    /// Everything is up: is there still something to know of the template?
    fn rollout(&self, set: &StatefulSet, own: &[&Arc<Pod>]) -> Option<Finding> {
        let old: Vec<&str> =
            own.iter().filter(|pod| outdated(set, pod)).map(|pod| name_of(&pod.metadata)).collect();
        if old.is_empty() {
            return None;
        }
        let spec = spec_of(set)?;
        let strategy = spec.update_strategy.as_ref();
        let names = old.join(" ");
        if !rolling(set) {
            let why = format!(
                "{} ({names}): with OnDelete a pod gets the new template when somebody deletes it",
                count(old.len(), "has", "have", "the old template")
            );
            let cure = self.kubectl(&format!("delete pod {}", old.last()?));
            let cure = format!("{cure}, one after the other, from the highest down");
            return Some(Cause::new(Reason::OnDelete, why, cure).works());
        }
        let partition = strategy
            .and_then(|strategy| strategy.rolling_update.as_ref())
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        let held = |pod: &&str| {
            member_ordinal(name_of(&set.metadata), pod)
                .is_some_and(|ordinal| ordinal < i64::from(start) + i64::from(partition))
        };
        if old.iter().all(held) {
            let why = format!(
                "{} ({names}): the set's partition {partition} keeps it",
                count(old.len(), "has", "have", "the old template")
            );
            let patch = r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#;
            let name = name_of(&set.metadata);
            let cure = self.kubectl(&format!("patch statefulset {name} -p '{patch}'"));
            return Some(Cause::new(Reason::Partition, why, cure).works());
        }
        let why = format!("{} ({names})", count(old.len(), "has", "have", "the old template"));
        let cure = "none needed: `stead rollout status` follows it";
        Some(Cause::new(Reason::RollingOut, why, cure).waiting())
    }

    fn set_going(&self, set: &StatefulSet) -> Finding {
        let since = set.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        for pod in self.own_pods(set) {
            if let Some(finding) = self.pod(pod) {
                return finding.through("pod", name_of(&pod.metadata));
            }
        }
        self.held(&set.metadata, "statefulset", since)
    }

    pub(crate) fn unreadable(&self, part: Part) -> Finding {
        let said = self.seen.unseen.get(&part).cloned().unwrap_or_default();
        let why = format!("{} could not be read: {said}", part.name());
        let cure = format!("ask with the right to list {}", part.name());
        Cause::new(Reason::Unreadable, why, cure).stuck()
    }

    /// Whether the set wants a pod of this name.
    pub(crate) fn wants(&self, set: &Arc<StatefulSet>, pod: &str) -> bool {
        let ordinal = member_ordinal(name_of(&set.metadata), pod);
        ordinal.is_some_and(|ordinal| self.view(set).in_range(ordinal))
    }

    pub(crate) fn own_pods(&self, set: &StatefulSet) -> Vec<&Arc<Pod>> {
        let mut pods: Vec<_> = self.seen.pods.iter().filter(|pod| owns(set, pod)).collect();
        let ordinal = |pod: &Pod| member_ordinal(name_of(&set.metadata), name_of(&pod.metadata));
        pods.sort_by_key(|pod| ordinal(pod));
        pods
    }
}

impl Finding {
    /// Since then, where the rule itself knows no better.
    pub(crate) fn or_since(mut self, since: Option<jiff::Timestamp>) -> Self {
        self.cause.since = self.cause.since.or(since);
        self
    }
}

type Spec = api::k8s::api::apps::v1::StatefulSetSpec;

fn spec_of(set: &StatefulSet) -> Option<&Spec> {
    set.spec.as_ref()
}

fn spec_says(set: &StatefulSet, says: impl Fn(&Spec) -> bool) -> bool {
    spec_of(set).is_some_and(says)
}

pub(crate) fn replicas(set: &StatefulSet) -> i64 {
    spec_of(set).and_then(|spec| spec.replicas).map_or(1, i64::from).max(0)
}

fn owns(set: &StatefulSet, pod: &Pod) -> bool {
    controller_of(&pod.metadata).is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

fn rolling(set: &StatefulSet) -> bool {
    let strategy = spec_of(set).and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
}

/// Of another revision than the one that the set goes to.
fn outdated(set: &StatefulSet, pod: &Pod) -> bool {
    let update = set.status.as_ref().and_then(|status| status.update_revision.as_ref());
    let labels = pod.metadata.labels.as_ref();
    let own = labels.and_then(|labels| labels.get("controller-revision-hash"));
    update.is_some() && own.is_some() && update != own
}

fn deadline_exceeded(set: &StatefulSet) -> Option<String> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    let exceeded = conditions.iter().find(|condition| {
        condition.type_ == "Progressing"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    })?;
    Some(exceeded.message.clone().unwrap_or_default())
}

fn count(count: usize, one: &str, many: &str, rest: &str) -> String {
    if count == 1 { format!("1 pod {one} {rest}") } else { format!("{count} pods {many} {rest}") }
}
