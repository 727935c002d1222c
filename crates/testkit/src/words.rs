//! The books: which pods, containers and images there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use host::runtime::{
    ContainerConfig, ContainerPhase, ContainerState, Exec, ExecConfig, Image, ImageError,
    PodConfig, PodState, PullRequest, Runtime, RuntimeError, Streams, Usage,
};
use tokio::{
    sync::{broadcast, oneshot},
    time::sleep,
};

use crate::nature::{Event, Nature};

/// Wakes that may wait for the agent; one that lags looks at every pod anyway.
const WAKES_MAX: usize = 4096;

/// A node's containers, which exist only in words; clones are the same node.
///
/// What has been begun goes on without the agent that began it.
#[derive(Clone)]
pub struct Words<N> {
    nature: N,
    /// The third part of its pods' addresses, and the beginning of its containers' ids.
    number: u8,
    books: Arc<Mutex<Books>>,
    wakes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Books {
    pods: BTreeMap<String, PodState>,
    images: BTreeSet<String>,
    /// How many things have been made: numbers addresses and ids.
    made: u32,
    /// Grows with each loss of power: what was under way is lost.
    boots: u32,
}

impl<N: fmt::Debug> fmt::Debug for Words<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nature, number) = (&self.nature, self.number);
        f.debug_struct("Words")
            .field("nature", nature)
            .field("number", &number)
            .finish_non_exhaustive()
    }
}

impl<N: Nature> Words<N> {
    /// An empty node; its pods get addresses of `10.244.NUMBER.0/24`.
    pub fn new(nature: N, number: u8) -> Self {
        let wakes = broadcast::channel(WAKES_MAX).0;
        Self { nature, number, books: Arc::default(), wakes }
    }

    /// What it was made with.
    pub const fn nature(&self) -> &N {
        &self.nature
    }

    /// Puts an image there, as an import would.
    pub fn add_image(&self, reference: &str) {
        self.with(|books| books.images.insert(reference.to_owned()));
    }

    /// Every pod that is known, with the containers of it that run.
    pub fn running(&self) -> Vec<(PodState, Vec<ContainerState>)> {
        self.with(|books| {
            let running =
                |pod: &PodState| pod.containers.iter().filter(|one| runs(one)).cloned().collect();
            books.pods.values().map(|pod| (pod.clone(), running(pod))).collect()
        })
    }

    /// The power goes and comes back: records stay, nothing runs.
    pub fn lose_power(&self) {
        for (pod, containers) in self.running() {
            containers.iter().for_each(|one| self.end(&pod.uid, &one.id, 255));
        }
        self.with(|books| {
            books.boots += 1;
            books.pods.values_mut().for_each(|pod| pod.alive = false);
        });
    }

    /// A container exits, if it runs.
    pub fn end(&self, uid: &str, id: &str, code: i32) {
        let now = self.nature.now();
        let ended = self.with(|books| {
            let pod = books.pods.get_mut(uid)?;
            let one = pod.containers.iter_mut().find(|one| one.id == id)?;
            let ContainerPhase::Running { started_at, .. } = one.phase else { return None };
            one.phase = ContainerPhase::Exited {
                started_at: Some(started_at),
                finished_at: now,
                exit_code: code,
                signal: None,
                oom_killed: false,
            };
            Some(pod.clone())
        });
        if let Some(pod) = ended {
            self.nature.hear(&pod, Event::Ended(id, code));
            // Without an agent nobody listens; a new one lists.
            drop(self.wakes.send(uid.to_owned()));
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Books) -> R) -> R {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn start(
        self,
        uid: String,
        config: ContainerConfig,
    ) -> Result<ContainerState, RuntimeError> {
        let boots = self.with(|books| books.boots);
        self.nature.start(&config).await?;
        let now = self.nature.now();
        let (pod, state) = self.with(|books| {
            let same = books.boots == boots;
            books.made += 1;
            let made = books.made;
            let pod = books.pods.get_mut(&uid).filter(|pod| pod.alive && same);
            let pod = pod.ok_or_else(|| RuntimeError::NoPod(uid.clone()))?;
            let known =
                |one: &&ContainerState| one.name == config.name && one.attempt == config.attempt;
            if let Some(known) = pod.containers.iter().find(known) {
                return Ok((None, known.clone()));
            }
            let state = ContainerState {
                id: format!("{:056x}{made:08x}", self.number),
                name: config.name.clone(),
                attempt: config.attempt,
                image: config.image.clone(),
                image_id: config.image_id.clone(),
                annotations: config.annotations.clone(),
                created_at: now,
                phase: ContainerPhase::Running { pid: made, started_at: now },
            };
            pod.containers.push(state.clone());
            Ok((Some(pod.clone()), state))
        })?;
        let Some(pod) = pod else { return Ok(state) };
        self.nature.hear(&pod, Event::Started(&state, &config));
        if let Some(lifetime) = self.nature.lifetime(&config.image) {
            let id = state.id.clone();
            tokio::spawn(async move {
                sleep(lifetime).await;
                self.end(&uid, &id, 1);
            });
        }
        Ok(state)
    }
}

fn runs(container: &ContainerState) -> bool {
    matches!(container.phase, ContainerPhase::Running { .. })
}

/// Goes on whatever becomes of the agent that waits for it.
fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
) -> BoxFuture<'static, Result<T, RuntimeError>> {
    let task = tokio::spawn(work);
    async move {
        let lost = |_| RuntimeError::Sandbox("the kernel's task broke off".to_owned());
        task.await.map_err(lost)?
    }
    .boxed()
}

