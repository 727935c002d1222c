//! SIGKILL, fifty times: no acknowledged write and no container is lost.
//!
//! A set of three is updated over and over, and a few hundred objects are written a second, while
//! the server is killed at moments drawn from a seed (`STEAD_SEED` replays it). What was going on
//! at each kill is told by the last that its watchers heard; every phase must be hit.

#![expect(clippy::disallowed_methods, reason = "a crash is a matter of processes and clocks")]
#![expect(clippy::print_stderr, reason = "a test tells what it does")]

pub(crate) mod containers;
mod scene;
mod writers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::cluster::{Cluster, Turn};
use scene::{Phase, Scene};
use writers::Writers;

const KILLS: usize = 50;
const REPLICAS: i32 = 3;
/// Acknowledged writes a second that must go on while the server is up.
const WRITES_PER_S_MIN: f64 = 200.0;
/// Longest wait for the server, and for a phase of an update.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The latest that a kill comes after its phase has begun, in microseconds.
const JITTER_MAX_US: u64 = 6000;

/// Numbers from a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn seed() -> u64 {
    let given = std::env::var("STEAD_SEED").ok();
    given.map_or_else(
        || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        |text| text.parse().expect("STEAD_SEED is a number"),
    )
}

#[test]
fn nothing_acknowledged_and_nothing_running_is_lost() {
    let _turn = Turn::take();
    let seed = seed();
    eprintln!("STEAD_SEED={seed}");
    let mut cluster = Cluster::start_here("survival", &[]);
    cluster.import(&["kubia-pet.tar"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&mut cluster, Chance(seed)));
}

/// What goes on from kill to kill.
struct Story<'a> {
    cluster: &'a mut Cluster,
    client: Client,
    chance: Chance,
    /// Number of the newest template.
    update: u32,
    hit: BTreeMap<Phase, usize>,
}

async fn run(cluster: &mut Cluster, chance: Chance) {
    let client = cluster.client().await;
    let sets: Api<StatefulSet> = Api::default_namespaced(client.clone());
    sets.create(&PostParams::default(), &set()).await.unwrap();
    let mut story = Story { cluster, client, chance, update: 0, hit: BTreeMap::new() };
    story.complete().await;
    let writers = Writers::start(&story.client);
    let mut up = Duration::ZERO;
    let began = Instant::now();
    for number in 1..=KILLS {
        let started = Instant::now();
        let target = story.target();
        let phase = story.kill_during(target).await;
        up += started.elapsed();
        *story.hit.entry(phase).or_default() += 1;
        story.up_again().await;
        writers.check_sample(&story.client, story.chance.below(u64::MAX)).await;
        eprintln!("kill {number} at {phase:?}, wanted {target:?}; {:?}", began.elapsed());
    }
    let written = writers.stop().await;
    let rate = f64::from(u32::try_from(written.acknowledged).unwrap()) / up.as_secs_f64();
    eprintln!("kills per phase: {:?}", story.hit);
    eprintln!("{} writes acknowledged, {rate:.0}/s while up", written.acknowledged);
    written.check_all(&story.client).await;
    story.complete().await;
    story.check_template().await;
    story.check_volumes();
    for phase in Phase::ALL {
        assert!(story.hit.contains_key(&phase), "no kill hit {phase:?}: {:?}", story.hit);
    }
    assert!(rate >= WRITES_PER_S_MIN, "{rate:.0} writes/s are too few to prove anything");
}

