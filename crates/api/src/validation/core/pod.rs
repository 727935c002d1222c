//! What is wrong with a pod, or with a template of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EphemeralContainer, HostAlias, Pod, PodDNSConfig, PodSpec,
    PodTemplateSpec,
};

use super::{
    address::valid_ip,
    container::{self, Around},
    placement, pod_update,
    probe::{self, Role},
    resources::{self, Holder},
    security, volume,
};
use crate::{
    field::Cause,
    names,
    resource::Part,
    validation::{
        metadata::{annotations, labels},
        report::{At, Report, entries, items, text},
    },
};

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Whose spec is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    /// A pod's own, not a template's.
    pub(super) is_pod: bool,
    /// The pod's name; empty for templates.
    pub(super) name: &'a str,
    /// Names of a set's claim templates, which become volumes.
    pub(super) claims: &'a [&'a str],
    /// Whether the set writes host name and subdomain over whatever they are.
    pub(super) names_are_overwritten: bool,
}

pub(crate) fn pod(pod: &Pod, old: Option<&Pod>, part: Part) -> Vec<Cause> {
    let mut out = Report::default();
    match (old, part) {
        (None, _) => {
            whole(pod, &mut out);
            created(pod, &mut out);
        }
        (Some(old), Part::Main) => {
            whole(pod, &mut out);
            pod_update::spec(pod, old, &mut out);
        }
        (Some(old), Part::Status) => pod_update::status(pod, old, &mut out),
    }
    out.into_causes()
}

fn whole(pod: &Pod, out: &mut Report) {
    let Some(spec) = &pod.spec else {
        out.required(At::new("spec"), "");
        return;
    };
    let metadata = At::new("metadata");
    pod_annotations(&pod.metadata.annotations, spec, metadata.field("annotations"), out);
    let name = text(&pod.metadata.name);
    let whose = Whose { is_pod: true, name, claims: &[], names_are_overwritten: false };
    let at = At::new("spec");
    pod_spec(spec, whose, at, out);
    if text(&spec.service_account_name).is_empty() {
        token_without_account(spec, at, out);
    }
    for (field, list) in
        [("containers", &*spec.containers), ("initContainers", items(&spec.init_containers))]
    {
        for (index, container) in list.iter().enumerate() {
            container::of_pod_only(text(&container.image), at.field(field).index(index), out);
        }
    }
}

fn token_without_account(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    let why = "must not be specified when serviceAccountName is not set";
    for (index, volume) in items(&spec.volumes).iter().enumerate() {
        let sources = volume.projected.as_ref().map(|source| items(&source.sources));
        for (part, source) in sources.unwrap_or_default().iter().enumerate() {
            if source.service_account_token.is_some() {
                let list = at.field("volumes");
                let volume = list.index(index);
                let projected = volume.field("projected");
                let sources = projected.field("sources");
                out.forbidden(sources.index(part).field("serviceAccountToken"), why);
            }
        }
    }
}

fn created(pod: &Pod, out: &mut Report) {
    let Some(spec) = &pod.spec else { return };
    let at = At::new("spec");
    if !items(&spec.ephemeral_containers).is_empty() {
        out.forbidden(at.field("ephemeralContainers"), "cannot be set on create");
    }
    let gated = !items(&spec.scheduling_gates).is_empty();
    if gated && !text(&spec.node_name).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        out.forbidden(at.field("nodeName"), why);
    }
}

/// A template of pods; `claims` are the names of a set's claim templates.
pub(in crate::validation) fn template(
    template: &PodTemplateSpec,
    claims: &[&str],
    at: At<'_>,
    out: &mut Report,
) {
    let Some(spec) = &template.spec else {
        out.required(at.field("spec"), "");
        return;
    };
    if let Some(meta) = &template.metadata {
        labels(&meta.labels, at.field("labels"), out);
        annotations(&meta.annotations, at.field("annotations"), out);
        pod_annotations(&meta.annotations, spec, at.field("annotations"), out);
    }
    let whose = Whose { is_pod: false, name: "", claims, names_are_overwritten: true };
    pod_spec(spec, whose, at.field("spec"), out);
    if !items(&spec.ephemeral_containers).is_empty() {
        let at = at.field("spec");
        let why = "ephemeral containers not allowed in pod template";
        out.forbidden(at.field("ephemeralContainers"), why);
    }
}

