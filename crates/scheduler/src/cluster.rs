//! Nodes and what the pods on them ask for, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::requests::{self, Amounts};
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{requests::of_pod_at_least, volumes::claim_names};

/// Namespace and name.
pub(crate) type PodKey = (String, String);
/// Address, protocol and number of a port of the node itself.
pub(crate) type HostPort = (String, String, i32);

/// What the scheduler knows of nodes and of the pods that are, or are about to be, on them.
///
/// A pod that was given a node counts there from the decision on (`assume`), before the watch
/// shows it, so that two pods never get the same room.
#[derive(Debug, Default)]
pub struct Cluster {
    pub(crate) nodes: BTreeMap<String, NodeState>,
    pub(crate) pods: BTreeMap<PodKey, PodState>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// How many counted pods use a claim.
    pub(crate) claim_users: BTreeMap<PodKey, usize>,
    /// How many counted pods refuse company, or prefer some.
    pub(crate) with_affinity: usize,
}

#[derive(Debug, Default)]
pub(crate) struct NodeState {
    /// `None` while only pods tell of it.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) allocatable: Amounts,
    pub(crate) requested: Amounts,
    pub(crate) requested_at_least: Amounts,
    pub(crate) pods: BTreeSet<PodKey>,
    pub(crate) ports: BTreeMap<HostPort, usize>,
    /// How many of its pods each controller has, by its uid.
    pub(crate) controllers: BTreeMap<String, usize>,
}

#[derive(Debug)]
pub(crate) struct PodState {
    pub(crate) pod: Arc<Pod>,
    pub(crate) node: String,
    assumed: bool,
    requested: Amounts,
    requested_at_least: Amounts,
}

impl Cluster {
    /// A node appeared or changed.
    pub fn put_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let state = self.nodes.entry(name).or_default();
        let list = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        state.allocatable = requests::amounts(list);
        state.node = Some(node);
    }

    /// A node is gone; its pods are remembered until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(state) = self.nodes.get_mut(name) {
            state.node = None;
            state.allocatable = Amounts::new();
        }
        self.drop_empty(name);
    }

    /// A namespace's labels, which affinity terms can select.
    pub fn put_namespace(&mut self, name: &str, labels: BTreeMap<String, String>) {
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// A pod appeared or changed: it counts where it has a node and has not finished.
    ///
    /// One that was assumed and of which the watch still says "no node" stays assumed.
    pub fn put_pod(&mut self, pod: &Arc<Pod>) {
        let key = key_of(pod);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if let Some(known) = self.pods.get(&key)
            && known.assumed
            && node.is_empty()
            && known.pod.metadata.uid == pod.metadata.uid
            && !finished(pod)
        {
            return;
        }
        self.leave(&key);
        if !node.is_empty() && !finished(pod) {
            self.enter(key, Arc::clone(pod), node, false);
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        self.leave(&(namespace.to_owned(), name.to_owned()));
    }

    /// The pod has been given this node; it counts there until told otherwise.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &str) {
        let key = key_of(pod);
        self.leave(&key);
        self.enter(key, Arc::clone(pod), node.to_owned(), true);
    }

    /// The pod was assumed on a node and will not go there.
    pub fn forget(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        if self.pods.get(&key).is_some_and(|state| state.assumed) {
            self.leave(&key);
        }
    }

    /// Where the pod with this uid has been assumed, if it has.
    #[must_use]
    pub fn assumed(&self, pod: &Pod) -> Option<&str> {
        let state = self.pods.get(&key_of(pod))?;
        (state.assumed && state.pod.metadata.uid == pod.metadata.uid).then_some(&*state.node)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.known().count()
    }

    /// Nodes that exist, by name.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, &NodeState, &Arc<Node>)> {
        self.nodes
            .iter()
            .filter_map(|(name, state)| Some((name.as_str(), state, state.node.as_ref()?)))
    }

    fn enter(&mut self, key: PodKey, pod: Arc<Pod>, node: String, assumed: bool) {
        let state = PodState {
            requested: requests::of_pod(&pod),
            requested_at_least: of_pod_at_least(&pod),
            node,
            assumed,
            pod,
        };
        let place = self.nodes.entry(state.node.clone()).or_default();
        requests::add(&mut place.requested, &state.requested);
        requests::add(&mut place.requested_at_least, &state.requested_at_least);
        place.pods.insert(key.clone());
        for port in host_ports(&state.pod) {
            *place.ports.entry(port).or_default() += 1;
        }
        if let Some(owner) = controller(&state.pod) {
            *place.controllers.entry(owner.to_owned()).or_default() += 1;
        }
        for claim in claim_names(&state.pod) {
            *self.claim_users.entry((key.0.clone(), claim)).or_default() += 1;
        }
        self.with_affinity += usize::from(has_pod_affinity(&state.pod));
        self.pods.insert(key, state);
    }

    fn leave(&mut self, key: &PodKey) {
        let Some(state) = self.pods.remove(key) else { return };
        if let Some(place) = self.nodes.get_mut(&state.node) {
            requests::subtract(&mut place.requested, &state.requested);
            requests::subtract(&mut place.requested_at_least, &state.requested_at_least);
            place.pods.remove(key);
            for port in host_ports(&state.pod) {
                take_one(&mut place.ports, &port);
            }
            if let Some(owner) = controller(&state.pod) {
                take_one(&mut place.controllers, &owner.to_owned());
            }
        }
        for claim in claim_names(&state.pod) {
            take_one(&mut self.claim_users, &(key.0.clone(), claim));
        }
        self.with_affinity -= usize::from(has_pod_affinity(&state.pod));
        self.drop_empty(&state.node);
    }

    fn drop_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|s| s.node.is_none() && s.pods.is_empty()) {
            self.nodes.remove(name);
        }
    }
}

/// The pod's ports on the node itself; an empty address means all of them.
pub(crate) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty());
            let protocol = port.protocol.clone().filter(|name| !name.is_empty());
            Some((
                address.unwrap_or_else(|| "0.0.0.0".to_owned()),
                protocol.unwrap_or_else(|| "TCP".to_owned()),
                number,
            ))
        })
        .collect()
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The uid of the one owner that controls it.
pub(crate) fn controller(pod: &Pod) -> Option<&str> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

fn key_of(pod: &Pod) -> PodKey {
    let meta = &pod.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn has_pod_affinity(pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    affinity.is_some_and(|a| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some())
}
