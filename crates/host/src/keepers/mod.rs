//! The agent's side of the keepers: starts them, finds them again, asks them, buries the dead.
//!
//! Pods' folders (`DATA/keepers/UID`) say what should be; a lock says who lives; sockets are in a
//! folder of their own, which a reboot empties. A call is a connection; one more a pod waits for
//! wake-ups and notices the keeper's death.

mod burial;
mod calls;
mod containers;
mod program;
mod run;

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream::BoxStream};
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::broadcast;

use crate::{
    container::cgroup::Hierarchies,
    keeper::{
        LOCK_FILE,
        record::{self, PodRecord, StateRecord},
    },
    runtime::{PodState, RuntimeError, Usage},
};

pub use containers::RootImage;

/// Wake-ups that a slow listener may lag behind; beyond, it is told to look at everything.
const WAKES_MAX: usize = 1024;

/// Where keepers live and what they are made of.
#[derive(Debug, Clone)]
pub struct KeeperOptions {
    /// Holds `keepers/` and `bin/`; survives a reboot.
    pub data_dir: PathBuf,
    /// Holds the sockets; need not survive a reboot.
    pub run_dir: PathBuf,
    /// Name of the top control group, one for each instance: `stead-1a2b3c4d`.
    pub cgroup: String,
    /// What to run as `PROGRAM keeper FOLDER`; `None` is this very program.
    pub program: Option<PathBuf>,
}

/// Every keeper of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keepers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: KeeperOptions,
    /// `options.run_dir`, open: socket paths through it are always short enough.
    run: fs::File,
    hierarchies: Hierarchies,
    boot_id: String,
    pods: Mutex<BTreeMap<String, Pod>>,
    wakes: broadcast::Sender<String>,
    program: tokio::sync::OnceCell<OwnedFd>,
    /// One burial or removal at a time: a keeper's end is noticed in several places.
    burials: tokio::sync::Mutex<()>,
}

/// A pod as its files and its keeper's socket show it.
#[derive(Debug)]
struct Pod {
    record: PodRecord,
    state: StateRecord,
    alive: bool,
    net: Option<Arc<OwnedFd>>,
}

impl Pod {
    fn state(&self) -> PodState {
        let config = &self.record.config;
        PodState {
            uid: config.uid.clone(),
            namespace: config.namespace.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            alive: self.alive,
            addresses: self.record.addresses.clone(),
            created_at: self.record.created_at,
            annotations: config.annotations.clone(),
            containers: self.state.containers.clone(),
        }
    }
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::System { what: what.into(), source }
}

impl Keepers {
    /// Opens the folders and finds what earlier agents left: living keepers are listened to, what
    /// dead ones left running is killed, records of an earlier boot are marked as ended.
    ///
    /// Call it inside a tokio runtime. The error names the folder or kernel facility.
    pub async fn open(options: KeeperOptions) -> Result<Self, RuntimeError> {
        let pods = options.data_dir.join("keepers");
        for folder in [&pods, &options.run_dir] {
            fs::create_dir_all(folder).map_err(system(format!("make {}", folder.display())))?;
        }
        let run = fs::File::open(&options.run_dir).map_err(system("open run folder"))?;
        let hierarchies = Hierarchies::discover().map_err(system("read control groups"))?;
        let boot_id = record::boot_id().map_err(system("read boot id"))?;
        let (wakes, _) = broadcast::channel(WAKES_MAX);
        let program = tokio::sync::OnceCell::new();
        let inner = Inner {
            options,
            run,
            hierarchies,
            boot_id,
            pods: Mutex::default(),
            wakes,
            program,
            burials: tokio::sync::Mutex::default(),
        };
        let keepers = Self { inner: Arc::new(inner) };
        for entry in fs::read_dir(&pods).map_err(system("list pods"))?.flatten() {
            keepers.find(&entry.path()).await;
        }
        Ok(keepers)
    }

