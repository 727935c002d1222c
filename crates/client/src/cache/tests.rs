//! Rows: a cache after a sequence of events, who was woken, and which writes it shows.

use expect_test::{Expect, expect};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
};

use super::*;

fn pod(name: &str, uid: &str, version: u64, owner: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("default".to_owned());
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.uid = Some(uid.to_owned());
    pod.metadata.resource_version = Some(version.to_string());
    pod.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
    if !owner.is_empty() {
        let owner = OwnerReference { uid: owner.to_owned(), ..OwnerReference::default() };
        pod.metadata.owner_references = Some(vec![owner]);
    }
    pod
}

fn cache() -> Cache<Pod> {
    let cache = Cache::new(None);
    cache.add_index(("uid", |pod: &Pod| pod.metadata.uid.clone().into_iter().collect()));
    cache
}

fn names(pods: &[Arc<Pod>]) -> String {
    let names = pods.iter().map(|pod| pod.metadata.name.clone().unwrap_or_default());
    names.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(events: Vec<Event<Pod>>, expected: Expect) {
    let cache = cache();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&woken);
    let wake = Arc::new(move |key: Key| log.lock().unwrap().push(key.name));
    cache.subscribe(
        |old, new| old.or(new).map(|pod| Key::of(&pod.metadata)).into_iter().collect(),
        wake,
    );
    events.into_iter().for_each(|event| cache.apply(event));
    let text = format!(
        "synced {}\nall: {}\nowned by s: {}\nuid a1: {}\nwoken: {}\n",
        cache.is_synced(),
        names(&cache.list()),
        names(&cache.owned_by("s")),
        names(&cache.by("uid", "a1")),
        woken.lock().unwrap().join(" "),
    );
    expected.assert_eq(&text);
    assert!(cache.list().iter().all(|pod| pod.metadata.managed_fields.is_none()));
}

#[test]
fn a_list_shows_only_when_complete() {
    check(
        vec![Event::Init, Event::InitApply(pod("a", "a1", 5, "s"))],
        expect![[r#"
            synced false
            all: 
            owned by s: 
            uid a1: 
            woken: 
        "#]],
    );
}

#[test]
fn a_second_list_wakes_only_what_differs() {
    check(
        vec![
            Event::Init,
            Event::InitApply(pod("c", "c1", 7, "")),
            Event::InitApply(pod("a", "a1", 5, "s")),
            Event::InitApply(pod("b", "b1", 6, "s")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(pod("a", "a1", 5, "s")),
            Event::InitApply(pod("b", "b1", 9, "t")),
            Event::InitDone,
        ],
        expect![[r#"
            synced true
            all: a b
            owned by s: a
            uid a1: a
            woken: a b c b c
        "#]],
    );
}

#[test]
fn a_repeated_event_wakes_nobody() {
    check(
        vec![
            Event::Apply(pod("a", "a1", 5, "s")),
            Event::Apply(pod("a", "a1", 5, "s")),
            Event::Delete(pod("a", "a1", 6, "s")),
            Event::Delete(pod("a", "a1", 6, "s")),
        ],
        expect![[r#"
            synced false
            all: 
            owned by s: 
            uid a1: 
            woken: a a
        "#]],
    );
}

fn expected(name: &str, uid: &str, version: u64) -> Expectation {
    Expectation {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        version,
        lists: None,
    }
}

#[test]
fn freshness_rows() {
    let cache = cache();
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(pod("a", "a1", 5, "")));
    cache.apply(Event::InitDone);
    let rows = [
        ("an answer that changed nothing counts as seen", expected("a", "a1", 5), true),
        ("an update that has not arrived", expected("a", "a1", 6), false),
        ("a create that has not arrived", expected("b", "b1", 6), false),
        ("a create that came and went, or was seen long ago", expected("b", "b1", 4), true),
        ("a deletion that has not arrived", expected("a", "a1", u64::MAX), false),
        ("a deletion whose uid is gone", expected("a", "a0", u64::MAX), true),
        ("a deletion of what is absent", expected("z", "z1", u64::MAX), true),
    ];
    for (row, expectation, shows) in rows {
        assert_eq!(cache.shows(&expectation), shows, "{row}");
    }
    let mut create = expected("b", "b1", 9);
    cache.expect(&mut create);
    cache.apply(Event::Init);
    assert!(!cache.shows(&create), "a list that has only begun proves nothing");
    cache.apply(Event::InitDone);
    assert!(cache.shows(&create), "a list begun after the answer is newer than it");
}

#[tokio::test(start_paused = true)]
async fn a_failed_watch_is_tried_again() {
    let cache = cache();
    let failing = futures::stream::iter(vec![
        Err(watcher::Error::NoResourceVersion),
        Ok(Event::Init),
        Ok(Event::InitApply(pod("a", "a1", 5, ""))),
        Ok(Event::InitDone),
    ]);
    let before = tokio::time::Instant::now();
    cache.follow("pods", 1, failing).await;
    assert!(before.elapsed() >= FIRST_RETRY);
    let any: &dyn AnyCache = &cache;
    any.synced().await;
    any.seen(&expected("a", "a1", 5)).await;
}