pub(super) fn pod_annotations(
    annotations: &Option<BTreeMap<String, String>>,
    spec: &PodSpec,
    at: At<'_>,
    out: &mut Report,
) {
    for (key, value) in entries(annotations) {
        if key == MIRROR && text(&spec.node_name).is_empty() {
            let why = "must set spec.nodeName if mirror pod annotation is set";
            out.invalid(at.key(key), &**value, why);
        }
        if key == DELETION_COST && !is_deletion_cost(value) {
            out.invalid(at.key(key), &**value, "must be a 32bit integer");
        }
    }
}

fn is_deletion_cost(value: &str) -> bool {
    let padded = value.starts_with('+') || (value.starts_with('0') && value != "0");
    !padded && value.parse::<i32>().is_ok()
}

pub(super) fn pod_spec(spec: &PodSpec, whose: Whose<'_>, at: At<'_>, out: &mut Report) {
    if spec.termination_grace_period_seconds.is_none() {
        out.required(at.field("terminationGracePeriodSeconds"), "");
    }
    let list = items(&spec.volumes);
    let volumes = volume::volumes(list, whose.claims, whose.name, at.field("volumes"), out);
    let around = Around {
        volumes,
        claims: items(&spec.resource_claims).iter().map(|claim| claim.name.as_str()).collect(),
        grace_s: spec.termination_grace_period_seconds,
        restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users != Some(false),
        os: spec.os.as_ref().map_or("", |os| &os.name),
    };
    resource_claims(spec, at.field("resourceClaims"), out);
    containers(&spec.containers, &around, at.field("containers"), out);
    init_containers(spec, &around, at.field("initContainers"), out);
    ephemeral_containers(spec, &around, at.field("ephemeralContainers"), out);
    if let Some(own) = &spec.resources {
        let at = at.field("resources");
        if own.claims.is_some() {
            out.forbidden(at.field("claims"), "claims cannot be set for Resources at pod-level");
        }
        resources::requirements(own, Holder::Pod, &around.claims, at, out);
    }
    host_network(spec, whose.is_pod, at, out);
    policies(spec, at, out);
    labels(&spec.node_selector, at.field("nodeSelector"), out);
    security::pod(spec, at, out);
    dns_config(spec.dns_config.as_ref(), text(&spec.dns_policy), at.field("dnsConfig"), out);
    gates(spec, at, out);
    placement::wishes(spec, at, out);
    host_users(spec, at, out);
    references(spec, whose.names_are_overwritten, at, out);
    placement::tolerations(items(&spec.tolerations), at.field("tolerations"), out);
    host_aliases(items(&spec.host_aliases), at.field("hostAliases"), out);
    if let Some(os) = &spec.os {
        if os.name.is_empty() {
            out.required(at.field("os").field("name"), "cannot be empty");
        } else {
            out.known(at.field("os"), &os.name, &["linux", "windows"]);
        }
    }
}

fn policies(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    let restart = text(&spec.restart_policy);
    out.choice(at.field("restartPolicy"), restart, &["Always", "OnFailure", "Never"]);
    let dns = text(&spec.dns_policy);
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    out.choice(at.field("dnsPolicy"), dns, &known);
    if let Some(policy) = &spec.preemption_policy {
        let known = ["PreemptLowerPriority", "Never"];
        out.choice(at.field("preemptionPolicy"), policy, &known);
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        let max = i64::from(i32::MAX);
        if !(1..=max).contains(&seconds) {
            let why = names::out_of_range(1, max);
            out.invalid(at.field("activeDeadlineSeconds"), seconds, &why);
        }
    }
}

