//! The loop over one node: which pods have workers, and what wakes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use client::{AnyCache, Key};
use futures::StreamExt as _;
use host::{
    nft::{Firewall, Ruleset},
    runtime::Runtime,
};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Api, runtime::watcher};
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use crate::{
    clock::Clock,
    config::Config,
    images, node,
    recorder::Recorder,
    serve::{self, Authority, Kubelet},
    shared::Shared,
    states::Found,
    volumes, wire,
    worker::Worker,
};

/// Why an agent cannot begin.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Make the folder usable.
    #[error("the agent's folder {folder} cannot be used")]
    Folder {
        /// Which.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// One of the agent's own loops ended, which none does: a mistake in the program.
    #[error("the agent's loop over {0} ended")]
    Ended(&'static str),
}

/// What the loop hears.
#[derive(Debug)]
enum Event {
    /// A pod of this node changed in the API.
    Pod(Key),
    /// The runtime's pods with these uids changed.
    Runtime(BTreeSet<String>),
    /// The worker of this pod has nothing left to do.
    Ended(String),
    /// One of the loops beside ended.
    Broken(&'static str),
}

/// One node.
pub struct Agent {
    shared: Arc<Shared>,
    recorder: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    changed: mpsc::UnboundedReceiver<BTreeSet<String>>,
    provisioner: Option<kube::Client>,
    firewall: Option<(Firewall, Ruleset)>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// What the kubelet API asks of a running agent; clones ask the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("node", &self.shared.config.node).finish_non_exhaustive()
    }
}

impl Handle {
    /// The node's containers.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.shared.runtime)
    }

    /// The API as this node sees it.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.shared.client.clone()
    }

    /// The kubelet API of this node; its callers' rights are asked of the API server.
    #[must_use]
    pub fn kubelet(&self) -> Kubelet {
        Kubelet {
            runtime: self.runtime(),
            pods: Arc::new(self.clone()),
            authority: Arc::new(Authority::new(self.client())),
            node: self.shared.config.node.clone(),
            scratch: self.shared.config.data.join("scratch"),
        }
    }

    /// The node's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The node's block of pod addresses, once a controller has given it one. The agent must run.
    pub async fn pod_cidr(&self) -> String {
        let nodes = &self.shared.nodes;
        let cache: &dyn AnyCache = nodes;
        loop {
            let mut changed = std::pin::pin!(cache.changes().notified());
            changed.as_mut().enable();
            let node = nodes.get("", &self.shared.config.node);
            let spec = node.as_ref().and_then(|node| node.spec.as_ref());
            if let Some(cidr) = spec.and_then(|spec| spec.pod_cidr.clone()) {
                return cidr;
            }
            changed.await;
        }
    }

    /// Says why pods cannot have addresses yet (the node is not Ready then), or that they can.
    /// Until it is called the node says that they can.
    pub fn set_network(&self, state: Result<(), String>) {
        self.shared.set_network_error(state.err().map(|why| {
            format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            )
        }));
    }

    /// The pods of this node, ordered by namespace and name.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.shared.pods.list()
    }

    /// A pod of this node.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.shared.pods.get(namespace, name)
    }

    /// The containers of this name of a pod, oldest first, running or ended.
    #[must_use]
    pub fn containers(&self, namespace: &str, pod: &str, container: &str) -> Option<Found> {
        self.shared.states.find(namespace, pod, container)
    }
}

impl serve::Pods for Handle {
    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.shared.pods.get(namespace, name)
    }

    fn pods(&self) -> Vec<Arc<Pod>> {
        self.shared.pods.list()
    }

    fn log_folder(&self, pod: &Pod) -> std::path::PathBuf {
        let meta = &pod.metadata;
        self.shared.config.log_folder(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default(),
        )
    }
}

