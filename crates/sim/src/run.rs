//! One seed from its first write to the judge's word.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use api::resource;
use controllers::statefulset;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Node, PersistentVolume, Pod},
    discovery::v1::EndpointSlice,
};
use serde_json::Value;
use store::Store;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    chance::Chance,
    faults::Tally,
    house::{Ground, House, Plan},
    judge::{self, BEHIND_IN_STORM_MS, BEHIND_MS, Violation, judge},
    person::Person,
    storm::Storm,
    trace::{Entry, What},
    wish::{More, Wish},
};

/// Simulated time within which everything converges once faults stop, seconds: the longest wait
/// that a controller's queue knows (1000 s), a container's back-off (300 s), and what follows.
pub const CONVERGES_WITHIN_S: u64 = 1_800;
/// How long nothing may be written afterwards, seconds.
const QUIET_S: u64 = 90;
/// How long it must have been as it should be.
const SETTLES: Duration = Duration::from_secs(15);
/// Between two looks at whether it has converged.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks between two rounds of the person.
const TEND_EVERY: u32 = 5;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Script {
    /// What all chance comes from.
    pub seed: u64,
    /// How long things go wrong, seconds of simulated time; 0: nothing does.
    pub storm_s: u64,
    /// Who decides about StatefulSets.
    pub planner: fn(&statefulset::View) -> controllers::Plan,
    /// What goes wrong meanwhile.
    pub weather: Weather,
    /// Sets, in place of those that chance would make: replicas, whether Parallel, whether with
    /// claims.
    pub sets: Option<Vec<(u64, bool, bool)>>,
    /// Half of the sets that chance makes say more than plain ones: where their ordinals start, what
    /// becomes of their claims, and a StatefulSetPolicy.
    pub more: bool,
}

/// What is done to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything.
    Storm,
    /// A person edits; nothing goes wrong.
    Person,
}

impl Script {
    /// What the seed says, with the planner that there is.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let storm_s = Chance::new(seed, "script").between(60, 200);
        let (planner, weather) = (statefulset::reconcile, Weather::Storm);
        Self { seed, storm_s, planner, weather, sets: None, more: false }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that did not hold.
    pub violations: Vec<Violation>,
    /// What went wrong, how often.
    pub tally: Tally,
    /// Everything that happened, as text.
    pub trace: String,
    /// Simulated seconds from the end of the storm to convergence.
    pub converged_after_s: Option<u64>,
    /// Commits of the store.
    pub commits: usize,
}

/// Runs one script on the calling thread; `folder` is emptied and used for the nodes' files.
///
/// # Errors
///
/// When the cluster cannot even begin.
pub fn simulate(script: &Script, ground: &Arc<Ground>, folder: &Path) -> Result<Outcome> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(run(script, Arc::clone(ground), folder))
}

/// Lays the ground of all simulations.
///
/// # Errors
///
/// As [`Ground::lay`].
pub fn ground() -> Result<Arc<Ground>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(Arc::new(runtime.block_on(Ground::lay())?))
}

async fn run(script: &Script, ground: Arc<Ground>, folder: &Path) -> Result<Outcome> {
    let drawn = Chance::new(script.seed, "wishes");
    let wishes: Vec<Wish> = match &script.sets {
        None => {
            let draw = |n: u64| {
                let plain = Wish::draw(&format!("set{n}"), &drawn);
                let more = script.more && drawn.percent(50);
                Wish { more: more.then(|| More::draw(&drawn)), ..plain }
            };
            (0..drawn.between(1, 2)).map(draw).collect()
        }
        Some(sets) => {
            let numbered = sets.iter().enumerate();
            let wish = |(n, (replicas, parallel, claims)): (usize, &(u64, bool, bool))| Wish {
                replicas: *replicas,
                parallel: *parallel,
                claims: *claims,
                ..Wish::draw(&format!("set{n}"), &drawn)
            };
            numbered.map(wish).collect()
        }
    };
    let nodes = u8::try_from(drawn.between(2, 3)).unwrap_or(2);
    let (deaths, mut dead) = mpsc::unbounded_channel();
    let plan = Plan { seed: script.seed, nodes, planner: script.planner };
    let first = ground.revision();
    let mut house = House::open(plan, ground, folder, deaths).await?;
    let world = Arc::clone(&house.world);
    let mut person = Person::new(Arc::clone(&world), house.person(), wishes);
    person.furnish().await?;
    let mut storm = Storm::new(&mut house, &mut person, &mut dead, script.weather);
    storm.blow(script.storm_s * 1000).await?;
    world.trace.note(What::Calm);
    let converged_after_s = converge(&house, &mut person).await?;
    let mut broken = house.broken();
    broken.sort();
    if !broken.is_empty() {
        world.trace.note(What::Late(format!("the agents of {broken:?} have ended")));
    }
    if let Some(store) = &house.store {
        intact(&house, store);
    }
    let behind_ms = match script.weather {
        Weather::Storm => BEHIND_IN_STORM_MS,
        Weather::Person => BEHIND_MS,
    };
    let violations = judge(&world.trace.entries(), first, behind_ms);
    let trace = world.trace.text(&folder.display().to_string());
    let commits = |entry: &&Entry| matches!(entry.what, What::Commit { .. });
    let commits = world.trace.entries().iter().filter(commits).count();
    let tally = Tally::default();
    tally.add(&world.tally);
    Ok(Outcome { violations, tally, trace, converged_after_s, commits })
}

