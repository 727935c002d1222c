//! What all workers of a node share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use api::quantity::{milli_of, whole_of};
use client::Cache;
use host::runtime::Runtime;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
use podsync::{
    node::NodeFacts,
    observed::{NodeSeen, Refusal},
};
use tokio::sync::mpsc;

use crate::{clock::Clock, config::Config, objects::Objects, recorder::Recorder, states::States};

/// After a listing that failed.
const OBSERVE_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// One node's doors and memories.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) client: kube::Client,
    pub(crate) clock: Clock,
    pub(crate) recorder: Recorder,
    pub(crate) states: States,
    /// Pods of this node.
    pub(crate) pods: Cache<Pod>,
    /// Every Service: they give environment variables.
    pub(crate) services: Cache<Service>,
    /// This Node.
    pub(crate) nodes: Cache<Node>,
    pub(crate) config_maps: Objects<ConfigMap>,
    pub(crate) secrets: Objects<Secret>,
    /// What the machine is, where someone told it; otherwise it is read from the system.
    pub(crate) facts: OnceLock<NodeFacts>,
    /// Why pods cannot have addresses yet, if they cannot; and a bell for whoever shows it.
    network_error: Mutex<Option<String>>,
    pub(crate) network_changed: tokio::sync::Notify,
    /// One listing at a time, so that an older one never hides a newer one.
    observing: tokio::sync::Mutex<()>,
    /// Uids of pods that a listing showed changed, for the loop.
    changed: mpsc::UnboundedSender<BTreeSet<String>>,
    /// Pods that this node has taken, by uid.
    admitted: Mutex<BTreeSet<String>>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        runtime: Arc<dyn Runtime>,
        client: kube::Client,
        clock: Clock,
        recorder: Recorder,
        changed: mpsc::UnboundedSender<BTreeSet<String>>,
    ) -> Shared {
        Shared {
            config,
            runtime,
            clock,
            recorder,
            states: States::default(),
            pods: Cache::new(None),
            services: Cache::new(None),
            nodes: Cache::new(None),
            config_maps: Objects::new(client.clone()),
            secrets: Objects::new(client.clone()),
            client,
            facts: OnceLock::new(),
            network_error: Mutex::default(),
            network_changed: tokio::sync::Notify::new(),
            observing: tokio::sync::Mutex::default(),
            changed,
            admitted: Mutex::default(),
        }
    }

    /// Why pods cannot have addresses yet, if they cannot.
    pub(crate) fn network_error(&self) -> Option<String> {
        self.network_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes it, and has the node's status told.
    pub(crate) fn set_network_error(&self, error: Option<String>) {
        *self.network_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.network_changed.notify_one();
    }

    /// Asks the runtime for its pods and wakes the workers of those that changed. An error is
    /// logged, and the listing is asked for again.
    pub(crate) async fn observe(&self) {
        let _one = self.observing.lock().await;
        loop {
            let versions = self.states.versions();
            let pods = match self.runtime.pods().await {
                Ok(pods) => pods,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the runtime's pods could not be listed");
                    tokio::time::sleep(OBSERVE_AGAIN).await;
                    self.states.look_again();
                    return;
                }
            };
            let (changed, again) = self.states.listed(pods, &versions);
            if !changed.is_empty() && self.changed.send(changed).is_err() {
                return;
            }
            if !again {
                return;
            }
        }
    }

    /// The pod with this uid, if the API still has it.
    pub(crate) fn pod(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Pod>> {
        let pod = self.pods.get(namespace, name)?;
        (pod.metadata.uid.as_deref() == Some(uid)).then_some(pod)
    }

    /// Takes the pod in, or says why not. Two pods are never judged at the same time, so that
    /// both cannot get the last processor.
    pub(crate) fn admit(&self, pod: &Pod) -> Option<Refusal> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if known || self.states.get(&uid).is_some() || admitted.contains(&uid) {
            admitted.insert(uid);
            return None;
        }
        let node = self.nodes.get("", &self.config.node)?;
        let pods = self.pods.list();
        let others = pods.iter().map(AsRef::as_ref).filter(|other: &&Pod| {
            other.metadata.uid.as_ref().is_some_and(|uid| admitted.contains(uid))
        });
        let refusal = podsync::admission::admit(pod, &node, others);
        if refusal.is_none() {
            admitted.insert(uid);
        }
        refusal
    }

    /// The pod is gone: its room is free.
    pub(crate) fn dismiss(&self, uid: &str) {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// The node as pods see it.
    pub(crate) fn node_seen(&self) -> NodeSeen {
        let node = self.nodes.get("", &self.config.node);
        let status = node.as_ref().and_then(|node| node.status.as_ref());
        let none = BTreeMap::new();
        let room = status.and_then(|status| status.allocatable.as_ref()).unwrap_or(&none);
        let all = status.and_then(|status| status.capacity.as_ref());
        NodeSeen {
            name: self.config.node.clone(),
            addresses: self.config.addresses.clone(),
            memory_bytes: u64::try_from(whole_of(all, "memory")).unwrap_or(0),
            allocatable_cpu_milli: milli_of(Some(room), "cpu"),
            allocatable_memory_bytes: whole_of(Some(room), "memory"),
        }
    }

    /// The Services whose addresses the pod's environment shows.
    pub(crate) fn services_for(&self, namespace: &str) -> Vec<Service> {
        let mut all: Vec<Service> = self
            .services
            .in_namespace(namespace)
            .iter()
            .map(|service| service.as_ref().clone())
            .collect();
        if namespace != "default" {
            all.extend(self.services.get("default", "kubernetes").map(|s| s.as_ref().clone()));
        }
        all
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
