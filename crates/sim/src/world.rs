//! What all parts of one simulation share: the line to the API server, the disk, chance, the trace.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use apiserver::ApiServer;
use store::{Fault, MemoryJournal};
use tokio::sync::{Notify, futures::OwnedNotified, mpsc};

use crate::{chance::Chance, clock::WallClock, faults::Tally, trace::Trace};

/// What dies and is started again as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// The API server with its store.
    Server,
    /// All controllers and the scheduler.
    Manager,
    /// The agent of this node.
    Agent(String),
    /// The person, who never dies and meets no fault but a server that is away.
    Person,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Server => f.write_str("the server"),
            Unit::Manager => f.write_str("the manager"),
            Unit::Agent(node) => write!(f, "the agent of {node}"),
            Unit::Person => f.write_str("the person"),
        }
    }
}

/// One simulation's world.
pub(crate) struct World {
    /// The control plane's clock.
    pub(crate) clock: WallClock,
    /// What the wire, the kernels and the storm draw from.
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) journal: MemoryJournal,
    storms: AtomicBool,
    server: RwLock<Option<ApiServer>>,
    /// Rings when the server dies or a new one is there: watches end.
    epoch: Arc<Notify>,
    deaths: mpsc::UnboundedSender<Unit>,
    /// The latest revision that anyone was told of.
    told: AtomicU64,
}

impl World {
    /// A world of this seed without a server; who dies in it is told through `deaths`.
    pub(crate) fn new(
        seed: u64,
        journal: MemoryJournal,
        deaths: mpsc::UnboundedSender<Unit>,
    ) -> Self {
        let clock = WallClock::new();
        Self {
            trace: Trace::new(clock.clone()),
            clock,
            chance: Chance::new(seed, "world"),
            tally: Tally::default(),
            journal,
            storms: AtomicBool::new(false),
            server: RwLock::new(None),
            epoch: Arc::default(),
            deaths,
            told: AtomicU64::new(0),
        }
    }

    /// Whether faults happen.
    pub(crate) fn storms(&self) -> bool {
        self.storms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_storm(&self, storms: bool) {
        self.storms.store(storms, Ordering::Relaxed);
    }

    /// The API server, while it lives.
    pub(crate) fn server(&self) -> Option<ApiServer> {
        self.server.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts one in its place, or takes it away; watches of the old one end.
    pub(crate) fn set_server(&self, server: Option<ApiServer>) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = server;
        self.epoch.notify_waiters();
    }

    /// Ends with the server that is there now.
    pub(crate) fn end_of_server(&self) -> OwnedNotified {
        Arc::clone(&self.epoch).notified_owned()
    }

    /// This unit dies now; the supervisor sees to it.
    pub(crate) fn kill(&self, unit: Unit) {
        if self.deaths.send(unit).is_err() {
            tracing::debug!("a death after the end");
        }
    }

    /// The latest revision that anyone was told of.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, revision: u64) {
        self.told.fetch_max(revision, Ordering::Relaxed);
    }

    /// The disk is bad for as long as the answer lives.
    pub(crate) fn bad_disk(&self, fault: Fault) -> BadDisk {
        self.journal.set_fault(fault);
        BadDisk(self.journal.clone())
    }
}

/// While it lives, nothing can be written to the disk.
pub(crate) struct BadDisk(MemoryJournal);

impl Drop for BadDisk {
    fn drop(&mut self) {
        self.0.set_fault(Fault::None);
    }
}

/// Whether one node's line to the API server is whole; it outlives the agents that use it.
#[derive(Debug, Clone)]
pub(crate) struct Line(Arc<Wires>);

#[derive(Debug)]
struct Wires {
    whole: AtomicBool,
    changed: Notify,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Wires { whole: AtomicBool::new(true), changed: Notify::new() }))
    }

    pub(crate) fn set_whole(&self, whole: bool) {
        self.0.whole.store(whole, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.0.whole.load(Ordering::Relaxed)
    }

    /// Returns when it is whole again, or when it is cut.
    pub(crate) async fn becomes(&self, whole: bool) {
        // One thread: nothing rings between the look and the wait.
        while self.is_whole() != whole {
            self.0.changed.notified().await;
        }
    }
}

/// One life of a unit: what it still does after its death reaches nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(Arc<AtomicBool>);

impl Life {
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Never returns to the dead.
    pub(crate) async fn go_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}
