//! Whether this node can run a pod at all, asked once before its first container.

use api::{
    requests::{self, Amounts},
    selector::nodes::required_node_affinity_fits,
};
use k8s_openapi::api::core::v1::{ContainerPort, Node, Pod, PodSpec};

use crate::observed::Refusal;

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
    insufficient(pod, node, active.clone())
        .or_else(|| affinity(pod, node))
        .or_else(|| ports(spec, active))
}

fn predicate(reason: &str, why: &str) -> Refusal {
    Refusal { reason: reason.to_owned(), message: format!("Predicate {reason} failed: {why}") }
}

fn insufficient<'a>(
    pod: &Pod,
    node: &Node,
    others: impl Iterator<Item = &'a Pod> + Clone,
) -> Option<Refusal> {
    let room = requests::amounts(Some(node.status.as_ref()?.allocatable.as_ref()?));
    let lacking = |name: &str, requested: i64, used: i64, capacity: i64| Refusal {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    if let Some(capacity) = room.get("pods").copied() {
        let used = i64::try_from(others.clone().count()).unwrap_or(i64::MAX);
        if used.saturating_add(1) > capacity {
            return Some(lacking("pods", 1, used, capacity));
        }
    }
    let wanted = requests::of_pod(pod);
    let mut used = Amounts::new();
    others.for_each(|other| requests::add(&mut used, &requests::of_pod(other)));
    let of = |amounts: &Amounts, name: &str| amounts.get(name).copied().unwrap_or_default();
    ["cpu", "memory", "ephemeral-storage"].into_iter().find_map(|name| {
        let (wanted, used, capacity) = (of(&wanted, name), of(&used, name), of(&room, name));
        let lacks = wanted > 0 && wanted.saturating_add(used) > capacity;
        lacks.then(|| lacking(name, wanted, used, capacity))
    })
}

fn affinity(pod: &Pod, node: &Node) -> Option<Refusal> {
    let refused = || predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    (!required_node_affinity_fits(pod, node)).then(refused)
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
