//! A pod: its end, its place, its node, its containers, in the order in which they stop it.

use api::k8s::{
    api::core::v1::{Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use jiff::Timestamp;

use crate::{
    explanation::{Case, Cause, Finding, Reason, State},
    snapshot::{created_at, first_seen, name_of},
};

/// A node confirms a pod's end within seconds of its last container's.
const END_S: i64 = 15;

impl Case<'_> {
    /// How a pod stands, and what keeps it.
    pub(crate) fn whole_pod(&self, pod: &Pod) -> (String, Option<Finding>) {
        let phase = phase(pod);
        let summary = match (pod.metadata.deletion_timestamp.is_some(), ready(pod)) {
            (true, _) => "it is being deleted".to_owned(),
            (_, true) => "it is Running and ready".to_owned(),
            _ if phase == "Running" => "it is Running, but not ready".to_owned(),
            _ => format!("it is {phase}"),
        };
        let finding = self.pod(pod);
        if finding.is_none() && !ready(pod) && pod.metadata.deletion_timestamp.is_none() {
            let why = "nothing that can be seen keeps it from becoming ready";
            let describe = self.kubectl(&format!("describe pod {}", name_of(&pod.metadata)));
            let cause = Cause::new(Reason::Starting, why, format!("{describe} shows the rest"));
            return (summary, Some(cause.waiting()));
        }
        (summary, finding)
    }

    /// A pod that is not there is explained through the set that wants it.
    pub(crate) fn absent_pod(&self, name: &str) -> Option<(String, Option<Finding>)> {
        let set = self.seen.sets.iter().find(|set| self.wants(set, name))?;
        let set_name = name_of(&set.metadata);
        let summary = format!("it does not exist, and statefulset/{set_name} wants it");
        let (_, finding) = self.whole_set(set);
        let mut finding = finding.unwrap_or_else(|| self.creation(set, name));
        if let Some(at) =
            finding.chain.iter().position(|link| link.kind == "pod" && link.name == name)
        {
            finding.chain.remove(at);
        } else if let Some(lower) = finding.chain.iter().find(|link| link.kind == "pod") {
            finding.cause.why += &format!("; {name} is made only after {} is ready", lower.name);
        }
        Some((summary, Some(finding.through("statefulset", set_name))))
    }

    /// What keeps this pod from being ready, or from ending; `None` when nothing does.
    pub(crate) fn pod(&self, pod: &Pod) -> Option<Finding> {
        if pod.metadata.deletion_timestamp.is_some() {
            return Some(self.terminating(pod));
        }
        if matches!(phase(pod), "Failed" | "Succeeded") {
            return Some(self.ended(pod));
        }
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            return Some(self.unplaced(pod));
        }
        if ready(pod) {
            return None;
        }
        if let Some(finding) = self.node(node, name_of(&pod.metadata), false) {
            return Some(finding.through("node", node));
        }
        let finding = self.containers(pod).or_else(|| self.readiness_gate(pod));
        finding.map(|finding| finding.or_since(unready_since(pod)))
    }

    /// It has ended, and somebody must make it anew.
    fn ended(&self, pod: &Pod) -> Finding {
        let status = pod.status.as_ref();
        let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
        let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
        let said = [reason, message].into_iter().filter(|text| !text.is_empty());
        let said = said.collect::<Vec<_>>().join(": ");
        let said = if said.is_empty() { self.exit_of(pod) } else { said };
        let why = format!("it ended as {}: {said}", phase(pod));
        let owned =
            pod.metadata.owner_references.iter().flatten().any(|o| o.controller == Some(true));
        let cure = match owned {
            true => "none needed: its owner makes it anew".to_owned(),
            false => format!(
                "{}, and make it anew",
                self.kubectl(&format!("delete pod {}", name_of(&pod.metadata)))
            ),
        };
        let cause = Cause::new(Reason::Ended, why, cure);
        if owned { cause.waiting() } else { cause.stuck() }
    }

    /// Deleted, and still there.
    fn terminating(&self, pod: &Pod) -> Finding {
        let name = name_of(&pod.metadata);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if let Some(finding) = self.node(node, name, true) {
            return finding.through("node", node);
        }
        let until = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let grace_s = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        let asked =
            until.and_then(|u| u.checked_sub(jiff::SignedDuration::from_secs(grace_s)).ok());
        let over = self.all_ended(pod) || node.is_empty();
        let finalizers = pod.metadata.finalizers.as_ref().is_some_and(|list| !list.is_empty());
        if finalizers && (over || self.age_s(until) > 0) {
            return self.held(&pod.metadata, "pod", asked);
        }
        if until.is_some_and(|until| until > self.now) {
            let left_s = until.map_or(0, |until| until.duration_since(self.now).as_secs());
            let why =
                format!("it was asked to stop, and has {left_s}s of its {grace_s}s of grace left");
            let cure = "none needed: it is killed after its grace (terminationGracePeriodSeconds)";
            return Cause::new(Reason::GraceRuns, why, cure).since(asked).waiting();
        }
        let hook = self.seen.event("Pod", &pod.metadata, &["FailedPreStopHook", "FailedKillPod"]);
        let said = hook.and_then(|event| event.message.clone()).map(|text| format!(": {text}"));
        let why = format!(
            "its grace is over, and node {node} has not said that it ended{}",
            said.unwrap_or_default()
        );
        let force = self.kubectl(&format!("delete pod {name} --grace-period=0 --force"));
        let cure = format!(
            "look at the agent of node {node}; once it is sure that nothing runs there any more: {force}"
        );
        let cause = Cause::new(Reason::StillRunning, why, cure).since(until);
        if self.age_s(until) > END_S { cause.stuck() } else { cause.waiting() }
    }

    /// Kept by its finalizers; or, without any, about to go.
    pub(crate) fn held(
        &self,
        meta: &ObjectMeta,
        kind: &'static str,
        since: Option<Timestamp>,
    ) -> Finding {
        let names: Vec<&str> = meta.finalizers.iter().flatten().map(String::as_str).collect();
        let name = name_of(meta);
        if names.is_empty() {
            let why = "it was deleted, and goes in a moment";
            return Cause::new(Reason::GraceRuns, why, "none needed").since(since).waiting();
        }
        if names == ["foregroundDeletion"] {
            let why = "it was deleted in the foreground, and waits for what it owns";
            let cure = "none needed: it goes after its dependents";
            return Cause::new(Reason::FinalizerHolds, why, cure).since(since).waiting();
        }
        let why = format!(
            "it was deleted, and {} {} it: whoever put {} there has not let go",
            names.join(", "),
            if names.len() == 1 { "holds" } else { "hold" },
            if names.len() == 1 { "this finalizer" } else { "these finalizers" },
        );
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        let cure = format!(
            "start what owns the finalizer; if that is gone for good: {}",
            self.kubectl(&format!("patch {kind} {name} --type=merge -p '{patch}'"))
        );
        Cause::new(Reason::FinalizerHolds, why, cure).since(since).stuck()
    }

    /// All containers are ready, and a condition that the pod asks for is not True.
    fn readiness_gate(&self, pod: &Pod) -> Option<Finding> {
        let gates = pod.spec.as_ref()?.readiness_gates.as_ref()?;
        let unset = gates.iter().find(|gate| {
            condition(pod, &gate.condition_type).is_none_or(|found| found.status != "True")
        })?;
        let gate = &unset.condition_type;
        let found = condition(pod, gate);
        let said = found.and_then(|found| found.message.clone()).unwrap_or_default();
        let why = format!("its readiness gate {gate} is not True: {said}");
        let why = why.trim_end_matches([':', ' ']).to_owned();
        let cure = format!(
            "whoever sets condition {gate} must do so, or take the gate out: {}",
            self.edit(pod)
        );
        let since = found.and_then(|found| found.last_transition_time.as_ref()).map(|time| time.0);
        Some(Cause::new(Reason::ReadinessGate, why, cure).since(since).stuck())
    }

    /// A volume that cannot be mounted, as the newest events of the pod say.
    pub(crate) fn mount(&self, pod: &Pod) -> Option<Finding> {
        let reasons =
            ["FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"];
        let event = self.seen.event("Pod", &pod.metadata, &reasons)?;
        let text = event.message.clone().unwrap_or_default();
        let missing = missing_object(&text);
        let cure = match &missing {
            Some((kind, name)) => format!("make {kind} {name:?}, or {}", self.edit(pod)),
            None if text.contains("Multi-Attach") => {
                "detach the volume from its other node: end the pod that uses it there".to_owned()
            }
            None => format!("mend what the message names, or {}", self.edit(pod)),
        };
        let finding = Cause::new(Reason::MountFails, text, cure).since(first_seen(event)).stuck();
        Some(match missing {
            Some((kind, name)) => finding.through(kind, name),
            None => finding,
        })
    }
}

/// `configmap "x" not found`: what, and its name.
pub(crate) fn missing_object(text: &str) -> Option<(&'static str, String)> {
    for kind in ["configmap", "secret", "persistentvolumeclaim", "serviceaccount"] {
        let Some((_, rest)) = text.split_once(&format!("{kind} \"")) else { continue };
        let Some((name, after)) = rest.split_once('"') else { continue };
        if after.starts_with(" not found") {
            return Some((kind, name.to_owned()));
        }
    }
    None
}

/// `status.phase`; `Pending` when absent.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub(crate) fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when it is not ready; a pod that never said so, since it was made.
fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let said = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    said.map(|time| time.0).or_else(|| created_at(&pod.metadata))
}

/// The state of the worst finding, for callers that only ask whether it is stuck.
pub(crate) fn is_stuck(finding: Option<&Finding>) -> bool {
    finding.is_some_and(|finding| finding.state == State::Stuck)
}
