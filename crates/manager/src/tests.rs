//! The loop, judged with a small controller and a small API server behind a tower service.

mod election;
mod fake;
mod scheduling;
mod sets;
mod together;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::policy::StatefulSetPolicy;
use client::{Key, in_process};
use controllers::{Action, Note, Outcome, Plan, Target, Verb};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use self::fake::Fake;
use crate::{Caches, Controller, Handle, Manager, Options, Wakes, identity};

/// Keeps as many copies of a ConfigMap as its `data.copies` says: one more each plan.
struct Copies;

struct View {
    original: Arc<ConfigMap>,
    copies: Vec<Arc<ConfigMap>>,
}

impl Controller for Copies {
    type View = View;

    fn name(&self) -> &'static str {
        "copies-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        wakes.on::<ConfigMap>(|map| {
            let mut key = Key::of(&map.metadata);
            if let Some((original, _)) = key.name.rsplit_once('-') {
                key.name = original.to_owned();
            }
            vec![key]
        });
    }

    fn view(&self, key: &Key, caches: &Caches, _now: Timestamp) -> Option<View> {
        let maps = caches.of::<ConfigMap>();
        let original = maps.get(&key.namespace, &key.name)?;
        let copies = maps.named_like(&key.namespace, &format!("{}-", key.name));
        Some(View { original, copies })
    }

    fn reconcile(&self, view: &View) -> Plan {
        let mut plan = Plan::default();
        let data = view.original.data.clone().unwrap_or_default();
        let wanted = data.get("copies").and_then(|n| n.parse().ok()).unwrap_or(0);
        let have = view.copies.len();
        if have < wanted {
            let metadata = ObjectMeta {
                name: Some(format!("{}-{have}", view.original.metadata.name.clone().unwrap())),
                namespace: view.original.metadata.namespace.clone(),
                ..ObjectMeta::default()
            };
            let copy = ConfigMap { metadata, ..ConfigMap::default() };
            let regarding = Target::of(&*view.original);
            let success = Some(Note::normal("Copied", "made a copy"));
            let failure = vec![Note::warning("CopyFailed", "no copy: {error}")];
            let action = Action::new(Verb::Create(Box::new(copy)), "a copy is missing");
            let events = Some(Outcome { regarding, success, failure });
            plan.actions.push(Action { events, ..action });
        }
        for extra in view.copies.iter().skip(wanted) {
            plan.actions.push(Action::delete(Target::of(&**extra), "a copy too many"));
        }
        plan
    }
}

fn original(copies: u32) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": "a"}, "data": {"copies": copies.to_string()}})
}

fn options() -> Options {
    let started = tokio::time::Instant::now();
    let now = move || {
        let passed = i64::try_from(started.elapsed().as_millis()).unwrap();
        Timestamp::from_millisecond(1_700_000_000_000 + passed).unwrap()
    };
    Options { now: Arc::new(now), ..Options::new("", 1) }
}

