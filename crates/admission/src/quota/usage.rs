//! What one object uses, under the names that quotas have for it.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    Object, Resource,
    k8s::{
        api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, Service},
        apimachinery::pkg::api::resource::Quantity as Written,
    },
    quantity::{self, Quantity},
};

use super::Amounts;

const CLASS: &str = ".storageclass.storage.k8s.io/";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// Where one of these is limited, every container must name it.
const NAMED: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
/// Kinds of the core group that are also counted by their bare name.
const BARE: [&str; 5] =
    ["configmaps", "replicationcontrollers", "resourcequotas", "secrets", "services"];

type List = BTreeMap<String, Written>;

/// What this object uses.
#[must_use]
pub fn usage(resource: &'static dyn Resource, object: &dyn Object) -> Amounts {
    let mut used = Amounts::new();
    let names = resource.names();
    if names.plural == "events" {
        return used;
    }
    used.insert(count_name(resource), pieces(1));
    if names.group.is_empty() && BARE.contains(&names.plural) {
        used.insert(names.plural.to_owned(), pieces(1));
    }
    let object = object.as_any();
    if let Some(pod) = object.downcast_ref::<Pod>() {
        pod_usage(pod, &mut used);
    } else if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        claim_usage(claim, &mut used);
    } else if let Some(service) = object.downcast_ref::<Service>() {
        service_usage(service, &mut used);
    }
    used
}

fn pieces(count: usize) -> Quantity {
    Quantity::from_milli(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1000))
}

fn count_name(resource: &'static dyn Resource) -> String {
    let names = resource.names();
    let dot = if names.group.is_empty() { "" } else { "." };
    format!("count/{}{dot}{}", names.plural, names.group)
}

/// Whether this name of a quota counts objects of this kind.
pub(super) fn is_of(name: &str, resource: &'static dyn Resource) -> bool {
    let names = resource.names();
    if name == count_name(resource) {
        return true;
    }
    if !names.group.is_empty() || name.starts_with("count/") {
        return false;
    }
    let of_class = name.split_once(CLASS).map_or(name, |(_, name)| name);
    let of_claims = ["persistentvolumeclaims", "requests.storage"].contains(&of_class);
    let of_services = name == "services" || name.starts_with("services.");
    match names.plural {
        "persistentvolumeclaims" => of_claims,
        "services" => of_services,
        "pods" => !of_claims && !of_services && !BARE.contains(&name),
        plural => BARE.contains(&plural) && name == plural,
    }
}

fn pod_usage(pod: &Pod, used: &mut Amounts) {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return;
    }
    used.insert("pods".to_owned(), pieces(1));
    let Some(spec) = &pod.spec else { return };
    for (name, amount) in total(spec, Side::Requests) {
        used.insert(format!("requests.{name}"), amount);
        if !name.contains('/') || name.contains("kubernetes.io/") {
            used.insert(name, amount);
        }
    }
    for (name, amount) in total(spec, Side::Limits) {
        if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

/// What a pod asks for, or may have, as a whole.
///
/// Source: kubernetes v1.36 `component-helpers/resource`, `PodRequests`, `PodLimits`.
fn total(spec: &PodSpec, side: Side) -> Amounts {
    let of = |container: &Container| -> Amounts {
        let resources = container.resources.as_ref();
        amounts(resources.and_then(|all| match side {
            Side::Requests => all.requests.as_ref(),
            Side::Limits => all.limits.as_ref(),
        }))
    };
    let mut sum = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut sum, &of(container)));
    // Sidecars run on beside every later container.
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            let mut at_once = sidecars.clone();
            add(&mut at_once, &own);
            raise(&mut peak, &at_once);
        }
    }
    raise(&mut sum, &peak);
    let whole = spec.resources.as_ref().and_then(|all| match side {
        Side::Requests => all.requests.as_ref(),
        Side::Limits => all.limits.as_ref(),
    });
    sum.extend(amounts(whole));
    for (name, amount) in amounts(spec.overhead.as_ref()) {
        if side == Side::Requests || sum.contains_key(&name) {
            add(&mut sum, &Amounts::from([(name, amount)]));
        }
    }
    sum
}

fn amounts(list: Option<&List>) -> Amounts {
    let entries = list.into_iter().flatten();
    entries.map(|(name, written)| (name.clone(), quantity::of(written))).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
}

fn raise(sum: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let entry = sum.entry(name.clone()).or_insert(*amount);
        if *entry < *amount {
            *entry = *amount;
        }
    }
}

/// What containers must name and do not, in upstream's words.
pub(super) fn unnamed(pod: &Pod, hard: &List) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let containers: Vec<&Container> = containers.collect();
    let mut missing = Vec::new();
    for name in NAMED.iter().filter(|name| hard.contains_key(**name)) {
        let lacks = |container: &Container| {
            let resources = container.resources.as_ref();
            let (list, bare) = match name.strip_prefix("limits.") {
                Some(bare) => (resources.and_then(|all| all.limits.as_ref()), bare),
                None => (
                    resources.and_then(|all| all.requests.as_ref()),
                    name.strip_prefix("requests.").unwrap_or(name),
                ),
            };
            !list.is_some_and(|list| list.contains_key(bare))
        };
        let without = containers.iter().filter(|container| lacks(container));
        let without: BTreeSet<&str> = without.map(|container| container.name.as_str()).collect();
        if !without.is_empty() {
            let without: Vec<&str> = without.into_iter().collect();
            missing.push(format!("{name} for: {}", without.join(",")));
        }
    }
    (!missing.is_empty()).then(|| format!("must specify {}", missing.join("; ")))
}

fn claim_usage(claim: &PersistentVolumeClaim, used: &mut Amounts) {
    let spec = claim.spec.as_ref();
    let annotated = claim.metadata.annotations.as_ref().and_then(|all| all.get(OLD_CLASS));
    let class = annotated.or_else(|| spec.and_then(|spec| spec.storage_class_name.as_ref()));
    let class = class.filter(|class| !class.is_empty());
    let requests = spec.and_then(|spec| spec.resources.as_ref());
    let requests = requests.and_then(|all| all.requests.as_ref());
    let asked = quantity::in_list(requests, "storage");
    let status = claim.status.as_ref();
    let allocated = status.and_then(|status| status.allocated_resources.as_ref());
    let allocated = quantity::in_list(allocated, "storage");
    // A growth that was taken back has been allocated all the same.
    let storage = if allocated > asked { allocated } else { asked };
    for (name, amount) in [("persistentvolumeclaims", pieces(1)), ("requests.storage", storage)] {
        used.insert(name.to_owned(), amount);
        if let Some(class) = class {
            used.insert(format!("{class}{CLASS}{name}"), amount);
        }
    }
}

fn service_usage(service: &Service, used: &mut Amounts) {
    let Some(spec) = &service.spec else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let node_ports = match spec.type_.as_deref() {
        Some("LoadBalancer") if spec.allocate_load_balancer_node_ports == Some(false) => {
            ports.iter().filter(|port| port.node_port.is_some_and(|port| port != 0)).count()
        }
        Some("NodePort" | "LoadBalancer") => ports.len(),
        _ => 0,
    };
    used.insert("services.nodeports".to_owned(), pieces(node_ports));
    used.insert("services.loadbalancers".to_owned(), pieces(usize::from(balanced)));
}