impl Agent {
    /// An agent that speaks to the API through `client` and to containers through `runtime`.
    ///
    /// # Errors
    /// [`AgentError::Folder`].
    pub fn new(
        config: Config,
        runtime: Arc<dyn Runtime>,
        client: kube::Client,
        clock: Clock,
    ) -> Result<Agent, AgentError> {
        for folder in
            [config.data.join("pods"), volumes::reclaim::folder(&config), config.logs.clone()]
        {
            std::fs::create_dir_all(&folder).map_err(|source| AgentError::Folder {
                folder: folder.display().to_string(),
                source,
            })?;
        }
        let (recorder, run) = Recorder::new(client.clone(), &config.node, clock.clone());
        let (sender, changed) = mpsc::unbounded_channel();
        let shared = Shared::new(config, runtime, client, clock, recorder, sender);
        Ok(Agent {
            shared: Arc::new(shared),
            recorder: Box::pin(run),
            changed,
            provisioner: None,
            firewall: None,
        })
    }

    /// Also deletes, empties and grows this node's volumes, through
    /// `client`: a node's own identity may read single volumes only, so this is another one
    /// (`system:serviceaccount:kube-system:local-volume-provisioner`).
    #[must_use]
    pub fn reclaiming(mut self, client: kube::Client) -> Agent {
        self.provisioner = Some(client);
        self
    }

    /// Also keeps the firewall's rules of Services and host ports; `base` says all but those.
    #[must_use]
    pub fn proxying(mut self, firewall: Firewall, base: Ruleset) -> Agent {
        self.firewall = Some((firewall, base));
        self
    }

    /// Says of the node what these facts say, instead of what the machine's files do.
    #[must_use]
    pub fn on_machine(self, facts: podsync::node::NodeFacts) -> Agent {
        self.shared.facts.get_or_init(|| facts);
        self
    }

    /// What the kubelet API asks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Runs the node for as long as it is polled. Dropping it leaves containers running.
    ///
    /// # Errors
    /// [`AgentError::Ended`], which is a mistake in the program.
    pub async fn run(mut self) -> Result<(), AgentError> {
        let (events, mut heard) = mpsc::unbounded_channel();
        let mut beside = JoinSet::new();
        self.beside(&mut beside, &events);
        if let Some((firewall, base)) = self.firewall.take() {
            let own = Arc::clone(&self.shared);
            beside.spawn(async move {
                crate::firewall::run(own, firewall, base).await;
                "the firewall"
            });
        }
        let Agent { shared, recorder, mut changed, .. } = self;
        beside.spawn(async move {
            recorder.await;
            "events"
        });
        node::register(&shared).await;
        shared.observe().await;
        (&shared.pods as &dyn AnyCache).synced().await;
        (&shared.nodes as &dyn AnyCache).synced().await;
        (&shared.services as &dyn AnyCache).synced().await;
        let mut house =
            House { shared: Arc::clone(&shared), workers: BTreeMap::new(), tasks: JoinSet::new() };
        house.begin();
        loop {
            let event = tokio::select! {
                biased;
                Some(event) = heard.recv() => event,
                Some(uids) = changed.recv() => Event::Runtime(uids),
                Some(ended) = house.tasks.join_next() => Event::Ended(ended.unwrap_or_default()),
                Some(ended) = beside.join_next() => Event::Broken(ended.unwrap_or("a task that panicked")),
            };
            match event {
                Event::Pod(key) => house.pod_changed(&key),
                Event::Runtime(uids) => house.runtime_changed(&uids),
                Event::Ended(uid) => house.ended(&uid),
                Event::Broken(what) => return Err(AgentError::Ended(what)),
            }
        }
    }