fn start(fake: &Fake) -> Handle {
    let fake = fake.clone();
    let clients = move |name: &str| in_process(fake.service(), identity(name));
    Manager::start_with(clients, &options(), |table| table.add(Copies, 5))
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

fn writes(fake: &Fake) -> Vec<String> {
    fake.log().into_iter().filter(|line| !line.contains(" events ")).collect()
}

#[tokio::test(start_paused = true)]
async fn it_converges_and_then_writes_nothing() {
    let fake = Fake::default();
    fake.put("configmaps", original(3));
    let handle = start(&fake);
    handle.synced().await;
    until("three copies", || fake.get("configmaps", "default", "a-2").is_some()).await;
    until("the events", || fake.log().len() == 6).await;
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    let user = "system:serviceaccount:kube-system:copies-controller";
    let expected: Vec<String> =
        (0..3).map(|n| format!("POST configmaps a-{n} by {user}")).collect();
    assert_eq!(writes(&fake), expected);
    assert!(handle.is_idle());
    fake.put("configmaps", original(1));
    until("two are gone", || writes(&fake).len() == 5).await;
    handle.stop().await;
    let told = fake.list("events");
    assert_eq!(told.len(), 1, "the same event is counted");
    assert_eq!(told[0]["count"], 3);
    assert_eq!(told[0]["involvedObject"]["name"], "a");
    assert_eq!(told[0]["source"]["component"], "copies-controller");
}

#[tokio::test(start_paused = true)]
async fn y1_g3_a_key_waits_until_its_own_write_shows() {
    let fake = Fake::default();
    fake.put("configmaps", original(3));
    fake.hold();
    let handle = start(&fake);
    until("the first copy", || writes(&fake).len() == 1).await;
    fake.put("configmaps", original(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(writes(&fake).len(), 1, "no second decision from a cache without the first write");
    fake.release();
    until("the second copy", || writes(&fake).len() == 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(writes(&fake).len(), 2);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_told_and_tried_again() {
    let fake = Fake::default();
    fake.put("configmaps", original(1));
    fake.refuse(3);
    let handle = start(&fake);
    until("the copy", || fake.get("configmaps", "default", "a-0").is_some()).await;
    until("both events", || fake.list("events").len() == 2).await;
    handle.stop().await;
    let told: Vec<String> = fake
        .list("events")
        .iter()
        .map(|e| format!("{} {} x{}", e["type"], e["message"], e["count"]))
        .collect();
    assert_eq!(told, [r#""Warning" "no copy: exceeded quota" x3"#, r#""Normal" "made a copy" x1"#]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_is_made_up_for() {
    let fake = Fake::default();
    fake.put("configmaps", original(0));
    let handle = start(&fake);
    handle.synced().await;
    fake.cut();
    fake.put("configmaps", original(2));
    until("two copies", || fake.get("configmaps", "default", "a-1").is_some()).await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_controller_starts_and_an_idle_cluster_writes_nothing() {
    let fake = Fake::default();
    let service = fake.clone();
    let clients = move |name: &str| in_process(service.service(), identity(name));
    let handle = Manager::start(clients, &options());
    handle.synced().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(handle.is_idle());
    assert_eq!(fake.log(), Vec::<String>::new());
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_controller_has_a_name_for_the_command_line() {
    let fake = Fake::default();
    let service = fake.clone();
    let clients = move |name: &str| in_process(service.service(), identity(name));
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let dns = crate::Dns { cluster_ip: address, server: address, port: 53 };
    let options = Options { dns: Some(dns), ..options() };
    let handle = Manager::start(clients.clone(), &options);
    let found: BTreeSet<&str> = handle.figures().iter().map(|(name, _)| *name).collect();
    assert_eq!(found, crate::names::all().collect());
    let without = crate::enabled(&["*".to_owned(), "-statefulset".to_owned()]).unwrap();
    let handle = Manager::start(clients, &Options { only: without, ..options });
    let rest: BTreeSet<&str> = handle.figures().iter().map(|(name, _)| *name).collect();
    assert_eq!(found.difference(&rest).collect::<Vec<_>>(), [&crate::STATEFULSET]);
}

/// [`Copies`] that also looks at policies, as far as there are any.
struct Watchful;

impl Controller for Watchful {
    type View = View;

    fn name(&self) -> &'static str {
        "copies-controller"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        Arc::new(Copies).wakes(wakes);
        wakes.reads_if_served::<StatefulSetPolicy>();
        wakes.on::<StatefulSetPolicy>(|policy| vec![Key::of(&policy.metadata)]);
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<View> {
        let policies = caches.of::<StatefulSetPolicy>();
        let is_paused = |policy: Arc<StatefulSetPolicy>| policy.spec.paused == Some(true);
        if policies.get(&key.namespace, &key.name).is_some_and(is_paused) {
            return None;
        }
        Copies.view(key, caches, now)
    }

    fn reconcile(&self, view: &View) -> Plan {
        Copies.reconcile(view)
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_done_without_and_picked_up_later() {
    const PLURAL: &str = "statefulsetpolicies";
    let fake = Fake::default();
    fake.put("configmaps", original(1));
    fake.fail(PLURAL, Some(404));
    let service = fake.clone();
    let clients = move |name: &str| in_process(service.service(), identity(name));
    let handle = Manager::start_with(clients, &options(), |table| table.add(Watchful, 5));
    until("the copy", || fake.get("configmaps", "default", "a-0").is_some()).await;
    let asked = fake.watches(PLURAL);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = fake.watches(PLURAL) - asked;
    assert!((10..=21).contains(&asked), "twice a minute: {asked}");
    let policy = |paused: bool| {
        json!({"metadata": {"namespace": "default", "name": "a"},
            "spec": {"statefulSetName": "a", "paused": paused}})
    };
    fake.put(PLURAL, policy(true));
    fake.fail(PLURAL, None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    fake.put("configmaps", original(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fake.get("configmaps", "default", "a-1").is_none(), "the policy holds");
    fake.put(PLURAL, policy(false));
    until("the second copy", || fake.get("configmaps", "default", "a-1").is_some()).await;
    // The kind goes again: what was known of it goes with it.
    fake.put(PLURAL, policy(true));
    fake.fail(PLURAL, Some(404));
    fake.cut();
    tokio::time::sleep(Duration::from_secs(60)).await;
    fake.put("configmaps", original(3));
    until("the third copy", || fake.get("configmaps", "default", "a-2").is_some()).await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_nothing_is_written_and_it_is_known_why() {
    let fake = Fake::default();
    fake.put("configmaps", original(1));
    fake.fail("configmaps", Some(403));
    let handle = start(&fake);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(handle.unsynced(), ["configmaps"]);
    assert_eq!(writes(&fake), Vec::<String>::new());
    fake.fail("configmaps", None);
    until("the copy", || fake.get("configmaps", "default", "a-0").is_some()).await;
    assert_eq!(handle.unsynced(), Vec::<&str>::new());
    handle.stop().await;
}
