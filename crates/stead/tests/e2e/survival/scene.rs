//! What a set and its pods go through, as their watchers hear it.

use std::{collections::BTreeMap, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{REPLICAS, WAIT_MAX};

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing but writes.
    Commit,
    /// A pod is missing, or has no node yet.
    PodCreate,
    /// A pod has a node, and no container that runs.
    ContainerStart,
    /// A pod ends.
    Stop,
    /// All containers run; statuses are still to be written.
    Status,
}

impl Phase {
    pub(super) const ALL: [Self; 5] =
        [Self::Commit, Self::PodCreate, Self::ContainerStart, Self::Stop, Self::Status];
}

/// The set and its pods now.
#[derive(Debug, Clone, Default)]
struct Seen {
    pods: BTreeMap<String, Pod>,
    set: StatefulSet,
}

impl Seen {
    fn phase(&self) -> Phase {
        let pods = || self.pods.values();
        let replicas = usize::try_from(REPLICAS).unwrap_or(0);
        let has_node = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if pods().any(|pod| pod.metadata.deletion_timestamp.is_some()) {
            Phase::Stop
        } else if pods().count() < replicas || !pods().all(has_node) {
            Phase::PodCreate
        } else if !pods().all(runs) {
            Phase::ContainerStart
        } else if !self.is_complete() {
            Phase::Status
        } else {
            Phase::Commit
        }
    }

    fn is_complete(&self) -> bool {
        let Some(status) = &self.set.status else { return false };
        status.observed_generation >= self.set.metadata.generation
            && status.ready_replicas == Some(REPLICAS)
            && status.updated_replicas == Some(REPLICAS)
            && status.current_revision == status.update_revision
    }
}

fn runs(pod: &Pod) -> bool {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let running = |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some();
    containers.into_iter().flatten().any(|c| c.state.as_ref().is_some_and(running))
}

/// Watches over one life of the server.
pub(super) struct Scene {
    seen: watch::Receiver<Seen>,
    following: JoinHandle<()>,
}

impl Scene {
    pub(super) async fn follow(client: &Client) -> Self {
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let sets: Api<StatefulSet> = Api::default_namespaced(client.clone());
        let listed = pods.list(&ListParams::default()).await.unwrap();
        let version = listed.metadata.resource_version.unwrap();
        let mut now = Seen { set: sets.get("pet").await.unwrap(), ..Seen::default() };
        now.pods = listed.items.into_iter().map(|pod| (pod.name_any(), pod)).collect();
        let params = WatchParams::default();
        let pods = pods.watch(&params, &version).await.unwrap().boxed();
        let sets = sets.watch(&params, &version).await.unwrap().boxed();
        let (tell, seen) = watch::channel(now);
        Self { seen, following: tokio::spawn(follow(pods, sets, tell)) }
    }

    /// Waits for one of these phases; an update that does not get there is a fault.
    pub(super) async fn until(&mut self, phases: &[Phase]) -> Phase {
        self.wait(&format!("{phases:?}"), |seen| phases.contains(&seen.phase())).await;
        self.seen.borrow().phase()
    }

    /// Waits until this change of the set has been heard of.
    pub(super) async fn until_generation(&mut self, generation: Option<i64>) {
        self.wait("change of the set", |seen| seen.set.metadata.generation >= generation).await;
    }

    async fn wait(&mut self, what: &str, done: impl Fn(&Seen) -> bool) {
        let wait = self.seen.wait_for(done);
        if let Ok(found) = tokio::time::timeout(WAIT_MAX, wait).await {
            assert!(found.is_ok(), "the watches ended before {what}");
            return;
        }
        let seen = self.seen.borrow();
        let pods: Vec<_> = seen.pods.iter().map(|(name, pod)| (name, &pod.status)).collect();
        panic!("no {what}: {:#?} {pods:#?}", seen.set.status);
    }

    /// The last phase, once the killed server's connections have ended.
    pub(super) async fn end(mut self) -> Phase {
        tokio::time::timeout(Duration::from_secs(10), &mut self.following)
            .await
            .expect("a killed server's watches end")
            .unwrap();
        self.seen.borrow().phase()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.following.abort();
    }
}

type Heard<K> = kube::Result<WatchEvent<K>>;

/// Folds both watches until the server is gone.
async fn follow(
    mut pods: impl Stream<Item = Heard<Pod>> + Unpin,
    mut sets: impl Stream<Item = Heard<StatefulSet>> + Unpin,
    tell: watch::Sender<Seen>,
) {
    let (mut pods_end, mut sets_end) = (false, false);
    while !(pods_end && sets_end) {
        tokio::select! {
            event = pods.next(), if !pods_end => match event {
                Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                    tell.send_modify(|seen| drop(seen.pods.insert(pod.name_any(), pod)));
                }
                Some(Ok(WatchEvent::Deleted(pod))) => {
                    tell.send_modify(|seen| drop(seen.pods.remove(&pod.name_any())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => pods_end = true,
            },
            event = sets.next(), if !sets_end => match event {
                Some(Ok(WatchEvent::Added(set) | WatchEvent::Modified(set))) => {
                    tell.send_modify(|seen| seen.set = set);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => sets_end = true,
            },
        }
    }
}
