//! Whether this node can run a pod at all, asked once before its first container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerPort, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
};

use crate::{
    observed::Refusal,
    quantity::{milli_of, whole_of},
};

/// What stands against the pod, if anything does. `others`: pods that this node runs already.
///
/// Source: kubernetes v1.36 `pkg/kubelet/lifecycle/predicate.go`.
#[must_use]
pub fn admit<'a>(
    pod: &Pod,
    node: &Node,
    others: impl Iterator<Item = &'a Pod> + Clone,
) -> Option<Refusal> {
    let spec = pod.spec.as_ref()?;
    let active = others.filter(|other| {
        let phase = other.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Failed" | "Succeeded")) && other.metadata.uid != pod.metadata.uid
    });
    insufficient(spec, node, active.clone())
        .or_else(|| affinity(spec, node))
        .or_else(|| ports(spec, active))
}

fn predicate(reason: &str, why: &str) -> Refusal {
    Refusal { reason: reason.to_owned(), message: format!("Predicate {reason} failed: {why}") }
}

/// One pod's requests: the sum of its containers and sidecars, or its greediest init container.
fn requests(spec: &PodSpec, get: impl Fn(&k8s_openapi::api::core::v1::Container) -> i64) -> i64 {
    let main: i64 = spec.containers.iter().map(&get).sum();
    let mut sidecars = 0;
    let mut most_init = 0;
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += get(container);
            most_init = most_init.max(sidecars);
        } else {
            most_init = most_init.max(sidecars + get(container));
        }
    }
    most_init.max(main + sidecars)
}

fn insufficient<'a>(
    spec: &PodSpec,
    node: &Node,
    others: impl Iterator<Item = &'a Pod> + Clone,
) -> Option<Refusal> {
    let room = node.status.as_ref()?.allocatable.as_ref()?;
    let lacking = |name: &str, requested: i64, used: i64, capacity: i64| Refusal {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    let specs = || others.clone().filter_map(|other| other.spec.as_ref());
    if room.contains_key("pods") {
        let used = i64::try_from(specs().count()).unwrap_or(i64::MAX);
        let capacity = whole_of(Some(room), "pods");
        if used.saturating_add(1) > capacity {
            return Some(lacking("pods", 1, used, capacity));
        }
    }
    let cpu = |c: &k8s_openapi::api::core::v1::Container| {
        milli_of(c.resources.as_ref().and_then(|r| r.requests.as_ref()), "cpu")
    };
    let wanted = requests(spec, cpu);
    let used: i64 = specs().map(|other| requests(other, cpu)).sum();
    let capacity = milli_of(Some(room), "cpu");
    if wanted > 0 && wanted + used > capacity {
        return Some(lacking("cpu", wanted, used, capacity));
    }
    for name in ["memory", "ephemeral-storage"] {
        let amount = |c: &k8s_openapi::api::core::v1::Container| {
            whole_of(c.resources.as_ref().and_then(|r| r.requests.as_ref()), name)
        };
        let wanted = requests(spec, amount);
        let used: i64 = specs().map(|other| requests(other, amount)).sum();
        let capacity = whole_of(Some(room), name);
        if wanted > 0 && wanted + used > capacity {
            return Some(lacking(name, wanted, used, capacity));
        }
    }
    None
}

fn affinity(spec: &PodSpec, node: &Node) -> Option<Refusal> {
    let refused = || predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    if !selected {
        return Some(refused());
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref())?;
    let fits = required.node_selector_terms.iter().any(|term| term_fits(term, node, labels));
    (!fits).then(refused)
}

fn term_fits(term: &NodeSelectorTerm, node: &Node, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or(&[]);
    let fields = term.match_fields.as_deref().unwrap_or(&[]);
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let named = node.metadata.name.as_ref();
    expressions.iter().all(|wanted| requirement_fits(wanted, labels.get(&wanted.key)))
        && fields
            .iter()
            .all(|wanted| wanted.key == "metadata.name" && requirement_fits(wanted, named))
}

fn requirement_fits(wanted: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = wanted.values.as_deref().unwrap_or(&[]);
    let number = |text: &String| text.parse::<i64>().ok();
    let compared = || Some((number(value?)?, number(values.first()?)?));
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(own, limit)| own > limit),
        "Lt" => compared().is_some_and(|(own, limit)| own < limit),
        _ => false,
    }
}

fn ports<'a>(spec: &PodSpec, others: impl Iterator<Item = &'a Pod>) -> Option<Refusal> {
    let wanted = host_ports(spec);
    if wanted.is_empty() {
        return None;
    }
    let taken: Vec<(i32, String, String)> =
        others.filter_map(|other| other.spec.as_ref()).flat_map(host_ports).collect();
    let everywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    let clash = wanted.iter().any(|(port, protocol, ip)| {
        taken.iter().any(|(other_port, other_protocol, other_ip)| {
            port == other_port
                && protocol == other_protocol
                && (everywhere(ip) || everywhere(other_ip) || ip == other_ip)
        })
    });
    clash.then(|| {
        predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    })
}

/// Ports of the node that a pod takes: number, protocol, address.
fn host_ports(spec: &PodSpec) -> Vec<(i32, String, String)> {
    let shares = spec.host_network == Some(true);
    spec.containers
        .iter()
        .chain(
            spec.init_containers
                .iter()
                .flatten()
                .filter(|c| c.restart_policy.as_deref() == Some("Always")),
        )
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port: &ContainerPort| {
            let number = port
                .host_port
                .filter(|port| *port > 0)
                .or_else(|| shares.then_some(port.container_port))?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((number, protocol, port.host_ip.clone().unwrap_or_default()))
        })
        .collect()
}
