//! Pods: starting, stopping and removing their keepers.

use std::{
    fs, io,
    net::IpAddr,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{net::UnixListener, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};

use super::{Keepers, Pod, program, system, try_lock};
use crate::{
    keeper::{
        record::{PodRecord, StateRecord},
        wire::Request,
    },
    runtime::{PodConfig, PodState, RuntimeError},
};

/// How long a keeper that was asked to end may keep its connection.
const END_MAX: Duration = Duration::from_secs(1);

impl Keepers {
    /// Starts the pod's keeper with `addresses`, which are kept with it, and gives its network
    /// namespace (`None` with the node's) to be wired up. Idempotent by uid.
    ///
    /// Refuses while a keeper of that namespace and name lives, under whatever uid.
    pub async fn run_pod(
        &self,
        config: PodConfig,
        addresses: Vec<IpAddr>,
    ) -> Result<(PodState, Option<Arc<OwnedFd>>), RuntimeError> {
        let uid = config.uid.clone();
        if uid.is_empty() || !uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(RuntimeError::Sandbox(format!("{uid:?} is no uid")));
        }
        if let Some(state) = self.pod(&uid).filter(|state| state.alive) {
            return Ok((state, self.network(&uid)));
        }
        self.refuse_second(&config)?;
        let folder = self.inner.folder(&uid);
        fs::create_dir_all(&folder).map_err(system("make pod's folder"))?;
        let lock = self.own_lock(&uid, &folder).await?;
        let record = self.record(config, addresses);
        record.save(&folder).map_err(system("write pod's record"))?;
        let state = StateRecord::load(&folder).map_err(system("read pod's state"))?;
        self.inner.lock_pods().insert(uid.clone(), Pod { record, state, alive: true, net: None });
        let made = async {
            self.spawn(&uid, &folder, lock).await?;
            self.hello(&uid).await
        };
        if let Err(error) = made.await {
            self.bury(&uid).await;
            return Err(error);
        }
        self.listen(uid.clone());
        let state = self.pod(&uid).ok_or_else(|| RuntimeError::NoPod(uid.clone()))?;
        Ok((state, self.network(&uid)))
    }

    /// The pod's lock, for its keeper. A look at it by someone else holds it for microseconds.
    async fn own_lock(&self, uid: &str, folder: &Path) -> Result<Flock<fs::File>, RuntimeError> {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            let lock = try_lock(folder, FlockArg::LockExclusiveNonblock)
                .map_err(system("lock pod's folder"))?;
            if let Some(lock) = lock {
                return Ok(lock);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(RuntimeError::Sandbox(format!("another keeper of pod {uid} lives")))
    }

    fn record(&self, config: PodConfig, addresses: Vec<IpAddr>) -> PodRecord {
        let top = &self.inner.options.cgroup;
        let (uid, qos) = (&config.uid, config.qos.to_lowercase());
        let cgroup = if qos.is_empty() || qos == "guaranteed" {
            format!("{top}/pod{uid}")
        } else {
            format!("{top}/{qos}/pod{uid}")
        };
        PodRecord {
            keeper_cgroup: format!("{top}/keepers/{uid}"),
            cgroup,
            addresses,
            created_at: crate::keeper::now(),
            boot_id: self.inner.boot_id.clone(),
            config,
        }
    }

    /// At most one pod of a name runs here, whatever its uid.
    fn refuse_second(&self, config: &PodConfig) -> Result<(), RuntimeError> {
        let pods = self.inner.lock_pods();
        for (uid, pod) in pods.iter().filter(|(uid, _)| **uid != config.uid) {
            let other = &pod.record.config;
            let left = || !self.inner.hierarchies.processes(&pod.record.cgroup).is_empty();
            if other.namespace == config.namespace
                && other.name == config.name
                && (pod.alive || left())
            {
                return Err(RuntimeError::Sandbox(format!(
                    "a keeper of pod {}/{} (uid {uid}) still lives on this node",
                    config.namespace, config.name
                )));
            }
        }
        Ok(())
    }

    /// Starts the program; it has the listening socket and the lock before it runs.
    async fn spawn(
        &self,
        uid: &str,
        folder: &Path,
        lock: Flock<fs::File>,
    ) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let sealed = inner.program.get_or_try_init(|| self.open_program()).await?;
        let failed = |what: &'static str| system(what);
        let socket = inner.socket(uid);
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove old socket")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket).map_err(failed("bind keeper's socket"))?;
        let errors =
            fs::OpenOptions::new().create(true).append(true).open(folder.join("keeper.log"));
        let errors = errors.map_err(failed("open keeper's log"))?;
        // The lock belongs to the open file, which the keeper inherits: our handle only closes.
        let lock_file = lock.try_clone().map_err(failed("share lock"))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "crate host is the room that starts processes"
        )]
        let mut command = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()));
        command.arg0("stead").arg("keeper").arg(folder).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(listener)).stdout(lock_file).stderr(Stdio::from(errors));
        let mut child = command.spawn().map_err(failed("start keeper"))?;
        drop(command);
        // Dropping a lock would unlock the shared open file: forget it, and close it by its own end.
        forget_lock(lock);
        let ended = tokio::task::spawn_blocking(move || child.wait()).await;
        let status = ended
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(failed("wait for keeper"))?;
        if status.success() {
            Ok(())
        } else {
            let told = fs::read_to_string(folder.join("keeper.log")).unwrap_or_default();
            Err(RuntimeError::Sandbox(format!(
                "keeper ended: {status}: {}",
                told.lines().last().unwrap_or_default()
            )))
        }
    }

    async fn open_program(&self) -> Result<OwnedFd, RuntimeError> {
        let source = self.inner.options.program.clone().unwrap_or_else(|| "/proc/self/exe".into());
        let data_dir = self.inner.options.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || program::open(&source, &data_dir)).await;
        opened
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(system("copy the keepers' program"))
    }

    /// Copies the program for keepers now rather than with the first pod.
    pub async fn prepare(&self) -> Result<(), RuntimeError> {
        self.inner.program.get_or_try_init(|| self.open_program()).await.map(drop)
    }

    /// Kills what runs in the pod and ends its keeper, and with it its namespaces. The record stays.
    pub async fn stop_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        let state = self.pod(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        if state.alive {
            match self.converse(uid, &Request::StopPod).await {
                Ok((.., mut call)) => {
                    // It says nothing more: the connection ends when it does.
                    drop(tokio::time::timeout(END_MAX, call.receive()).await);
                }
                // It may have ended before; whether it lives is for its lock to say.
                Err(error) => tracing::debug!(uid, %error, "keeper did not confirm its end"),
            }
            self.wait_for_end(uid).await?;
        }
        self.bury(uid).await;
        Ok(())
    }

    /// The kernel closes a dead keeper's files one after another: its lock may go a moment after
    /// its connection, and nothing tells when.
    async fn wait_for_end(&self, uid: &str) -> Result<(), RuntimeError> {
        const LOOKS_MAX: u32 = 500;
        for _ in 0..LOOKS_MAX {
            if !self.inner.is_alive(uid).map_err(system("lock pod's folder"))? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(RuntimeError::Keeper { uid: uid.to_owned(), what: "does not end".to_owned() })
    }

    /// Removes the pod's containers, root file systems and records (not its logs), stopping it first.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        self.stop_pod(uid).await?;
        self.remove_dead(uid).await
    }
}

/// Closes our handle of a lock that another process now holds, without unlocking it.
fn forget_lock(lock: Flock<fs::File>) {
    let fd = lock.as_raw_fd();
    std::mem::forget(lock);
    // SAFETY: the descriptor was the lock's alone, which no longer closes it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}
