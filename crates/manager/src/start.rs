//! Puts the caches, the controllers and the scheduler to work, and ends them together.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use client::{Identity, Key, Recorder, Wake, Writer, kube};
use controllers::{Plan, nodes::lifecycle::PodNetwork, statefulset};
use jiff::Timestamp;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    budgets::Budgets,
    caches::{AnyConcerns, Caches, Lists, Scope, Then, Wakes, subscribe_all},
    controller::{Control, Controller},
    controls,
    queue::{Figures, Queue},
    run::{Room, run},
};

/// The name under which [`Manager::start`] asks for the client of the shared caches.
pub const CACHES_CLIENT: &str = "kube-controller-manager";
/// The name under which it asks for the scheduler's client.
pub const SCHEDULER_CLIENT: &str = "default-scheduler";

/// Who calls under a name that [`Manager::start`] asks a client for.
///
/// Controllers are their upstream service accounts in `kube-system`.
#[must_use]
pub fn identity(name: &str) -> Identity {
    match name {
        CACHES_CLIENT => Identity::component("system:kube-controller-manager"),
        SCHEDULER_CLIENT => Identity::component("system:kube-scheduler"),
        controller => Identity::service_account(controller),
    }
}

/// Reads the wall clock.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where the cluster's DNS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dns {
    /// The address of the Service `kube-dns`, as pods have it in their resolv.conf.
    pub cluster_ip: IpAddr,
    /// Where the DNS server listens.
    pub server: IpAddr,
    /// And on which port.
    pub port: u16,
}

/// How a manager is set up.
#[derive(Clone)]
pub struct Options {
    /// Keys that one controller works on at once; upstream's default is 5.
    pub workers: usize,
    /// What jitter is drawn from.
    pub seed: u64,
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The cluster's CA certificate in PEM, which every namespace is given.
    pub ca_pem: Arc<str>,
    /// The StatefulSet controller's own.
    pub statefulset: statefulset::Options,
    /// Who decides about StatefulSets: [`statefulset::reconcile`], unless its faults are studied.
    pub plan_sets: fn(&statefulset::View) -> Plan,
    /// The cluster's pod network, of which each node gets a part.
    pub pods: PodNetwork,
    /// Where the cluster's DNS is; `None` leaves `kube-dns` to someone else.
    pub dns: Option<Dns>,
    /// Only these controllers, by name; `None` runs all, the scheduler included.
    pub only: Option<Vec<&'static str>>,
    /// How caches begin.
    pub lists: Lists,
    /// Only what is in this namespace; `None` is the whole cluster. Kinds outside of namespaces are
    /// watched whole.
    pub namespace: Option<String>,
    /// Whether ResourceQuotas may be read, so that a set which one has stopped goes on at once when there is
    /// room; otherwise it is tried again later and later.
    pub quotas: bool,
}

impl Options {
    /// All controllers but the one of `kube-dns`; five workers each, the system's clock, and
    /// 10.244.0.0/16 for pods, as upstream's installers have it.
    #[must_use]
    pub fn new(ca_pem: &str, seed: u64) -> Self {
        Self {
            workers: 5,
            seed,
            now: Arc::new(now),
            ca_pem: ca_pem.into(),
            statefulset: statefulset::Options::default(),
            plan_sets: statefulset::reconcile,
            pods: PodNetwork { base: Ipv4Addr::new(10, 244, 0, 0), prefix: 16, node_prefix: 24 },
            dns: None,
            only: None,
            lists: Lists::default(),
            namespace: None,
            quotas: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("workers", &self.workers)
            .field("seed", &self.seed)
            .field("only", &self.only)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Runs the controllers and the scheduler.
#[derive(Debug)]
pub struct Manager;

/// A running manager; dropped, it stops without waiting.
#[derive(Debug)]
pub struct Handle {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    watches: JoinSet<()>,
    queues: Vec<(&'static str, Arc<Queue>)>,
    caches: Arc<Caches>,
    budgets: Budgets,
}

impl Handle {
    /// Ends the turns that are under way, then the caches.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a controller broke off");
            }
        }
        self.watches.shutdown().await;
    }

    /// Returns when every cache has its first list.
    pub async fn synced(&self) {
        for (_, cache) in self.caches.all() {
            cache.synced().await;
        }
    }

    /// The kinds whose first list is not complete yet; nothing is written before all are.
    #[must_use]
    pub fn unsynced(&self) -> Vec<&'static str> {
        let caches = self.caches.all().filter(|(_, cache)| !cache.is_synced());
        caches.map(|(resource, _)| resource.names().plural).collect()
    }

