//! `stead down`: the server ends, then pods, networks and mounts; with `--purge` data, too.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use cli::{Instance, args::Down};
use host::{
    daemon::Process, net::Network, nft::Firewall, node::Node as Machine, runtime::Runtime as _,
};

use crate::{house::keeper_options, seat};

/// How long the server may take to end.
const SERVER_MAX: Duration = Duration::from_secs(30);
/// Seconds that a pod's programs get to end by themselves.
const GRACE_S: u64 = 10;

/// Stops a cluster and says so.
pub(crate) async fn run(flags: &Down) -> Result<()> {
    let instance = Instance::of(&flags.cluster);
    let pods = stop(&instance, flags.purge).await?;
    let folder = instance.folder.display();
    if flags.purge {
        println!("stopped {pods} pods; removed {folder}");
    } else {
        println!("stopped {pods} pods; the data stays in {folder}");
    }
    Ok(())
}

/// Stops a cluster, and removes its data where `purge` says so; tells how many pods it had. Safe
/// to repeat.
pub(crate) async fn stop(instance: &Instance, purge: bool) -> Result<usize> {
    if let Some(missing) = host::preflight().first() {
        bail!("{missing}");
    }
    if !instance.folder.exists() {
        bail!("there is no cluster `{}` in {}", instance.name, instance.folder.display());
    }
    end_server(instance).await?;
    let seat = seat::take(instance)?;
    let pods = take_down(instance).await?;
    drop(seat);
    if purge {
        remove(&instance.folder)
            .with_context(|| format!("could not remove {}", instance.folder.display()))?;
    }
    Ok(pods)
}

/// Ends the pods and removes all that a cluster has outside its folder; tells how many pods it had.
async fn take_down(instance: &Instance) -> Result<usize> {
    let mut failed = Vec::new();
    let pods = stop_pods(instance, &mut failed).await?;
    let tag = instance.tag();
    if let Err(error) = Network::down(&tag) {
        failed.push(format!("network: {error}"));
    }
    if let Err(error) = Firewall::open(&tag).and_then(|mut firewall| firewall.remove()) {
        failed.push(format!("firewall: {error}"));
    }
    if let Err(error) = host::volume::unmount_below(&instance.folder) {
        failed.push(format!("mounts below {}: {error}", instance.folder.display()));
    }
    let run = keeper_options(instance).run_dir;
    remove(&run).with_context(|| format!("could not remove {}", run.display()))?;
    if !failed.is_empty() {
        bail!("not everything could be removed: {}", failed.join("; "));
    }
    Ok(pods)
}

/// What was there of a cluster's folder before a start.
#[derive(Debug)]
pub(crate) struct Before {
    /// The folder and those above it that were not there, the lowest first.
    absent: Vec<PathBuf>,
    was_empty: bool,
}

impl Before {
    /// Looks.
    pub(crate) fn of(instance: &Instance) -> Self {
        let folder = &instance.folder;
        let absent = folder.ancestors().take_while(|folder| !folder.exists());
        let was_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        Self { absent: absent.map(Path::to_owned).collect(), was_empty }
    }

    fn is_new(&self) -> bool {
        self.was_empty || !self.absent.is_empty()
    }

    /// Brings a folder that is new back to what it was; others stay as they are.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub(crate) fn restore(&self, instance: &Instance) -> Result<()> {
        let folder = &instance.folder;
        let removed = if self.was_empty {
            fs::read_dir(folder).and_then(|mut entries| {
                entries.try_for_each(|entry| {
                    let path = entry?.path();
                    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                })
            })
        } else if self.absent.is_empty() {
            Ok(())
        } else {
            // Those above it may have been taken by others in the meantime: they stay then.
            remove(folder).map(|()| {
                self.absent
                    .iter()
                    .skip(1)
                    .take_while(|above| fs::remove_dir(above).is_ok())
                    .count();
            })
        };
        removed.with_context(|| format!("could not remove {}", folder.display()))
    }
}

/// Removes what a start made that failed. Of a cluster that has pods, everything stays.
///
/// # Errors
///
/// What could not be removed.
pub(crate) async fn undo(instance: &Instance, before: &Before) -> Result<()> {
    if before.is_new() || keepers(instance) == 0 {
        take_down(instance).await?;
    }
    before.restore(instance)
}

/// Pods whose keepers have left a socket.
pub(crate) fn keepers(instance: &Instance) -> usize {
    let entries = fs::read_dir(keeper_options(instance).run_dir);
    entries.map_or(0, |entries| {
        let sockets = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "sock"));
        sockets.count()
    })
}

async fn end_server(instance: &Instance) -> Result<()> {
    let Some(pid) = seat::holder(instance) else { return Ok(()) };
    let failed = || format!("process {pid} could not be ended");
    let Some(process) = Process::open(pid).with_context(failed)? else { return Ok(()) };
    host::daemon::ask_to_end(pid).with_context(failed)?;
    // Its seat goes with it.
    let ended = tokio::task::spawn_blocking(move || process.ended(SERVER_MAX)).await?;
    if !ended.with_context(failed)? {
        bail!("process {pid} does not end: end it with `kill -9 {pid}` and try again");
    }
    Ok(())
}

/// Ends every pod: its programs are asked, then killed; keepers and control groups go with them.
async fn stop_pods(instance: &Instance, failed: &mut Vec<String>) -> Result<usize> {
    let machine = Machine::open(keeper_options(instance)).await?;
    let pods = machine.pods().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for pod in pods.iter().cloned() {
        let machine = machine.clone();
        tasks.spawn(async move {
            for container in pod.containers.iter().filter(|_| pod.alive) {
                let ended = machine.stop_container(&pod.uid, &container.id, None, GRACE_S).await;
                if let Err(error) = ended {
                    tracing::debug!(%error, "a container was not asked to end");
                }
            }
            let stopped = machine.stop_pod(&pod.uid).await;
            let removed = machine.remove_pod(&pod.uid).await;
            stopped.and(removed).with_context(|| format!("pod {}", pod.name))
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended? {
            failed.push(format!("{error:#}"));
        }
    }
    machine.keepers().remove_groups();
    Ok(pods.len())
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
