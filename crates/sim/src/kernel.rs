//! A node's kernel that exists only in words: what an image is called decides how it behaves.
//!
//! `app:N` runs until it is stopped, `crash:N` ends by itself after a moment, `none:N` is in no
//! registry, `sick:N` never answers its probe. What has been begun goes on without the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use host::runtime::{
    ContainerConfig, ContainerPhase, ContainerState, Exec, ExecConfig, Image, ImageError,
    PodConfig, PodState, PullRequest, Runtime, RuntimeError, Streams, Usage,
};
use tokio::{
    sync::{broadcast, oneshot},
    time::{Instant, sleep},
};

use crate::{
    clock::WallClock,
    trace::{Did, What},
    world::World,
};

/// Wakes that may wait for the agent.
const WAKES_MAX: usize = 4096;

/// A node's kernel; clones are the same one.
#[derive(Clone)]
pub(crate) struct Kernel {
    world: Arc<World>,
    node: Arc<str>,
    /// The third part of its pods' addresses.
    number: u8,
    clock: WallClock,
    inner: Arc<Mutex<Inner>>,
    wakes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Inner {
    pods: BTreeMap<String, PodState>,
    /// How many things have been made: numbers addresses and ids.
    made: u32,
    /// Grows with each loss of power: what was under way is lost.
    boots: u32,
    /// Until when the probes of a pod fail.
    sick: BTreeMap<String, Instant>,
    pulled: BTreeSet<String>,
    /// Containers whose end has been asked for.
    stopping: BTreeSet<String>,
}

impl Kernel {
    pub(crate) fn new(world: Arc<World>, node: &str, number: u8, clock: WallClock) -> Self {
        let wakes = broadcast::channel(WAKES_MAX).0;
        Self { world, node: node.into(), number, clock, inner: Arc::default(), wakes }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, pod: &PodState, did: Did) {
        self.world.trace.note(What::Kernel {
            node: self.node.to_string(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            did,
        });
    }

    fn wake(&self, uid: &str) {
        // Without an agent nobody listens; a new one lists.
        drop(self.wakes.send(uid.to_owned()));
    }

    /// In a storm, so often in a hundred.
    fn hit(&self, percent: u64, what: &'static str) -> bool {
        let hit = self.world.storms() && self.world.chance.percent(percent);
        if hit {
            self.world.tally.world(what);
            self.world.trace.say(format!("{what} on {}", self.node));
        }
        hit
    }

    /// One container ends by itself, if one runs.
    pub(crate) fn exit_one(&self) -> bool {
        let running = self.running();
        let Some((uid, id)) = self.world.chance.pick(&running) else { return false };
        self.end(uid, id, 1);
        true
    }

    /// One pod's probes fail for so long, if one runs.
    pub(crate) fn sicken_one(&self, ms: u64) -> bool {
        let running = self.running();
        let Some((uid, _)) = self.world.chance.pick(&running) else { return false };
        let until = Instant::now() + Duration::from_millis(ms);
        self.with(|inner| inner.sick.insert(uid.clone(), until));
        true
    }

    /// Probes fail no more.
    pub(crate) fn recover(&self) {
        self.with(|inner| inner.sick.clear());
    }

    fn running(&self) -> Vec<(String, String)> {
        self.with(|inner| {
            let pods = inner.pods.values();
            pods.flat_map(|pod| {
                let running = pod.containers.iter().filter(|one| runs(one));
                running.map(|one| (pod.uid.clone(), one.id.clone()))
            })
            .collect()
        })
    }

    /// The power goes and comes back: records stay, nothing runs.
    pub(crate) fn lose_power(&self) {
        for (uid, id) in self.running() {
            self.end(&uid, &id, 255);
        }
        self.with(|inner| {
            inner.boots += 1;
            inner.pods.values_mut().for_each(|pod| pod.alive = false);
        });
    }

    fn end(&self, uid: &str, id: &str, code: i32) {
        let now = self.clock.system_time();
        let ended = self.with(|inner| {
            let pod = inner.pods.get_mut(uid)?;
            let one = pod.containers.iter_mut().find(|one| one.id == id && runs(one))?;
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
            self.note(&pod, Did::Ended { id: id.to_owned(), code });
            self.wake(uid);
        }
    }

    /// Goes on whatever becomes of the agent that waits for it.
    fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RuntimeError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, RuntimeError>> {
        let task = tokio::spawn(work);
        async move {
            let lost = |_| RuntimeError::Sandbox("the kernel's task broke off".to_owned());
            task.await.map_err(lost)?
        }
        .boxed()
    }

    async fn start(
        self,
        uid: String,
        config: ContainerConfig,
    ) -> Result<ContainerState, RuntimeError> {
        let boots = self.with(|inner| inner.boots);
        let ms = if self.hit(8, "slow start") {
            self.world.chance.between(500, 20_000)
        } else {
            self.world.chance.between(1, 30)
        };
        sleep(Duration::from_millis(ms)).await;
        if self.hit(4, "start fails") {
            return Err(RuntimeError::Create("input/output error".to_owned()));
        }
        let now = self.clock.system_time();
        let crashes = config.image.starts_with("crash");
        let folders = config.mounts.iter().map(|mount| mount.source.display().to_string());
        let folders = folders.filter(|path| !path.contains("/pods/")).collect();
        let (pod, state) = self.with(|inner| {
            let same = inner.boots == boots;
            inner.made += 1;
            let made = inner.made;
            let pod = inner.pods.get_mut(&uid).filter(|pod| pod.alive && same);
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
        if let Some(pod) = pod {
            let (container, id) = (state.name.clone(), state.id.clone());
            self.note(&pod, Did::Started { container, id, folders });
            if crashes {
                let (own, id) = (self.clone(), state.id.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(700)).await;
                    own.end(&uid, &id, 1);
                });
            }
        }
        Ok(state)
    }

    async fn stop(self, uid: String, id: String, grace_s: u64) -> Result<(), RuntimeError> {
        let grace_ms = grace_s.saturating_mul(1000);
        let ms = if self.hit(15, "slow stop") {
            grace_ms
        } else {
            self.world.chance.between(5, 1_500).min(grace_ms)
        };
        sleep(Duration::from_millis(ms)).await;
        self.end(&uid, &id, if ms == grace_ms { 137 } else { 143 });
        Ok(())
    }
}

fn runs(container: &ContainerState) -> bool {
    matches!(container.phase, ContainerPhase::Running { .. })
}

fn ready<T: Send + 'static, E: Send + 'static>(
    value: Result<T, E>,
) -> BoxFuture<'static, Result<T, E>> {
    std::future::ready(value).boxed()
}

impl Runtime for Kernel {
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>> {
        if self.hit(2, "start fails") {
            return ready(Err(RuntimeError::Sandbox("no space left on device".to_owned())));
        }
        let now = self.clock.system_time();
        let pod = self.with(|inner| {
            let known = inner.pods.get(&config.uid);
            if let Some(known) = known.filter(|pod| pod.alive && pod.attempt == config.attempt) {
                return known.clone();
            }
            inner.made += 1;
            let low = u8::try_from(inner.made % 250).unwrap_or(0) + 2;
            let old = inner.pods.remove(&config.uid).map(|pod| pod.containers);
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
            inner.pods.insert(config.uid, pod.clone());
            pod
        });
        self.note(&pod, Did::Other("has a sandbox"));
        ready(Ok(pod))
    }

    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let pod = self.with(|inner| inner.pods.get(uid).cloned());
        let Some(pod) = pod else { return ready(Err(RuntimeError::NoPod(uid.to_owned()))) };
        for one in pod.containers.iter().filter(|one| runs(one)) {
            self.end(uid, &one.id, 137);
        }
        self.with(|inner| inner.pods.get_mut(uid).map(|pod| pod.alive = false));
        self.note(&pod, Did::Other("has no sandbox any more"));
        ready(Ok(()))
    }

    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        match self.with(|inner| inner.pods.remove(uid)) {
            Some(pod) => {
                self.note(&pod, Did::Other("is forgotten"));
                ready(Ok(()))
            }
            None => ready(Err(RuntimeError::NoPod(uid.to_owned()))),
        }
    }

    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>> {
        ready(Ok(self.with(|inner| inner.pods.values().cloned().collect())))
    }

    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>> {
        self.apart(self.clone().start(pod_uid.to_owned(), config))
    }

    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        _: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let found = self.with(|inner| {
            inner.stopping.insert(container_id.to_owned());
            inner.pods.get(pod_uid).cloned()
        });
        let Some(pod) = found else { return ready(Err(RuntimeError::NoPod(pod_uid.to_owned()))) };
        if !pod.containers.iter().any(|one| one.id == container_id && runs(one)) {
            return ready(Err(RuntimeError::NotRunning(container_id.to_owned())));
        }
        self.note(&pod, Did::Stopping { id: container_id.to_owned() });
        let stop = self.clone().stop(pod_uid.to_owned(), container_id.to_owned(), grace_s);
        self.apart(stop)
    }

    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|inner| {
            if let Some(pod) = inner.pods.get_mut(pod_uid) {
                pod.containers.retain(|one| one.id != container_id);
            }
        });
        ready(Ok(()))
    }

    fn exec(
        &self,
        pod_uid: &str,
        container_id: &str,
        _: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>> {
        let (send, exit) = oneshot::channel();
        let well = self.with(|inner| {
            let pod = inner.pods.get(pod_uid)?;
            let one = pod.containers.iter().find(|one| one.id == container_id && runs(one))?;
            let sick = inner.sick.get(pod_uid).is_some_and(|until| *until > Instant::now());
            Some(!sick && !one.image.starts_with("sick"))
        });
        let Some(well) = well else {
            return ready(Err(RuntimeError::NotRunning(container_id.to_owned())));
        };
        if send.send(i32::from(!well)).is_err() {
            tracing::debug!("nobody waits for the probe's answer");
        }
        ready(Ok(Exec { id: "exec".to_owned(), streams: Streams::default(), exit }))
    }

    fn attach(&self, _: &str, id: &str) -> BoxFuture<'_, Result<Streams, RuntimeError>> {
        ready(Err(RuntimeError::NotRunning(id.to_owned())))
    }

    fn dial(
        &self,
        _: &str,
        port: u16,
    ) -> BoxFuture<'_, Result<std::os::fd::OwnedFd, RuntimeError>> {
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
        let reference = request.reference;
        let slow = self.hit(10, "slow pull");
        let ms = self.world.chance.between(1, if slow { 15_000 } else { 100 });
        async move {
            sleep(Duration::from_millis(ms)).await;
            if reference.starts_with("none") {
                let why = "not found".to_owned();
                return Err(ImageError::Refused { reference, why });
            }
            self.with(|inner| inner.pulled.insert(reference.clone()));
            Ok(image(&reference))
        }
        .boxed()
    }

    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>> {
        let here = self.with(|inner| inner.pulled.contains(reference));
        ready(Ok(here.then(|| image(reference))))
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        ready(Ok(Vec::new()))
    }

    fn import(&self, _: std::path::PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        ready(Ok(Vec::new()))
    }

    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>> {
        self.with(|inner| inner.pulled.remove(reference));
        ready(Ok(()))
    }
}

fn image(reference: &str) -> Image {
    Image {
        id: format!("sha256:{reference}"),
        tags: vec![format!("docker.io/library/{reference}")],
        digests: vec![format!("docker.io/library/{reference}@sha256:d")],
        size_bytes: 1000,
        ..Image::default()
    }
}