    /// Each controller's queue, by its name.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, Figures)> {
        self.queues.iter().map(|(name, queue)| (*name, queue.figures())).collect()
    }

    /// The sets whose rollouts have a budget (spec section 15), as they are last decided about.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        self.budgets.clone()
    }

    /// Whether no controller works on anything now; keys that wait for their time do not count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queues.iter().all(|(_, queue)| queue.is_idle())
    }
}

/// What is registered before anything runs.
pub(crate) struct Table {
    pub(crate) caches: Caches,
    pub(crate) to_all: Vec<(AnyConcerns, Wake)>,
    then: Vec<Then>,
    entries: Vec<(Arc<dyn Control>, Arc<Queue>, usize)>,
    only: Option<Vec<&'static str>>,
    pub(crate) budgets: Budgets,
}

impl Table {
    /// Enters a controller with this many workers.
    pub(crate) fn add<C: Controller>(&mut self, controller: C, workers: usize) {
        let name = Controller::name(&controller);
        if self.only.as_ref().is_some_and(|only| !only.contains(&name)) {
            return;
        }
        let controller = Arc::new(controller);
        let queue = Arc::new(Queue::default());
        let wake: Wake = {
            let queue = Arc::clone(&queue);
            Arc::new(move |key: Key| queue.add(key))
        };
        let Self { caches, to_all, then, .. } = self;
        controller.wakes(&mut Wakes { caches, wake, to_all, then });
        self.entries.push((controller, queue, workers));
    }
}

impl Manager {
    /// Starts everything; `clients` gives the client that calls as [`identity`] says of a name.
    ///
    /// Needs a tokio runtime. Nothing is written before every cache has its first list.
    pub fn start(clients: impl Fn(&str) -> kube::Client, options: &Options) -> Handle {
        Self::start_with(clients, options, |table| controls::all(table, options))
    }

    pub(crate) fn start_with(
        clients: impl Fn(&str) -> kube::Client,
        options: &Options,
        enter: impl FnOnce(&mut Table),
    ) -> Handle {
        let mut table = Table {
            caches: Caches::default(),
            to_all: Vec::new(),
            then: Vec::new(),
            entries: Vec::new(),
            only: options.only.clone(),
            budgets: Budgets::default(),
        };
        enter(&mut table);
        let Table { mut caches, to_all, then, entries, budgets, .. } = table;
        subscribe_all(&mut caches, to_all, then);
        let caches = Arc::new(caches);
        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut watches) = (JoinSet::new(), JoinSet::new());
        let mut queues = Vec::new();
        for (control, queue, workers) in entries {
            let name = control.name();
            let writer = Writer::new(clients(name), name);
            let (component, now) = (control.component(), Arc::clone(&options.now));
            let (recorder, record) = Recorder::new(component, "", writer.clone(), now);
            tasks.spawn(record);
            queues.push((name, Arc::clone(&queue)));
            let room = Arc::new(Room {
                control,
                queue,
                caches: Arc::clone(&caches),
                writer,
                recorder,
                now: Arc::clone(&options.now),
                workers,
            });
            tasks.spawn(run(room, stopped.clone()));
        }
        let scope = Scope { lists: options.lists, namespace: options.namespace.clone() };
        for watch in caches.follow(&clients(CACHES_CLIENT), options.seed, &scope) {
            watches.spawn(watch);
        }
        Handle { stop, tasks, watches, queues, caches, budgets }
    }
}

#[expect(clippy::disallowed_methods, reason = "this loop is a shell: it reads the one clock")]
fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
