//! What a `Warning` header says about a pod, or a template of pods.
//!
//! Source: kubernetes v1.36 `pkg/api/pod/warnings.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, NodeSelectorTerm, PersistentVolumeClaimSpec, PodAffinityTerm,
    PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{field::Path, quantity::Quantity};

const NO_POD: &str = "a null labelSelector results in matching no pod";

const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const OLD_LABELS: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// A list under a path in dots, `at` it: `list(spec, "volumes", 2)`.
fn item(at: &Path, list: &str, index: usize) -> Path {
    at.child(list).index(index)
}

pub(super) fn template(template: &PodTemplateSpec, at: &Path) -> Vec<String> {
    let empty = ObjectMeta::default();
    let meta = template.metadata.as_ref().unwrap_or(&empty);
    template.spec.as_ref().map(|spec| pod(spec, meta, at)).unwrap_or_default()
}

pub(super) fn pod(spec: &PodSpec, meta: &ObjectMeta, at: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let at_spec = at.child("spec");
    placement(spec, &at_spec, &mut out);
    for (key, why) in OLD_ANNOTATIONS {
        if meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key)) {
            out.push(format!("{}: {why}", at.child("metadata.annotations").key(key)));
        }
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        old_volume(volume, &item(&at_spec, "volumes", index), &mut out);
    }
    repeated(spec, &at_spec, &mut out);
    let containers = containers(spec);
    for (container, path) in &containers {
        let path = at_spec.child(path);
        if let Some(resources) = &container.resources {
            fractions(resources, &path.child("resources"), &mut out);
        }
        hidden_env(container.env.as_deref().unwrap_or_default(), &path, &mut out);
    }
    ports(&containers, &at_spec, &mut out);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let at = at_spec.child("terminationGracePeriodSeconds");
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        out.push(format!("{at}: {why}"));
    }
    selectors(spec, &at_spec, &mut out);
    out
}

/// Init containers first, as upstream visits them.
fn containers(spec: &PodSpec) -> Vec<(&Container, String)> {
    let inits = spec.init_containers.iter().flatten().enumerate();
    let inits = inits.map(|(index, each)| (each, format!("initContainers[{index}]")));
    let others = spec.containers.iter().enumerate();
    inits.chain(others.map(|(index, each)| (each, format!("containers[{index}]")))).collect()
}

fn old_label(key: &str) -> Option<String> {
    let (_, instead) = OLD_LABELS.iter().find(|(old, _)| *old == key)?;
    let since = if key == "beta.kubernetes.io/os" || key == "beta.kubernetes.io/arch" {
        "v1.14"
    } else {
        "v1.17"
    };
    Some(format!("deprecated since {since}; use \"{instead}\" instead"))
}

fn placement(spec: &PodSpec, at: &Path, out: &mut Vec<String>) {
    for key in spec.node_selector.iter().flat_map(BTreeMap::keys) {
        if let Some(why) = old_label(key) {
            out.push(format!("{}: {why}", at.child("nodeSelector").key(key)));
        }
    }
    let nodes = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if let Some(nodes) = nodes {
        let at = at.child("affinity.nodeAffinity");
        let required = nodes.required_during_scheduling_ignored_during_execution.iter();
        let terms = required.flat_map(|required| &required.node_selector_terms);
        let at_terms = at.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        for (index, term) in terms.enumerate() {
            node_term(term, &at_terms.index(index), out);
        }
        let preferred = nodes.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        let at_terms = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in preferred.enumerate() {
            node_term(&term.preference, &at_terms.index(index).child("preference"), out);
        }
    }
    for (index, spread) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let at = item(at, "topologySpreadConstraints", index);
        let key = &spread.topology_key;
        if let Some(why) = old_label(key) {
            out.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if spread.label_selector.is_none() {
            out.push(format!("{}: {NO_POD}", at.child("labelSelector")));
        }
    }
}

fn node_term(term: &NodeSelectorTerm, at: &Path, out: &mut Vec<String>) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let key = &requirement.key;
        if let Some(why) = old_label(key) {
            let at = item(at, "matchExpressions", index).child("key");
            out.push(format!("{at}: {key} is {why}"));
        }
    }
}

fn old_volume(volume: &Volume, at: &Path, out: &mut Vec<String>) {
    for (field, there, why) in [
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (
            "gitRepo",
            volume.git_repo.is_some(),
            "deprecated in v1.11, and disabled by default in v1.33+",
        ),
        ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", volume.flocker.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("storageOS", volume.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", volume.quobyte.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", volume.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", volume.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if there {
            out.push(format!("{}: {why}", at.child(field)));
        }
    }
    let claim = volume.ephemeral.as_ref().and_then(|own| own.volume_claim_template.as_ref());
    if let Some(claim) = claim {
        claim_spec(&claim.spec, &at.child("ephemeral.volumeClaimTemplate.spec"), out);
    }
}

