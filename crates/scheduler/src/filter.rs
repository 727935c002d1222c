//! What one node must have: the filters that look at this node and the pod alone.

use api::{requests::Amounts, selector::nodes};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use crate::{
    cluster::{HostPort, NodeState, host_ports},
    selector,
    verdict::Fault,
};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
/// Effects that keep a new pod away.
const KEEP_AWAY: &[&str] = &["NoSchedule", "NoExecute"];

/// The first filter that refuses the node, in upstream's order.
pub(crate) fn node_itself(
    pod: &Pod,
    requested: &Amounts,
    state: &NodeState,
    node: &Node,
) -> Result<(), Fault> {
    unschedulable(pod, node)?;
    node_name(pod, node)?;
    taints(pod, node)?;
    if !nodes::required_node_affinity_fits(pod, node) {
        return Err(Fault::final_("node(s) didn't match Pod's node affinity/selector"));
    }
    ports(pod, state)?;
    resources(requested, state)
}

/// When every term of the required node affinity names nodes: their names.
///
/// Upstream looks at no other node then, and counts the rest under one reason.
pub(crate) fn only_nodes_named(pod: &Pod) -> Option<Vec<String>> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    if required.node_selector_terms.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for term in &required.node_selector_terms {
        let mut fields = term
            .match_fields
            .iter()
            .flatten()
            .filter(|rule| rule.key == "metadata.name" && rule.operator == "In")
            .map(|rule| rule.values.clone().unwrap_or_default());
        let mut named = fields.next()?;
        for also in fields {
            named.retain(|name| also.contains(name));
        }
        names.extend(named);
    }
    Some(names)
}

fn unschedulable(pod: &Pod, node: &Node) -> Result<(), Fault> {
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true) {
        return Ok(());
    }
    let taint = Taint {
        key: UNSCHEDULABLE_TAINT.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    if selector::tolerated(&taint, tolerations.unwrap_or_default()) {
        return Ok(());
    }
    Err(Fault::final_("node(s) were unschedulable"))
}

fn node_name(pod: &Pod, node: &Node) -> Result<(), Fault> {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if wanted.is_empty() || node.metadata.name.as_deref() == Some(wanted) {
        return Ok(());
    }
    Err(Fault::final_("node(s) didn't match the requested node name"))
}

fn taints(pod: &Pod, node: &Node) -> Result<(), Fault> {
    match selector::untolerated(pod, node, KEEP_AWAY) {
        Some(_) => Err(Fault::final_("node(s) had untolerated taint(s)")),
        None => Ok(()),
    }
}

fn ports(pod: &Pod, state: &NodeState) -> Result<(), Fault> {
    let clash = |wanted: &HostPort| {
        state.ports.keys().any(|(address, protocol, number)| {
            *number == wanted.2
                && *protocol == wanted.1
                && (*address == wanted.0 || address == "0.0.0.0" || wanted.0 == "0.0.0.0")
        })
    };
    if host_ports(pod).iter().any(clash) {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        return Err(Fault::resolvable(reason));
    }
    Ok(())
}

fn resources(requested: &Amounts, state: &NodeState) -> Result<(), Fault> {
    let mut fault = Fault { reasons: Vec::new(), resolvable: true };
    let pods = i64::try_from(state.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > state.allocatable.get("pods").copied().unwrap_or(0) {
        fault.reasons.push("Too many pods".to_owned());
    }
    let first = ["cpu", "memory", "ephemeral-storage"];
    let others = requested.keys().map(String::as_str).filter(|name| !first.contains(name));
    for name in first.into_iter().chain(others) {
        let asked = requested.get(name).copied().unwrap_or(0);
        let total = state.allocatable.get(name).copied().unwrap_or(0);
        let used = state.requested.get(name).copied().unwrap_or(0);
        if asked > 0 && asked > total.saturating_sub(used) {
            fault.reasons.push(format!("Insufficient {name}"));
            // Even an empty node would be too small.
            fault.resolvable &= asked <= total;
        }
    }
    if fault.reasons.is_empty() { Ok(()) } else { Err(fault) }
}