/// Waits until everything is as the person wants it, and then sees that it stays so.
async fn converge(house: &House, person: &mut Person) -> Result<Option<u64>> {
    let began = Instant::now();
    let end = began + Duration::from_secs(CONVERGES_WITHIN_S);
    while let Err(error) = person.settle().await {
        house.world.trace.say(format!("the person met an error: {error}"));
        sleep(LOOK_EVERY).await;
        if Instant::now() >= end {
            return Err(anyhow!(error).context("the person could not write for half an hour"));
        }
    }
    let mut looks = 0;
    loop {
        let store = house.store.as_ref().context("the server lives")?;
        let mut left = unfinished(store, &person.wishes);
        if left.is_none() {
            // What was under way in that second ends, and what it leads to.
            sleep(SETTLES).await;
            left = unfinished(store, &person.wishes);
        }
        let Some(why) = left else { break };
        if Instant::now() >= end {
            house.world.trace.note(What::Late(why));
            return Ok(None);
        }
        looks += 1;
        if looks % TEND_EVERY == 0 {
            person.tend().await.map_err(|error| anyhow!(error).context("the person tends"))?;
        }
        sleep(LOOK_EVERY).await;
    }
    let after_s = began.elapsed().as_secs();
    house.world.trace.note(What::Converged);
    sleep(Duration::from_secs(QUIET_S)).await;
    let store = house.store.as_ref().context("the server lives")?;
    if let Some(why) = unfinished(store, &person.wishes) {
        house.world.trace.note(What::Late(format!("it does not stay so: {why}")));
    }
    Ok(Some(after_s))
}

fn rows<K: api::object::Typed>(store: &Store, namespace: &str) -> Vec<Value> {
    let prefix = resource::of::<K>().key(namespace, "");
    let rows = store.list(&prefix, None, 0).rows;
    rows.iter().filter_map(|row| serde_json::from_slice(&row.value).ok()).collect()
}

/// Why it is not yet as the person wants it.
fn unfinished(store: &Store, wishes: &[Wish]) -> Option<String> {
    for node in rows::<Node>(store, "") {
        let name = node["metadata"]["name"].to_string();
        if node["spec"]["taints"].as_array().is_some_and(|all| !all.is_empty()) {
            return Some(format!("node {name} has taints"));
        }
    }
    for volume in rows::<PersistentVolume>(store, "") {
        let unused = matches!(volume["status"]["phase"].as_str(), Some("Released" | "Failed"));
        if unused && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
            return Some(format!("volume {} is to be deleted", volume["metadata"]["name"]));
        }
    }
    let pods: Vec<judge::Pod> = rows::<Pod>(store, "default")
        .into_iter()
        .filter_map(|pod| serde_json::from_value(pod).ok())
        .collect();
    let mut wanted = 0;
    for wish in wishes {
        let sets = rows::<StatefulSet>(store, "default").into_iter();
        let mut sets = sets.filter_map(|set| serde_json::from_value::<judge::Set>(set).ok());
        let Some(set) = sets.find(|set| set.metadata.name == wish.name) else {
            return Some(format!("{} is not there", wish.name));
        };
        if let Some(why) = unfinished_set(&set, &wish.law(), &pods) {
            return Some(format!("{}: {why}", wish.name));
        }
        wanted += set.spec.replicas;
    }
    let endpoints: usize = rows::<EndpointSlice>(store, "default")
        .iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count();
    (i64::try_from(endpoints) != Ok(wanted)).then(|| format!("{endpoints} endpoints of {wanted}"))
}

fn unfinished_set(
    set: &judge::Set,
    law: &judge::PolicySpec,
    pods: &[judge::Pod],
) -> Option<String> {
    let belief = judge::Belief { set, law };
    let status = &set.status;
    let n = set.spec.replicas;
    if set.metadata.is_terminating() || status.observed_generation != set.metadata.generation {
        return Some("its last change was not seen".to_owned());
    }
    let counts = [
        status.replicas,
        status.ready_replicas,
        status.available_replicas,
        status.updated_replicas,
    ];
    if counts != [n; 4] || status.current_revision != status.update_revision {
        return Some(format!("{n} are wanted: {status:?}"));
    }
    let prefix = format!("{}-", set.metadata.name);
    let own = pods.iter().filter(|pod| pod.metadata.name.starts_with(&prefix));
    let mut found = BTreeMap::new();
    for pod in own {
        let well = pod.is_healthy()
            && pod.metadata.revision() == status.update_revision
            && pod.metadata.set_uid() == Some(&set.metadata.uid)
            && pod.place().is_some_and(|(_, ordinal)| belief.wants(ordinal));
        if !well {
            return Some(format!("{} is {}", pod.metadata.name, pod.status.phase));
        }
        found.insert(pod.metadata.name.clone(), ());
    }
    (i64::try_from(found.len()) != Ok(n)).then(|| format!("{n} are wanted, {} are", found.len()))
}

/// Says where the store does not hold what its log says.
fn intact(house: &House, store: &Store) {
    let mut latest = BTreeMap::new();
    for entry in house.world.trace.entries().iter() {
        if let What::Commit { revision, key, deleted, .. } = &entry.what {
            latest.insert(key.clone(), (*revision, *deleted));
        }
    }
    let mut damages = Vec::new();
    for (key, (revision, deleted)) in latest {
        let held = store.get(&key).map(|row| row.revision);
        if held != Some(revision).filter(|_| !deleted) {
            damages.push(format!("{key} was written at {revision}, and is held as of {held:?}"));
        }
    }
    for damage in damages {
        house.world.trace.note(What::Damage(damage));
    }
}