fn gates(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    for (index, gate) in items(&spec.readiness_gates).iter().enumerate() {
        let list = at.field("readinessGates");
        let item = list.index(index);
        let condition = gate.condition_type.as_str();
        out.faults(item.field("conditionType"), condition, names::qualified_name(condition));
    }
    let gates = items(&spec.scheduling_gates);
    for (index, gate) in gates.iter().enumerate() {
        let list = at.field("schedulingGates");
        let item = list.index(index);
        out.faults(item, &gate.name, names::qualified_name(&gate.name));
        if gates[..index].iter().any(|other| other.name == gate.name) {
            out.duplicate(item, &*gate.name);
        }
    }
}

/// Names of other objects, and of the pod on the network.
fn references(spec: &PodSpec, overwritten: bool, at: At<'_>, out: &mut Report) {
    for (field, name) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ] {
        if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
            out.faults(at.field(field), name, names::dns_subdomain(name));
        }
    }
    if overwritten {
        return;
    }
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
            out.faults(at.field(field), name, names::dns_label(name));
        }
    }
    if let Some(name) = &spec.hostname_override {
        let at = at.field("hostnameOverride");
        if name.is_empty() {
            out.required(at, "");
        }
        if name.len() > 64 {
            out.too_long(at, 64);
        }
        out.faults(at, name, names::dns_subdomain(name));
    }
}

fn resource_claims(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    let claims = items(&spec.resource_claims);
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        if claim.name.is_empty() {
            out.required(at.field("name"), "");
        } else if claims[..index].iter().any(|other| other.name == claim.name) {
            out.duplicate(at.field("name"), &*claim.name);
        } else {
            out.faults(at.field("name"), &claim.name, names::dns_label(&claim.name));
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may \
                           be specified";
                out.invalid_object(at, claim, why);
            }
            (None, None) => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                out.invalid_object(at, claim, why);
            }
            _ => {}
        }
    }
}