    /// Watches, heartbeats, listings: each for itself.
    fn beside(&self, tasks: &mut JoinSet<&'static str>, events: &mpsc::UnboundedSender<Event>) {
        let shared = &self.shared;
        let sender = events.clone();
        shared.pods.subscribe(
            |old, new| old.or(new).map(|pod| Key::of(&pod.metadata)).into_iter().collect(),
            Arc::new(move |key| {
                if sender.send(Event::Pod(key)).is_err() {
                    tracing::debug!("a pod changed after the agent's end");
                }
            }),
        );
        let node = shared.config.node.clone();
        let own = Arc::clone(shared);
        tasks.spawn(async move {
            let api: Api<Pod> = Api::all(own.client.clone());
            let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
            own.pods.follow("pods", 1, watcher(api, config)).await;
            "pods"
        });
        let own = Arc::clone(shared);
        tasks.spawn(async move {
            let api: Api<Service> = Api::all(own.client.clone());
            own.services.follow("services", 2, watcher(api, watcher::Config::default())).await;
            "services"
        });
        let own = Arc::clone(shared);
        tasks.spawn(async move {
            let api: Api<Node> = Api::all(own.client.clone());
            let fields = format!("metadata.name={}", own.config.node);
            let config = watcher::Config::default().fields(&fields);
            own.nodes.follow("nodes", 3, watcher(api, config)).await;
            "nodes"
        });
        let own = Arc::clone(shared);
        tasks.spawn(async move {
            let mut wakes = own.runtime.wakes();
            loop {
                tokio::select! {
                    biased;
                    Some(_) = wakes.next() => {}
                    () = own.states.stale() => {}
                }
                own.observe().await;
            }
        });
        tasks.spawn(node::run(Arc::clone(shared)));
        tasks.spawn(images::run(Arc::clone(shared)));
        if let Some(client) = self.provisioner.clone() {
            let own = Arc::clone(shared);
            tasks.spawn(async move {
                volumes::reclaim::run(own, client).await;
                "volumes"
            });
        }
    }
}

struct Door {
    namespace: String,
    name: String,
    wake: Arc<Notify>,
}

struct House {
    shared: Arc<Shared>,
    workers: BTreeMap<String, Door>,
    /// Answer the uid of their pod when they end.
    tasks: JoinSet<String>,
}

impl House {
    /// A worker for every pod of the API, and one for every keeper that the API knows nothing of.
    fn begin(&mut self) {
        let pods = self.shared.pods.list();
        for pod in &pods {
            if pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
                && self.shared.admit(pod).is_some()
            {
                tracing::debug!(name = pod.metadata.name, "a pod that began is never refused");
            }
        }
        for pod in pods {
            self.open(pod, false);
        }
        let uids = self.shared.states.all().into_iter().map(|state| state.uid).collect();
        self.runtime_changed(&uids);
    }

    fn open(&mut self, pod: Arc<Pod>, gone: bool) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.workers.contains_key(&uid) {
            return;
        }
        let wake = Arc::new(Notify::new());
        let door = Door {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            wake: Arc::clone(&wake),
        };
        self.workers.insert(uid.clone(), door);
        let worker = Worker::new(Arc::clone(&self.shared), pod, gone, wake);
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn pod_changed(&mut self, key: &Key) {
        self.ring(&key.namespace, &key.name);
        if let Some(pod) = self.shared.pods.get(&key.namespace, &key.name) {
            self.open(pod, false);
        }
    }

    /// Wakes every worker of a pod of this name: a namesake waits for the other's end.
    fn ring(&self, namespace: &str, name: &str) {
        for door in self.workers.values() {
            if door.namespace == namespace && door.name == name {
                door.wake.notify_one();
            }
        }
    }

    fn runtime_changed(&mut self, uids: &BTreeSet<String>) {
        for uid in uids {
            let known =
                self.workers.get(uid).map(|door| (door.namespace.clone(), door.name.clone()));
            if let Some((namespace, name)) = known {
                self.ring(&namespace, &name);
            } else if let Some(state) = self.shared.states.get(uid) {
                match self.shared.pod(&state.namespace, &state.name, uid) {
                    Some(pod) => self.open(pod, false),
                    None => self.open(Arc::new(wire::recorded(&state)), true),
                }
                self.ring(&state.namespace, &state.name);
            }
        }
    }

    fn ended(&mut self, uid: &str) {
        if uid.is_empty() {
            // A worker that panicked says no name: open all that have none any more.
            tracing::error!("a pod's worker panicked");
            return self.reopen();
        }
        if let Some(door) = self.workers.remove(uid) {
            self.ring(&door.namespace, &door.name);
            if let Some(pod) = self.shared.pod(&door.namespace, &door.name, uid) {
                self.open(pod, false);
            }
        }
    }

    /// After a panic nobody knows whose: every worker is looked after by its door's only owner.
    fn reopen(&mut self) {
        let lost: Vec<String> = self
            .workers
            .iter()
            .filter(|(_, door)| Arc::strong_count(&door.wake) == 1)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in lost {
            self.ended(&uid);
        }
    }
}
