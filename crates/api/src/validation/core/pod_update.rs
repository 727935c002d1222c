//! What may change in a pod once it exists.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, Toleration};

use super::address::valid_ip;
use crate::{
    names,
    validation::report::{At, Report, difference, entries, items, text},
};

const UPDATABLE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The change of a pod through its main endpoint.
pub(super) fn spec(pod: &Pod, old: &Pod, out: &mut Report) {
    mirror_annotation(pod, old, out);
    let (Some(new), Some(old)) = (&pod.spec, &old.spec) else { return };
    let at = At::new("spec");
    let inits = (items(&new.init_containers), items(&old.init_containers));
    for (field, (new, old)) in
        [("containers", (&*new.containers, &*old.containers)), ("initContainers", inits)]
    {
        if new.len() != old.len() {
            out.forbidden(at.field(field), "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(new, old, at.field("activeDeadlineSeconds"), out) {
        return;
    }
    let (new_tolerations, old_tolerations) = (items(&new.tolerations), items(&old.tolerations));
    only_added(new_tolerations, old_tolerations, at.field("tolerations"), out);
    only_removed_gates(new, old, at.field("schedulingGates"), out);
    if new == old {
        return;
    }
    let mut rest = with_what_may_change(new, old);
    if !items(&old.scheduling_gates).is_empty() {
        gated(&mut rest, old, at, out);
    }
    if rest != *old {
        let changes = difference("core.PodSpec", old, &rest);
        out.forbidden(at, &format!("{UPDATABLE}\n{changes}"));
    }
}

/// The new spec with the old values of everything that may change.
fn with_what_may_change(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut rest = new.clone();
    let same_images = |new: &mut [Container], old: &[Container]| {
        for (new, old) in new.iter_mut().zip(old) {
            new.image.clone_from(&old.image);
        }
    };
    same_images(&mut rest.containers, &old.containers);
    same_images(
        rest.init_containers.as_deref_mut().unwrap_or_default(),
        items(&old.init_containers),
    );
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0);
    if was_negative && rest.termination_grace_period_seconds == Some(1) {
        rest.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    rest
}

/// While a pod is gated, its choice of nodes may be narrowed.
fn gated(rest: &mut PodSpec, old: &PodSpec, at: At<'_>, out: &mut Report) {
    if rest.node_selector != old.node_selector {
        for (key, value) in entries(&old.node_selector) {
            let now = rest.node_selector.as_ref().and_then(|selector| selector.get(key));
            if now != Some(value) {
                let why = "only additions are allowed (no mutations or deletions)";
                out.invalid_object(at.field("nodeSelector"), &rest.node_selector, why);
                break;
            }
        }
        rest.node_selector.clone_from(&old.node_selector);
    }
    let of = |spec: &PodSpec| spec.affinity.as_ref().and_then(|all| all.node_affinity.clone());
    let (now, before) = (of(rest), of(old));
    if now == before {
        return;
    }
    let required = before
        .as_ref()
        .and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
    let kept = now
        .as_ref()
        .and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
    if let Some(required) = required
        && kept.map(|kept| kept.node_selector_terms.len())
            != Some(required.node_selector_terms.len())
    {
        let affinity = at.field("affinity");
        let nodes = affinity.field("nodeAffinity");
        let terms = nodes.field("requiredDuringSchedulingIgnoredDuringExecution");
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        out.invalid_object(terms.field("nodeSelectorTerms"), &kept, why);
    }
    match (&mut rest.affinity, before) {
        (Some(affinity), before) => {
            affinity.node_affinity = before;
            if old.affinity.is_none() && affinity == &mut Default::default() {
                rest.affinity = None;
            }
        }
        (None, _) => rest.affinity.clone_from(&old.affinity),
    }
}

/// A deadline may only come nearer; false when the rest need not be looked at.
fn deadline(new: &PodSpec, old: &PodSpec, at: At<'_>, out: &mut Report) -> bool {
    let max = i64::from(i32::MAX);
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(seconds), _) if !(0..=max).contains(&seconds) => {
            out.invalid(at, seconds, &names::out_of_range(0, max));
            false
        }
        (Some(seconds), Some(before)) if before < seconds => {
            out.invalid(at, seconds, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            out.invalid(at, serde_json::Value::Null, why);
            true
        }
        _ => true,
    }
}

fn only_added(new: &[Toleration], old: &[Toleration], at: At<'_>, out: &mut Report) {
    let kept = old.iter().all(|old| {
        new.iter().any(|new| {
            (&new.key, &new.operator, &new.value, &new.effect)
                == (&old.key, &old.operator, &old.value, &old.effect)
        })
    });
    if !kept {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        out.forbidden(at, why);
    }
}

fn only_removed_gates(new: &PodSpec, old: &PodSpec, at: At<'_>, out: &mut Report) {
    let before = items(&old.scheduling_gates);
    for (index, gate) in items(&new.scheduling_gates).iter().enumerate() {
        if !before.contains(gate) {
            let name = &gate.name;
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            out.forbidden(at.index(index).field("name"), &why);
        }
    }
}

fn mirror_annotation(pod: &Pod, old: &Pod, out: &mut Report) {
    let key = "kubernetes.io/config.mirror";
    let value = |pod: &Pod| pod.metadata.annotations.as_ref()?.get(key).cloned();
    let metadata = At::new("metadata");
    let at = metadata.field("annotations");
    match (value(pod), value(old)) {
        (new, Some(old)) if new.as_ref() != Some(&old) => {
            out.forbidden(at.key(key), "may not remove or update mirror pod annotation");
        }
        (Some(_), None) => out.forbidden(at.key(key), "may not add mirror pod annotation"),
        _ => {}
    }
}

/// The change of a pod's status.
pub(super) fn status(pod: &Pod, old: &Pod, out: &mut Report) {
    mirror_annotation(pod, old, out);
    let at = At::new("status");
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    if node(pod) != node(old) {
        out.forbidden(at.field("nodeName"), "may not be changed directly");
    }
    let empty = Default::default();
    let (new, before) =
        (pod.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    for (index, condition) in items(&new.conditions).iter().enumerate() {
        let metadata = At::new("metadata");
        let list = metadata.field("conditions");
        let item = list.index(index);
        let kind = condition.type_.as_str();
        out.faults(item.field("Type"), kind, names::qualified_name(kind));
    }
    let nominated = text(&new.nominated_node_name);
    if !nominated.is_empty() && new.nominated_node_name != before.nominated_node_name {
        let faults = names::dns_subdomain(nominated);
        out.faults(at.field("nominatedNodeName"), nominated, faults);
    }
    if before.qos_class.is_some() {
        out.immutable(at.field("qosClass"), &new.qos_class, &before.qos_class);
    }
    let policy = old.spec.as_ref().map_or("Always", |spec| text(&spec.restart_policy));
    for (field, list, earlier, policy) in [
        (
            "containerStatuses",
            &new.container_statuses,
            &before.container_statuses,
            Cow::from(policy),
        ),
        (
            "ephemeralContainerStatuses",
            &new.ephemeral_container_statuses,
            &before.ephemeral_container_statuses,
            Cow::from("Never"),
        ),
    ] {
        transitions(items(list), items(earlier), &policy, old, at.field(field), out);
    }
    let (inits, earlier) = (&new.init_container_statuses, &before.init_container_statuses);
    let at_inits = at.field("initContainerStatuses");
    transitions(items(inits), items(earlier), policy, old, at_inits, out);
    addresses(pod, at, out);
}

/// A container that ended for good does not run again.
fn transitions(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    pod_policy: &str,
    pod: &Pod,
    at: At<'_>,
    out: &mut Report,
) {
    let ended = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code)
    };
    for (index, before) in old.iter().enumerate() {
        let Some(code) = ended(before) else { continue };
        let all = pod
            .spec
            .as_ref()
            .map(|spec| spec.containers.iter().chain(items(&spec.init_containers)));
        let own = all
            .and_then(|mut all| all.find(|container| container.name == before.name))
            .and_then(|container| container.restart_policy.as_deref());
        let policy = own.unwrap_or(pod_policy);
        if policy == "Always" || (policy == "OnFailure" && code != 0) {
            continue;
        }
        let runs = |now: &&ContainerStatus| now.name == before.name && ended(now).is_none();
        if new.iter().any(|now| runs(&now)) {
            let why = "may not be transitioned to non-terminated state";
            out.forbidden(at.index(index).field("state"), why);
        }
    }
}

fn addresses(pod: &Pod, at: At<'_>, out: &mut Report) {
    let Some(status) = &pod.status else { return };
    for (index, ip) in items(&status.pod_ips).iter().enumerate() {
        valid_ip(at.field("podIPs").index(index), &ip.ip, out);
    }
    for (index, ip) in items(&status.host_ips).iter().enumerate() {
        valid_ip(at.field("hostIPs").index(index), &ip.ip, out);
        if index == 0 && status.host_ip.as_deref() != Some(&ip.ip) {
            let list = at.field("hostIPs");
            out.invalid(list.index(0).field("ip"), &*ip.ip, "must be equal to `hostIP`");
        }
    }
}
