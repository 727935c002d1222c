//! A node's kernel in a storm: what an image is called decides how it behaves, and what it does may
//! be slow or fail.
//!
//! `app:N` runs until it is stopped, `crash:N` ends by itself after a moment, `none:N` is in no
//! registry, `sick:N` never answers its probe.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use host::runtime::{
    ContainerConfig, ContainerState, ExecConfig, ImageError, PodConfig, PodState, RuntimeError,
};
use testkit::{Event, Nature, Words};
use tokio::time::{Instant, sleep};

use crate::{
    clock::WallClock,
    trace::{Did, What},
    world::World,
};

/// A node's kernel; clones are the same one.
pub(crate) type Kernel = Words<Stormy>;

/// What the storm makes of a kernel's work.
#[derive(Clone)]
pub(crate) struct Stormy {
    world: Arc<World>,
    node: Arc<str>,
    clock: WallClock,
    /// Until when the probes of a pod fail.
    sick: Arc<Mutex<BTreeMap<String, Instant>>>,
}

/// The kernel of the node of this name and number.
pub(crate) fn kernel(world: Arc<World>, node: &str, number: u8, clock: WallClock) -> Kernel {
    Words::new(Stormy { world, node: node.into(), clock, sick: Arc::default() }, number)
}

/// One container ends by itself, if one runs.
pub(crate) fn exit_one(kernel: &Kernel) -> bool {
    let running = running(kernel);
    let Some((uid, id)) = kernel.nature().world.chance.pick(&running) else { return false };
    kernel.end(uid, id, 1);
    true
}

/// One pod's probes fail for so long, if one runs.
pub(crate) fn sicken_one(kernel: &Kernel, ms: u64) -> bool {
    let running = running(kernel);
    let Some((uid, _)) = kernel.nature().world.chance.pick(&running) else { return false };
    let until = Instant::now() + Duration::from_millis(ms);
    kernel.nature().with_sick(|sick| sick.insert(uid.clone(), until));
    true
}

/// Probes fail no more.
pub(crate) fn recover(kernel: &Kernel) {
    kernel.nature().with_sick(BTreeMap::clear);
}

/// Uid of the pod and id of each container that runs.
fn running(kernel: &Kernel) -> Vec<(String, String)> {
    let pods = kernel.running().into_iter();
    pods.flat_map(|(pod, all)| all.into_iter().map(move |one| (pod.uid.clone(), one.id))).collect()
}

impl Stormy {
    fn with_sick<R>(&self, work: impl FnOnce(&mut BTreeMap<String, Instant>) -> R) -> R {
        work(&mut self.sick.lock().unwrap_or_else(PoisonError::into_inner))
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

    async fn between(&self, from_ms: u64, to_ms: u64) {
        sleep(Duration::from_millis(self.world.chance.between(from_ms, to_ms))).await;
    }
}

impl Nature for Stormy {
    fn now(&self) -> SystemTime {
        self.clock.system_time()
    }

    fn hear(&self, pod: &PodState, event: Event<'_>) {
        let did = match event {
            Event::Ran => Did::Other("has a sandbox"),
            Event::Started(container, config) => {
                let folders = config.mounts.iter().map(|mount| mount.source.display().to_string());
                let folders = folders.filter(|path| !path.contains("/pods/")).collect();
                let (container, id) = (container.name.clone(), container.id.clone());
                Did::Started { container, id, folders }
            }
            Event::Ended(id, code) => Did::Ended { id: id.to_owned(), code },
            Event::Stopping(container, _) => Did::Stopping { id: container.id.clone() },
            Event::Stopped => Did::Other("has no sandbox any more"),
            Event::Removed => Did::Other("is forgotten"),
        };
        self.world.trace.note(What::Kernel {
            node: self.node.to_string(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            did,
        });
    }

    fn sandbox(&self, _: &PodConfig) -> Result<(), RuntimeError> {
        if self.hit(2, "start fails") {
            return Err(RuntimeError::Sandbox("no space left on device".to_owned()));
        }
        Ok(())
    }

    async fn start(&self, _: &ContainerConfig) -> Result<(), RuntimeError> {
        let (from_ms, to_ms) = if self.hit(8, "slow start") { (500, 20_000) } else { (1, 30) };
        self.between(from_ms, to_ms).await;
        if self.hit(4, "start fails") {
            return Err(RuntimeError::Create("input/output error".to_owned()));
        }
        Ok(())
    }

    fn lifetime(&self, image: &str) -> Option<Duration> {
        image.starts_with("crash").then_some(Duration::from_millis(700))
    }

    async fn stop(&self, _: &ContainerState, grace_s: u64) -> i32 {
        let grace_ms = grace_s.saturating_mul(1000);
        let ms = if self.hit(15, "slow stop") {
            grace_ms
        } else {
            self.world.chance.between(5, 1_500).min(grace_ms)
        };
        sleep(Duration::from_millis(ms)).await;
        if ms == grace_ms { 137 } else { 143 }
    }

    fn exec(&self, pod_uid: &str, container: &ContainerState, _: &ExecConfig) -> i32 {
        let now = Instant::now();
        let sick = self.with_sick(|sick| sick.get(pod_uid).is_some_and(|until| *until > now));
        i32::from(sick || container.image.starts_with("sick"))
    }

    async fn pull(&self, reference: &str) -> Result<(), ImageError> {
        let to_ms = if self.hit(10, "slow pull") { 15_000 } else { 100 };
        self.between(1, to_ms).await;
        if reference.starts_with("none") {
            let (reference, why) = (reference.to_owned(), "not found".to_owned());
            return Err(ImageError::Refused { reference, why });
        }
        Ok(())
    }
}