impl Story<'_> {
    /// A phase, most often one of those that were hit least.
    fn target(&mut self) -> Phase {
        let count = |phase: &Phase| self.hit.get(phase).copied().unwrap_or(0);
        let least = Phase::ALL.iter().map(count).min().unwrap_or(0);
        let rare: Vec<Phase> = Phase::ALL.into_iter().filter(|p| count(p) <= least + 1).collect();
        let pick = self.chance.below(rare.len() as u64);
        rare[usize::try_from(pick).unwrap()]
    }

    /// Waits for this phase of an update, kills; what its watchers had heard last.
    async fn kill_during(&mut self, target: Phase) -> Phase {
        let jitter = Duration::from_micros(self.chance.below(JITTER_MAX_US));
        let mut scene = Scene::follow(&self.client).await;
        if target == Phase::Commit {
            scene.until(&[Phase::Commit]).await;
            let patch = tokio::spawn(update(self.client.clone(), self.update + 1));
            tokio::time::sleep(jitter / 3).await;
            self.cluster.kill();
            // Whether it was acknowledged or not: the next update is another one.
            self.update += 1;
            drop(patch.await);
        } else {
            // An update that is almost over may not come to that phase any more.
            while scene.until(&[target, Phase::Commit]).await != target {
                self.update += 1;
                let set = update(self.client.clone(), self.update).await.unwrap();
                scene.until_generation(set.metadata.generation).await;
            }
            tokio::time::sleep(jitter).await;
            self.cluster.kill();
        }
        scene.end().await
    }

    /// Starts the server; what ran before runs on, and no pod has two copies.
    async fn up_again(&mut self) {
        let before = containers::running();
        self.cluster.begin();
        ready(&self.client).await;
        let after = containers::running();
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap());
            let status = pod.status.as_ref();
            let containers = status.and_then(|status| status.container_statuses.as_ref());
            for container in containers.into_iter().flatten() {
                assert_eq!(container.restart_count, 0, "{name} was started again");
            }
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if let Some(known) = before.get(&uid) {
                assert_eq!(after.get(&uid), Some(known), "{name} does not run on");
            }
        }
        self.check_volumes();
    }

    /// A second copy of a pod that found the lock of the first has written it down.
    fn check_volumes(&self) {
        let found = containers::files_named(&self.cluster.data().join("node"), "violations");
        assert!(found.is_empty(), "two copies of one pod ran at once: {found:?}");
    }

    /// Waits until all pods are Ready and of the newest template.
    async fn complete(&self) {
        let mut scene = Scene::follow(&self.client).await;
        scene.until(&[Phase::Commit]).await;
    }

    async fn check_template(&self) {
        let sets: Api<StatefulSet> = Api::default_namespaced(self.client.clone());
        let wanted = sets.get("pet").await.unwrap().spec.unwrap().template.metadata.unwrap();
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let pods = pods.list(&ListParams::default()).await.unwrap();
        assert_eq!(pods.items.len(), 3);
        for pod in pods {
            let has = pod.annotations().get("update");
            let wants = wanted.annotations.as_ref().and_then(|all| all.get("update"));
            assert_eq!(has, wants, "{} is not updated", pod.name_any());
        }
    }
}

async fn update(client: Client, number: u32) -> kube::Result<StatefulSet> {
    let sets: Api<StatefulSet> = Api::default_namespaced(client);
    let annotations = json!({"update": number.to_string()});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    sets.patch("pet", &PatchParams::default(), &Patch::Merge(patch)).await
}

async fn ready(client: &Client) {
    let wait = async {
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            if client.request_text(request).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, wait).await.expect("the server does not come up again");
}

fn set() -> StatefulSet {
    let template = json!({
        "metadata": {"labels": {"app": "pet"}, "annotations": {"update": "0"}},
        "spec": {"containers": [{
            "name": "pet", "image": "luksa/kubia-pet", "imagePullPolicy": "IfNotPresent",
            "volumeMounts": [{"name": "data", "mountPath": "/var/data"}]
        }]}
    });
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    });
    serde_json::from_value(json!({
        "metadata": {"name": "pet"},
        "spec": {"replicas": REPLICAS, "serviceName": "pet",
            "selector": {"matchLabels": {"app": "pet"}},
            "template": template, "volumeClaimTemplates": [claim]}
    }))
    .unwrap()
}