    async fn find(&self, folder: &Path) {
        let record = match PodRecord::load(folder) {
            Ok(record) => record,
            Err(error) => {
                // Half made or half removed: nothing can run from it but what its lock shows.
                tracing::warn!(folder = %folder.display(), %error, "folder without a pod");
                if !matches!(try_lock(folder, FlockArg::LockSharedNonblock), Ok(None))
                    && let Err(error) = fs::remove_dir_all(folder)
                {
                    tracing::warn!(folder = %folder.display(), %error, "folder stays");
                }
                return;
            }
        };
        let uid = record.config.uid.clone();
        let state = StateRecord::load(folder).unwrap_or_else(|error| {
            tracing::warn!(uid, %error, "state cannot be read");
            StateRecord::default()
        });
        let alive = matches!(try_lock(folder, FlockArg::LockSharedNonblock), Ok(None));
        self.inner.lock_pods().insert(uid.clone(), Pod { record, state, alive, net: None });
        if alive {
            if let Err(error) = self.hello(&uid).await {
                tracing::warn!(uid, %error, "keeper does not answer");
            }
            self.listen(uid);
        } else {
            self.bury(&uid).await;
        }
    }

    /// Every pod that a keeper holds or left a record of.
    #[must_use]
    pub fn pods(&self) -> Vec<PodState> {
        self.inner.lock_pods().values().map(Pod::state).collect()
    }

    /// One pod, if it is known.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<PodState> {
        self.inner.lock_pods().get(uid).map(Pod::state)
    }

    /// The pod's network namespace, to be wired up; `None` with the node's network, or when its
    /// keeper is dead.
    #[must_use]
    pub fn network(&self, uid: &str) -> Option<Arc<OwnedFd>> {
        self.inner.lock_pods().get(uid)?.net.clone()
    }

    /// "Look again at this pod", by uid.
    #[must_use]
    pub fn wakes(&self) -> BoxStream<'static, String> {
        let state = (self.inner.wakes.subscribe(), VecDeque::new(), Arc::downgrade(&self.inner));
        futures::stream::unfold(state, |(mut receiver, mut queue, inner)| async move {
            loop {
                if let Some(uid) = queue.pop_front() {
                    return Some((uid, (receiver, queue, inner)));
                }
                match receiver.recv().await {
                    Ok(uid) => queue.push_back(uid),
                    Err(broadcast::error::RecvError::Closed) => return None,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        queue.extend(inner.upgrade()?.lock_pods().keys().cloned());
                    }
                }
            }
        })
        .boxed()
    }

    /// What the pod's control groups say it uses now: the whole pod first, under an empty id.
    pub fn usage(&self, uid: &str) -> Result<Vec<Usage>, RuntimeError> {
        let pods = self.inner.lock_pods();
        let pod = pods.get(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        let mut found = vec![self.inner.hierarchies.usage(&pod.record.cgroup)];
        for container in &pod.state.containers {
            if matches!(container.phase, crate::runtime::ContainerPhase::Running { .. }) {
                let usage = self
                    .inner
                    .hierarchies
                    .usage(&format!("{}/{}", pod.record.cgroup, container.id));
                found.push(Usage { container_id: container.id.clone(), ..usage });
            }
        }
        Ok(found)
    }

    fn wake(&self, uid: &str) {
        if self.inner.wakes.send(uid.to_owned()).is_err() {
            tracing::trace!(uid, "nobody listens");
        }
    }
}

impl Inner {
    fn lock_pods(&self) -> MutexGuard<'_, BTreeMap<String, Pod>> {
        // A panic elsewhere leaves the map whole: every change of it is one assignment.
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, uid: &str) -> PathBuf {
        self.options.data_dir.join("keepers").join(uid)
    }

    fn socket(&self, uid: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{uid}.sock", self.run.as_raw_fd()))
    }

    /// Whether a keeper lives there. Looks do not disturb each other.
    fn is_alive(&self, uid: &str) -> io::Result<bool> {
        match try_lock(&self.folder(uid), FlockArg::LockSharedNonblock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            looked => Ok(looked?.is_none()),
        }
    }

    /// Reads the keeper's words again.
    fn refresh(&self, uid: &str) {
        let state = StateRecord::load(&self.folder(uid));
        let mut pods = self.lock_pods();
        match (state, pods.get_mut(uid)) {
            (Ok(state), Some(pod)) => pod.state = state,
            (Err(error), Some(_)) => tracing::warn!(uid, %error, "state cannot be read"),
            (_, None) => {}
        }
    }
}

/// The lock of a pod's folder, or `None` while someone holds it. A look (shared) makes no file: an
/// absent one has no holder, and says so as an error of kind `NotFound`.
fn try_lock(folder: &Path, how: FlockArg) -> io::Result<Option<Flock<fs::File>>> {
    let create = matches!(how, FlockArg::LockExclusiveNonblock);
    let file = fs::OpenOptions::new().create(create).append(true).open(folder.join(LOCK_FILE))?;
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}
