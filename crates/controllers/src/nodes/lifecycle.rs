//! Decides for one node: its podCIDR, and what its silence means.

use std::{net::Ipv4Addr, sync::Arc};

use api::k8s::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition, Taint},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use jiff::{SignedDuration, Timestamp};

use super::{NOT_READY, UNREACHABLE};
use crate::{Action, Note, Outcome, Plan, Target};

/// Seconds without a sign of life after which a node counts as unreachable; upstream's default
/// `--node-monitor-grace-period` since 1.32.
pub const GRACE_S: i64 = 50;

/// What the decision about one node may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The node.
    pub node: Arc<Node>,
    /// Its Lease in `kube-node-lease`.
    pub lease: Option<Arc<Lease>>,
    /// The podCIDRs of all other nodes.
    pub taken: Vec<String>,
    /// The cluster's pod network, and the length of a node's part of it.
    pub pods: PodNetwork,
    /// When this controller last saw the node or its lease change, by its own clock: other
    /// machines' clocks are not trusted.
    pub last_sign: Timestamp,
    /// The one clock reading.
    pub now: Timestamp,
}

/// The cluster's pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodNetwork {
    /// Its first address.
    pub base: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The length of a node's prefix; upstream's `--node-cidr-mask-size`, 24.
    pub node_prefix: u8,
}

/// Decides what to do next for one node. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    let spec = view.node.spec.clone().unwrap_or_default();
    if spec.pod_cidr.is_none()
        && let Some(cidr) = free_cidr(&view.pods, &view.taken)
    {
        let body = serde_json::json!({
            "metadata": {"uid": view.node.metadata.uid},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        });
        let target = Target::of(&*view.node);
        plan.actions.push(Action::merge(target, None, body, "each node has its own addresses"));
    }
    let silent_at = view.last_sign.checked_add(SignedDuration::from_secs(GRACE_S)).ok();
    let silent = silent_at.is_some_and(|at| at <= view.now);
    if silent {
        plan.actions.extend(unknown(view));
    } else {
        plan.look_again = silent_at;
    }
    plan.actions.extend(taints(view, silent));
    plan
}

/// The lowest part of the network that no node has.
fn free_cidr(network: &PodNetwork, taken: &[String]) -> Option<String> {
    let size = 1_u32.checked_shl(32 - u32::from(network.node_prefix)).unwrap_or(1);
    let count = 1_u32.checked_shl(u32::from(network.node_prefix.checked_sub(network.prefix)?))?;
    let base = u32::from(network.base);
    (0..count)
        .map(|index| {
            let address = Ipv4Addr::from(base.wrapping_add(index.wrapping_mul(size)));
            format!("{address}/{}", network.node_prefix)
        })
        .find(|cidr| !taken.contains(cidr))
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Every condition that the kubelet keeps becomes Unknown.
fn unknown(view: &View) -> Option<Action> {
    const KINDS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    let mut told = (*view.node).clone();
    let status = told.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    let mut changed = false;
    for kind in KINDS {
        let old = conditions.iter_mut().find(|condition| condition.type_ == *kind);
        match old {
            Some(old) if old.status == "Unknown" => (),
            Some(old) => {
                old.status = "Unknown".to_owned();
                old.reason = Some("NodeStatusUnknown".to_owned());
                old.message = Some("Kubelet stopped posting node status.".to_owned());
                old.last_transition_time = Some(Time(view.now));
                changed = true;
            }
            None => {
                conditions.push(NodeCondition {
                    type_: (*kind).to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_transition_time: Some(Time(view.now)),
                    last_heartbeat_time: view.node.metadata.creation_timestamp.clone(),
                });
                changed = true;
            }
        }
    }
    let name = view.node.metadata.name.as_deref().unwrap_or_default();
    changed.then(|| {
        let mut action = Action::update(told, Some("status"), "it has not been heard of");
        let text = format!("Node {name} status is now: NodeNotReady");
        action.events = Some(Outcome {
            regarding: Target::of(&*view.node),
            success: Some(Note::normal("NodeNotReady", text)),
            failure: Vec::new(),
        });
        action
    })
}

/// The taints that follow from the Ready condition.
fn taints(view: &View, silent: bool) -> Option<Action> {
    let status = ready(&view.node).map(|condition| condition.status.as_str());
    let wanted: &[(&str, &str)] = match (silent, status) {
        (true, _) | (false, Some("Unknown") | None) => {
            &[(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        }
        (false, Some("True")) => &[],
        (false, Some(_)) => &[(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
    };
    // A node that has just registered has not spoken yet: it is not ready rather than unreachable.
    let fresh = status.is_none() && !silent;
    let wanted: &[(&str, &str)] = if fresh { &[(NOT_READY, "NoSchedule")] } else { wanted };
    let spec = view.node.spec.clone().unwrap_or_default();
    let old = spec.taints.clone().unwrap_or_default();
    let ours = |taint: &Taint| taint.key == NOT_READY || taint.key == UNREACHABLE;
    let mut taints: Vec<Taint> = old.iter().filter(|taint| !ours(taint)).cloned().collect();
    for (key, effect) in wanted {
        let kept = old.iter().find(|taint| taint.key == *key && taint.effect == *effect).cloned();
        taints.push(kept.unwrap_or_else(|| Taint {
            key: (*key).to_owned(),
            effect: (*effect).to_owned(),
            time_added: Some(Time(view.now)),
            value: None,
        }));
    }
    let same = taints.len() == old.len() && taints.iter().all(|taint| old.contains(taint));
    if same {
        return None;
    }
    let meta = &view.node.metadata;
    let taints =
        if taints.is_empty() { serde_json::Value::Null } else { serde_json::json!(taints) };
    let body = serde_json::json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "spec": {"taints": taints},
    });
    let target = Target::of(&*view.node);
    Some(Action::merge(target, None, body, "its taints follow its condition").in_group(1))
}