fn containers(list: &[Container], around: &Around<'_>, at: At<'_>, out: &mut Report) {
    if list.is_empty() {
        out.required(at, "");
        return;
    }
    for (index, container) in list.iter().enumerate() {
        let item = at.index(index);
        container::any_sort(&container.into(), around, item, out);
        if list[..index].iter().any(|other| other.name == container.name) {
            out.duplicate(item.field("name"), &*container.name);
        }
        hooks_and_probes(container, around, item, out);
        if let Some(policy) = &container.restart_policy {
            out.choice(item.field("restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
        }
    }
    container::host_ports(all_ports(list), at, out);
}

fn all_ports(list: &[Container]) -> impl Iterator<Item = (usize, &[ContainerPort])> {
    list.iter().map(|container| items(&container.ports)).enumerate()
}

fn hooks_and_probes(container: &Container, around: &Around<'_>, at: At<'_>, out: &mut Report) {
    if let Some(hooks) = &container.lifecycle {
        probe::lifecycle(hooks, around.grace_s, around.os, at.field("lifecycle"), out);
    }
    for (field, role, wanted) in [
        ("livenessProbe", Role::Liveness, &container.liveness_probe),
        ("readinessProbe", Role::Readiness, &container.readiness_probe),
        ("startupProbe", Role::Startup, &container.startup_probe),
    ] {
        if let Some(wanted) = wanted {
            probe::probe(wanted, role, around.grace_s, at.field(field), out);
        }
    }
}

fn init_containers(spec: &PodSpec, around: &Around<'_>, at: At<'_>, out: &mut Report) {
    let list = items(&spec.init_containers);
    for (index, container) in list.iter().enumerate() {
        let item = at.index(index);
        container::any_sort(&container.into(), around, item, out);
        if let Some(policy) = &container.restart_policy {
            out.choice(item.field("restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
        }
        let mut others = spec.containers.iter().chain(&list[..index]);
        if !container.name.is_empty() && others.any(|other| other.name == container.name) {
            out.duplicate(item.field("name"), &*container.name);
        }
        container::host_ports(std::iter::once((index, items(&container.ports))), at, out);
        if container.restart_policy.as_deref() == Some("Always") {
            hooks_and_probes(container, around, item, out);
            continue;
        }
        for (field, set) in [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ] {
            if set {
                let why = "may not be set for init containers without restartPolicy=Always";
                out.forbidden(item.field(field), why);
            }
        }
    }
}

fn ephemeral_containers(spec: &PodSpec, around: &Around<'_>, at: At<'_>, out: &mut Report) {
    let list = items(&spec.ephemeral_containers);
    let named = |name: &str| {
        let others = spec.containers.iter().chain(items(&spec.init_containers));
        others.into_iter().any(|other| other.name == name)
    };
    for (index, container) in list.iter().enumerate() {
        let item = at.index(index);
        container::any_sort(&container.into(), around, item, out);
        container::of_pod_only(text(&container.image), item, out);
        let earlier = list[..index].iter().any(|other| other.name == container.name);
        if earlier || named(&container.name) {
            out.duplicate(item.field("name"), &*container.name);
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !named(target) {
            out.not_found(item.field("targetContainerName"), target);
        }
        not_for_ephemeral(container, item, out);
    }
}

fn not_for_ephemeral(container: &EphemeralContainer, at: At<'_>, out: &mut Report) {
    let why = "cannot be set for an Ephemeral Container";
    let resources = container.resources.as_ref();
    for (field, set) in [
        ("ports", container.ports.is_some()),
        ("resources", resources.is_some_and(|own| own.limits.is_some() || own.requests.is_some())),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
    ] {
        if set {
            out.forbidden(at.field(field), why);
        }
    }
    for (index, mount) in items(&container.volume_mounts).iter().enumerate() {
        let list = at.field("volumeMounts");
        let item = list.index(index);
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)]
        {
            if !text(value).is_empty() {
                out.forbidden(item.field(field), why);
            }
        }
    }
}

fn host_network(spec: &PodSpec, is_pod: bool, at: At<'_>, out: &mut Report) {
    if spec.host_network != Some(true) {
        return;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for (place, port) in items(&container.ports).iter().enumerate() {
            let host_port = port.host_port.unwrap_or(0);
            if (is_pod || host_port != 0) && host_port != port.container_port {
                let list = at.field("containers");
                let item = list.index(index);
                let ports = item.field("ports");
                let why = "must match `containerPort` when `hostNetwork` is true";
                out.invalid(ports.index(place).field("hostPort"), host_port, why);
            }
        }
    }
}

fn host_users(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    if spec.host_users != Some(false) {
        return;
    }
    for (field, shared) in
        [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if shared == Some(true) {
            out.forbidden(at.field(field), "when `hostUsers` is false");
        }
    }
}

fn dns_config(config: Option<&PodDNSConfig>, policy: &str, at: At<'_>, out: &mut Report) {
    let Some(config) = config else {
        if policy == "None" {
            out.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let (servers, searches) = (items(&config.nameservers), items(&config.searches));
    if policy == "None" && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        out.required(at.field("nameservers"), why);
        return;
    }
    if servers.len() > 3 {
        let why = "must not have more than 3 nameservers";
        out.invalid_object(at.field("nameservers"), &servers, why);
    }
    for (index, server) in servers.iter().enumerate() {
        valid_ip(at.field("nameservers").index(index), server, out);
    }
    if searches.len() > 32 {
        let why = "must not have more than 32 search paths";
        out.invalid_object(at.field("searches"), &searches, why);
    }
    let bytes: usize = searches.iter().map(|search| search.len() + 1).sum();
    if bytes > 2049 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        out.invalid_object(at.field("searches"), &searches, why);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        let faults = names::dns_subdomain_with_underscore(search);
        out.faults(at.field("searches").index(index), search, faults);
    }
    for (index, option) in items(&config.options).iter().enumerate() {
        if text(&option.name).is_empty() {
            out.required(at.field("options").index(index), "must not be empty");
        }
    }
}

fn host_aliases(aliases: &[HostAlias], at: At<'_>, out: &mut Report) {
    for (index, alias) in aliases.iter().enumerate() {
        let item = at.index(index);
        valid_ip(item.field("ip"), &alias.ip, out);
        for (place, name) in items(&alias.hostnames).iter().enumerate() {
            let list = item.field("hostnames");
            out.faults(list.index(place), name, names::dns_subdomain(name));
        }
    }
}
