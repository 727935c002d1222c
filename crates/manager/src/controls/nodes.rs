//! Nodes: their addresses and their silence, and what becomes of the pods on them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use client::Key;
use controllers::{
    Plan,
    nodes::{
        eviction,
        lifecycle::{self, PodNetwork},
        orphans,
    },
};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};

use super::name;
use crate::{Caches, Controller, Wakes, start::Clock};

/// Where kubelets renew their leases.
const LEASES: &str = "kube-node-lease";
/// Index of pods: their node.
const ON: &str = "on-node";

/// A node's podCIDR, conditions and taints.
pub(super) struct Lifecycle {
    pods: PodNetwork,
    now: Clock,
    /// When each node, or its lease, was last seen to have changed, by this process's clock.
    signs: Mutex<BTreeMap<String, Timestamp>>,
}

impl Lifecycle {
    pub(super) fn new(pods: PodNetwork, now: &Clock) -> Self {
        Self { pods, now: Arc::clone(now), signs: Mutex::default() }
    }

    fn sign(&self, node: &str) {
        let now = (self.now)();
        self.signs.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), now);
    }

    fn forget(&self, node: &str) {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}

impl Controller for Lifecycle {
    type View = lifecycle::View;

    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let me = Arc::clone(self);
        wakes.on_change::<Node>(move |old, new| {
            match (old, new) {
                (None, Some(node)) => me.sign(name(&node.metadata)),
                (Some(old), Some(new)) if heartbeats(old) != heartbeats(new) => {
                    me.sign(name(&new.metadata));
                }
                (Some(node), None) => me.forget(name(&node.metadata)),
                _ => (),
            }
            old.or(new).map(|node| Key::of(&node.metadata)).into_iter().collect()
        });
        let me = Arc::clone(self);
        wakes.on_change::<Lease>(move |old, new| {
            let Some(lease) = new else { return Vec::new() };
            if lease.metadata.namespace.as_deref() != Some(LEASES) {
                return Vec::new();
            }
            let renewed = |lease: &Arc<Lease>| lease.spec.as_ref().map(|s| s.renew_time.clone());
            if old.map(renewed) == new.map(renewed) {
                return Vec::new();
            }
            me.sign(name(&lease.metadata));
            vec![Key::new("", name(&lease.metadata))]
        });
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<lifecycle::View> {
        let node = caches.of::<Node>().get("", &key.name)?;
        let others = caches.of::<Node>().list().into_iter();
        let others = others.filter(|other| other.metadata.name != node.metadata.name);
        let taken = others.filter_map(|other| other.spec.as_ref()?.pod_cidr.clone()).collect();
        let signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        let last_sign = signs.get(&key.name).copied().unwrap_or(now);
        let lease = caches.of::<Lease>().get(LEASES, &key.name);
        Some(lifecycle::View { node, lease, taken, pods: self.pods, last_sign, now })
    }

    fn reconcile(&self, view: &lifecycle::View) -> Plan {
        lifecycle::reconcile(view)
    }
}

/// What the kubelet itself writes into its conditions.
fn heartbeats(node: &Node) -> Vec<Option<Timestamp>> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.map(|condition| condition.last_heartbeat_time.as_ref().map(|time| time.0)).collect()
}

/// Pods on nodes with NoExecute taints.
pub(super) struct Eviction;

impl Controller for Eviction {
    type View = eviction::View;

    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn component(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        pods_and_their_nodes(wakes);
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<eviction::View> {
        let pod = caches.of::<Pod>().get(&key.namespace, &key.name)?;
        let node = caches.of::<Node>().get("", node_of(&pod)?)?;
        Some(eviction::View { pod, node, now })
    }

    fn reconcile(&self, view: &eviction::View) -> Plan {
        eviction::reconcile(view)
    }
}

/// Pods whose node is no more.
pub(super) struct Orphans;

impl Controller for Orphans {
    type View = orphans::View;

    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        pods_and_their_nodes(wakes);
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<orphans::View> {
        let pod = caches.of::<Pod>().get(&key.namespace, &key.name)?;
        let node = node_of(&pod).and_then(|name| caches.of::<Node>().get("", name));
        Some(orphans::View { pod, node, now })
    }

    fn reconcile(&self, view: &orphans::View) -> Plan {
        orphans::reconcile(view)
    }
}

/// Woken by pods that got a node or are being deleted, and by their nodes' coming, going, taints
/// and readiness.
fn pods_and_their_nodes(wakes: &mut Wakes<'_>) {
    let pods =
        wakes.reads_by::<Pod>((ON, |pod| node_of(pod).map(str::to_owned).into_iter().collect()));
    wakes.on_change::<Pod>(|old, new| {
        let parts = |pod: &Arc<Pod>| {
            let going = pod.metadata.deletion_timestamp.is_some();
            let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
            (pod.metadata.uid.clone(), node_of(pod).map(str::to_owned), going, tolerations)
        };
        let changed = new.filter(|_| old.map(parts) != new.map(parts));
        changed.map(|pod| Key::of(&pod.metadata)).into_iter().collect()
    });
    wakes.on_change::<Node>(move |old, new| {
        let parts = |node: &Arc<Node>| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
            let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
            let ready = conditions.filter(|c| c.type_ == "Ready").map(|c| c.status.clone());
            (node.metadata.uid.clone(), taints, ready.collect::<Vec<_>>())
        };
        if old.map(parts) == new.map(parts) {
            return Vec::new();
        }
        let node = old.or(new).map(|node| name(&node.metadata)).unwrap_or_default();
        pods.by(ON, node).iter().map(|pod| Key::of(&pod.metadata)).collect()
    });
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}
