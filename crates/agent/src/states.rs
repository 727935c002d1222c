//! What the runtime last said of every pod, kept fresh by its wakes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use host::runtime::{ContainerPhase, ContainerState, PodState};
use tokio::sync::Notify;

/// The runtime's pods, by uid.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    inner: Arc<Mutex<Inner>>,
    /// Rings when something should be looked at again.
    stale: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<String, PodState>,
    /// Grows with each change that we made ourselves, so that an older listing does not undo it.
    versions: BTreeMap<String, u64>,
    listed: bool,
}

/// A running container, found by its pod's name: what exec, attach, logs and port-forward need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The pod's uid.
    pub uid: String,
    /// Every container of this name, oldest first; the last is the newest.
    pub containers: Vec<ContainerState>,
}

impl States {
    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, uid: &str) -> Option<PodState> {
        self.with(|inner| inner.pods.get(uid).cloned())
    }

    pub(crate) fn all(&self) -> Vec<PodState> {
        self.with(|inner| inner.pods.values().cloned().collect())
    }

    /// Uid of another living pod of the same name.
    pub(crate) fn namesake(&self, namespace: &str, name: &str, uid: &str) -> Option<String> {
        self.with(|inner| {
            inner
                .pods
                .values()
                .find(|pod| {
                    pod.alive && pod.namespace == namespace && pod.name == name && pod.uid != uid
                })
                .map(|pod| pod.uid.clone())
        })
    }

    /// The pod's containers of this name.
    pub(crate) fn find(&self, namespace: &str, name: &str, container: &str) -> Option<Found> {
        self.with(|inner| {
            let mut pods: Vec<&PodState> = inner
                .pods
                .values()
                .filter(|pod| pod.namespace == namespace && pod.name == name)
                .collect();
            pods.sort_by_key(|pod| (pod.alive, pod.created_at));
            let pod = pods.pop()?;
            let mut containers: Vec<ContainerState> =
                pod.containers.iter().filter(|c| c.name == container).cloned().collect();
            containers.sort_by_key(|c| c.attempt);
            Some(Found { uid: pod.uid.clone(), containers })
        })
    }

    /// We made or changed this pod ourselves.
    pub(crate) fn put(&self, pod: PodState) {
        self.with(|inner| {
            *inner.versions.entry(pod.uid.clone()).or_default() += 1;
            inner.pods.insert(pod.uid.clone(), pod);
        });
    }

    /// We started this container ourselves.
    pub(crate) fn put_container(&self, uid: &str, container: ContainerState) {
        self.with(|inner| {
            *inner.versions.entry(uid.to_owned()).or_default() += 1;
            if let Some(pod) = inner.pods.get_mut(uid) {
                // An exit that was seen meanwhile is newer than the start's answer.
                let exited = pod.containers.iter().any(|known| {
                    known.id == container.id && matches!(known.phase, ContainerPhase::Exited { .. })
                });
                if !exited {
                    pod.containers.retain(|known| known.id != container.id);
                    pod.containers.push(container);
                }
            }
        });
        // It may have ended since.
        self.stale.notify_one();
    }

    /// We removed this pod ourselves.
    pub(crate) fn forget(&self, uid: &str) {
        self.with(|inner| {
            *inner.versions.entry(uid.to_owned()).or_default() += 1;
            inner.pods.remove(uid);
        });
    }

    /// Asks for a new listing.
    pub(crate) fn look_again(&self) {
        self.stale.notify_one();
    }

    pub(crate) async fn stale(&self) {
        self.stale.notified().await;
    }

    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        self.with(|inner| inner.versions.clone())
    }

    /// Takes a listing in that began when `versions` held; answers which pods changed, and
    /// whether another listing is needed because we changed something meanwhile.
    pub(crate) fn listed(
        &self,
        pods: Vec<PodState>,
        versions: &BTreeMap<String, u64>,
    ) -> (BTreeSet<String>, bool) {
        self.with(|inner| {
            let mut changed = BTreeSet::new();
            let mut again = false;
            let mut fresh: BTreeMap<String, PodState> =
                pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
            let known: BTreeSet<String> = inner.pods.keys().chain(fresh.keys()).cloned().collect();
            for uid in known {
                if inner.versions.get(&uid) != versions.get(&uid) {
                    again = true;
                    continue;
                }
                let new = fresh.remove(&uid);
                if inner.pods.get(&uid) != new.as_ref() {
                    changed.insert(uid.clone());
                    match new {
                        Some(new) => inner.pods.insert(uid, new),
                        None => inner.pods.remove(&uid),
                    };
                }
            }
            inner.listed = true;
            (changed, again)
        })
    }
}
