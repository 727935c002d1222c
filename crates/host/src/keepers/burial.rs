//! What becomes of a pod whose keeper is dead: what it left is killed, its record says so.

use std::{fs, io, time::Duration};

use super::{Keepers, system};
use crate::{
    keeper::record::container_folder,
    runtime::{ContainerPhase, RuntimeError},
};

/// Exit code of a container that was killed with its keeper: SIGKILL's.
const KILLED_CODE: i32 = 137;
/// Exit code of a container whose end nobody saw: containerd's after a reboot.
const UNKNOWN_CODE: i32 = 255;
/// Between two looks at processes that die slowly.
const LOOK_MS: u64 = 10;
/// Looks before giving up for now: 10 s.
const LOOKS_MAX: u32 = 1000;

impl Keepers {
    /// Kills what the dead keeper of `uid` left, and closes its record. Safe to repeat.
    pub(super) async fn bury(&self, uid: &str) {
        let inner = &self.inner;
        let _one_at_a_time = inner.burials.lock().await;
        let Some((groups, same_boot)) = inner.lock_pods().get(uid).map(|pod| {
            let record = &pod.record;
            ([record.cgroup.clone(), record.keeper_cgroup.clone()], record.boot_id == inner.boot_id)
        }) else {
            return;
        };
        if same_boot {
            let mut looks = 0;
            while !inner.hierarchies.kill(&groups[0]) {
                looks += 1;
                if looks == LOOKS_MAX {
                    tracing::warn!(uid, "processes of a dead keeper do not die");
                    break;
                }
                tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            }
        }
        for group in &groups {
            if let Err(error) = inner.hierarchies.remove(group) {
                tracing::debug!(group, %error, "control group stays");
            }
        }
        inner.refresh(uid);
        let mut pods = inner.lock_pods();
        let Some(pod) = pods.get_mut(uid) else { return };
        (pod.alive, pod.net) = (false, None);
        let mut changed = false;
        for container in &mut pod.state.containers {
            let started_at = match container.phase {
                ContainerPhase::Running { started_at, .. } => Some(started_at),
                ContainerPhase::Created => None,
                ContainerPhase::Exited { .. } => continue,
            };
            changed = true;
            container.phase = ContainerPhase::Exited {
                started_at,
                finished_at: crate::keeper::now(),
                exit_code: if same_boot { KILLED_CODE } else { UNKNOWN_CODE },
                signal: same_boot.then_some(libc::SIGKILL),
                oom_killed: false,
            };
        }
        if changed && let Err(error) = pod.state.save(&inner.folder(uid)) {
            tracing::warn!(uid, %error, "state is not saved");
        }
    }

    /// Forgets a dead pod and removes its files; one whose files stay is remembered.
    pub(super) async fn remove_dead(&self, uid: &str) -> Result<(), RuntimeError> {
        let _one_at_a_time = self.inner.burials.lock().await;
        let Some(pod) = self.inner.lock_pods().remove(uid) else { return Ok(()) };
        let inner = self.inner.clone();
        let owned_uid = uid.to_owned();
        let removal = tokio::task::spawn_blocking(move || {
            gone(fs::remove_file(inner.socket(&owned_uid)))?;
            gone(fs::remove_dir_all(inner.folder(&owned_uid)))
        });
        let removed = removal.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        removed.map_err(|error| {
            self.inner.lock_pods().insert(uid.to_owned(), pod);
            system("remove pod's files")(error)
        })
    }

    /// Removes the instance's control groups, for when it is taken down. Groups of pods that live
    /// stay, and their keepers with them.
    pub fn remove_groups(&self) {
        if self.inner.lock_pods().values().any(|pod| pod.alive) {
            return;
        }
        let top = &self.inner.options.cgroup;
        if let Err(error) = self.inner.hierarchies.remove(top) {
            tracing::warn!(group = top, %error, "control group stays");
        }
    }

    /// Removes an exited container's files.
    pub(super) async fn remove_container_files(
        &self,
        uid: &str,
        id: &str,
    ) -> Result<(), RuntimeError> {
        let folder = container_folder(&self.inner.folder(uid), id);
        let removal = tokio::task::spawn_blocking(move || gone(fs::remove_dir_all(folder)));
        let removed = removal.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        removed.map_err(system("remove container's files"))
    }
}

/// What was not there is as good as removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