/// A size with a fraction of a byte.
pub(super) fn claim_spec(spec: &PersistentVolumeClaimSpec, at: &Path, out: &mut Vec<String>) {
    let resources = spec.resources.as_ref();
    let lists = [
        ("requests", resources.and_then(|resources| resources.requests.as_ref())),
        ("limits", resources.and_then(|resources| resources.limits.as_ref())),
    ];
    for (field, list) in lists {
        let size = list.and_then(|list| list.get("storage"));
        let size = size.and_then(|size| Quantity::parse(&size.0).ok());
        fraction(size, "storage", &at.child("resources").child(field), out);
    }
}

fn fraction(amount: Option<Quantity>, name: &str, at: &Path, out: &mut Vec<String>) {
    if let Some(amount) = amount.filter(|amount| !amount.is_whole()) {
        let why = format!("fractional byte value \"{amount}\" is invalid, must be an integer");
        out.push(format!("{}: {why}", at.key(name)));
    }
}

fn fractions(resources: &ResourceRequirements, at: &Path, out: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let amount = list.as_ref().and_then(|list| list.get(name));
            let amount = amount.and_then(|amount| Quantity::parse(&amount.0).ok());
            fraction(amount, name, &at.child(field), out);
        }
    }
}

fn repeated(spec: &PodSpec, at: &Path, out: &mut Vec<String>) {
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    for (index, alias) in aliases.iter().enumerate() {
        if aliases[..index].iter().any(|other| other.ip == alias.ip) {
            let at = item(at, "hostAliases", index).child("ip");
            out.push(format!("{at}: duplicate ip {:?}", alias.ip));
        }
    }
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    for (index, secret) in secrets.iter().enumerate() {
        let at = item(at, "imagePullSecrets", index).child("name");
        if secrets[..index].iter().any(|other| other.name == secret.name) {
            out.push(format!("{at}: duplicate name {:?}", secret.name));
        }
        if secret.name.is_empty() {
            out.push(format!("{at}: invalid empty name \"\""));
        }
    }
}

/// A variable defined twice, where the second does not build on the first.
fn hidden_env(env: &[EnvVar], at: &Path, out: &mut Vec<String>) {
    for (index, variable) in env.iter().enumerate() {
        let name = &variable.name;
        if !env[..index].iter().any(|other| other.name == *name) {
            continue;
        }
        let reference = format!("$({name})");
        let value = variable.value.as_deref().unwrap_or_default();
        if variable.value_from.is_some() || value == reference || !value.contains(&reference) {
            let at = item(at, "env", index);
            let why = "which may be dropped when using apply";
            out.push(format!("{at}: hides previous definition of {name:?}, {why}"));
        }
    }
}

fn ports(containers: &[(&Container, String)], at: &Path, out: &mut Vec<String>) {
    let mut seen: BTreeMap<(i32, &str), Vec<(Path, &ContainerPort)>> = BTreeMap::new();
    for (container, path) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let at = item(&at.child(path), "ports", index);
            let key = (port.container_port, port.protocol.as_deref().unwrap_or_default());
            let others = seen.entry(key).or_default();
            for (other_at, other) in others.iter() {
                if let Some(how) = overlap(port, other) {
                    out.push(format!("{at}: {how} port definition with {other_at}"));
                }
            }
            others.push((at, port));
        }
    }
}

fn overlap(port: &ContainerPort, other: &ContainerPort) -> Option<&'static str> {
    let ip = |port: &ContainerPort| port.host_ip.clone().unwrap_or_default();
    let number = |port: &ContainerPort| port.host_port.unwrap_or(0);
    if ip(port) == ip(other) && number(port) == number(other) {
        Some("duplicate")
    } else if number(port) == 0 || number(other) == 0 {
        Some("overlapping")
    } else if number(port) == number(other) && ip(port).is_empty() != ip(other).is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn selectors(spec: &PodSpec, at: &Path, out: &mut Vec<String>) {
    let Some(affinity) = &spec.affinity else { return };
    let near = affinity.pod_affinity.as_ref().map(|own| {
        (
            &own.required_during_scheduling_ignored_during_execution,
            &own.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let apart = affinity.pod_anti_affinity.as_ref().map(|own| {
        (
            &own.required_during_scheduling_ignored_during_execution,
            &own.preferred_during_scheduling_ignored_during_execution,
        )
    });
    for (field, terms) in [("podAffinity", near), ("podAntiAffinity", apart)] {
        let Some((required, preferred)) = terms else { continue };
        let at = at.child("affinity").child(field);
        let mut judge = |term: &PodAffinityTerm, at: Path| {
            if term.label_selector.is_none() {
                out.push(format!("{}: {NO_POD}", at.child("labelSelector")));
            }
        };
        for (index, term) in required.iter().flatten().enumerate() {
            judge(term, item(&at, "requiredDuringSchedulingIgnoredDuringExecution", index));
        }
        for (index, weighted) in preferred.iter().flatten().enumerate() {
            let at = item(&at, "preferredDuringSchedulingIgnoredDuringExecution", index);
            judge(&weighted.pod_affinity_term, at.child("podAffinityTerm"));
        }
    }
}