fn ready<T: Send + 'static, E: Send + 'static>(
    value: Result<T, E>,
) -> BoxFuture<'static, Result<T, E>> {
    std::future::ready(value).boxed()
}

impl<N: Nature> Runtime for Words<N> {
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>> {
        if let Err(error) = self.nature.sandbox(&config) {
            return ready(Err(error));
        }
        let now = self.nature.now();
        let pod = self.with(|books| {
            let known = books.pods.get(&config.uid);
            if let Some(known) = known.filter(|pod| pod.alive && pod.attempt == config.attempt) {
                return known.clone();
            }
            books.made += 1;
            let low = u8::try_from(books.made % 250).unwrap_or(0) + 2;
            let old = books.pods.remove(&config.uid).map(|pod| pod.containers);
            let pod = PodState {
                uid: config.uid.clone(),
                namespace: config.namespace,
                name: config.name,
                attempt: config.attempt,
                alive: true,
                addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 244, self.number, low))],
                created_at: now,
                annotations: config.annotations,
                containers: old.unwrap_or_default(),
            };
            books.pods.insert(config.uid, pod.clone());
            pod
        });
        self.nature.hear(&pod, Event::Ran);
        ready(Ok(pod))
    }

    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let pod = self.with(|books| books.pods.get(uid).cloned());
        let Some(pod) = pod else { return ready(Err(RuntimeError::NoPod(uid.to_owned()))) };
        for one in pod.containers.iter().filter(|one| runs(one)) {
            self.end(uid, &one.id, 137);
        }
        self.with(|books| books.pods.get_mut(uid).map(|pod| pod.alive = false));
        self.nature.hear(&pod, Event::Stopped);
        ready(Ok(()))
    }

    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let pod = self.with(|books| books.pods.remove(uid));
        let Some(pod) = pod else { return ready(Err(RuntimeError::NoPod(uid.to_owned()))) };
        self.nature.hear(&pod, Event::Removed);
        ready(Ok(()))
    }

    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>> {
        ready(Ok(self.with(|books| books.pods.values().cloned().collect())))
    }

    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>> {
        apart(self.clone().start(pod_uid.to_owned(), config))
    }

    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        _: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let pod = self.with(|books| books.pods.get(pod_uid).cloned());
        let Some(pod) = pod else { return ready(Err(RuntimeError::NoPod(pod_uid.to_owned()))) };
        let running = pod.containers.iter().find(|one| one.id == container_id && runs(one));
        let Some(container) = running.cloned() else {
            return ready(Err(RuntimeError::NotRunning(container_id.to_owned())));
        };
        self.nature.hear(&pod, Event::Stopping(&container, grace_s));
        let own = self.clone();
        apart(async move {
            let code = own.nature.stop(&container, grace_s).await;
            own.end(&pod.uid, &container.id, code);
            Ok(())
        })
    }

    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|books| {
            if let Some(pod) = books.pods.get_mut(pod_uid) {
                pod.containers.retain(|one| one.id != container_id);
            }
        });
        ready(Ok(()))
    }

    fn exec(
        &self,
        pod_uid: &str,
        container_id: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>> {
        let running = self.with(|books| {
            let pod = books.pods.get(pod_uid)?;
            pod.containers.iter().find(|one| one.id == container_id && runs(one)).cloned()
        });
        let Some(container) = running else {
            return ready(Err(RuntimeError::NotRunning(container_id.to_owned())));
        };
        let (send, exit) = oneshot::channel();
        let sent = send.send(self.nature.exec(pod_uid, &container, &config));
        debug_assert!(sent.is_ok(), "the receiver is in the answer below");
        ready(Ok(Exec { id: "exec".to_owned(), streams: Streams::default(), exit }))
    }

    fn attach(&self, _: &str, id: &str) -> BoxFuture<'_, Result<Streams, RuntimeError>> {
        ready(Err(RuntimeError::NotRunning(id.to_owned())))
    }

    fn dial(&self, _: &str, port: u16) -> BoxFuture<'_, Result<OwnedFd, RuntimeError>> {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        ready(Err(RuntimeError::Dial { port, source }))
    }

    fn resize(
        &self,
        _: &str,
        id: &str,
        _: Option<&str>,
        _: u16,
        _: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        ready(Err(RuntimeError::NotRunning(id.to_owned())))
    }

    fn usage(&self, _: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>> {
        ready(Ok(Vec::new()))
    }

    fn wakes(&self) -> BoxStream<'static, String> {
        futures::stream::unfold(self.wakes.subscribe(), async |mut receiver| {
            loop {
                match receiver.recv().await {
                    Ok(uid) => return Some((uid, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>> {
        async move {
            self.nature.pull(&request.reference).await?;
            self.add_image(&request.reference);
            Ok(image(&request.reference))
        }
        .boxed()
    }

    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>> {
        let here = self.with(|books| books.images.contains(reference));
        ready(Ok(here.then(|| image(reference))))
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        ready(Ok(self.with(|books| books.images.iter().map(|one| image(one)).collect())))
    }

    fn import(&self, _: PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        ready(Ok(Vec::new()))
    }

    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>> {
        self.with(|books| books.images.remove(reference));
        ready(Ok(()))
    }
}

fn image(reference: &str) -> Image {
    let repository = reference.split_once(':').map_or(reference, |(repository, _)| repository);
    Image {
        id: format!("sha256:{reference}"),
        tags: vec![format!("docker.io/library/{reference}")],
        digests: vec![format!("docker.io/library/{repository}@sha256:d")],
        size_bytes: 1000,
        ..Image::default()
    }
}
