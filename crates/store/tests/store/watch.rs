//! Cursors: order, lag, compaction, ends.

use expect_test::expect;
use store::{Expect, MemoryJournal, Options, Store, WatchError, Window};

use crate::{Clock, delete, put, shown, told};

#[tokio::test]
async fn a_cursor_sees_its_prefix_with_rows_before_and_after() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    let mut watch = store.watch("/a/", 0).unwrap();
    let mut later = store.watch("/a/", 3).unwrap();
    let waiting = tokio::spawn(async move {
        let first = watch.next().await.unwrap();
        (watch, first)
    });
    store.commit(vec![put("/b/1", Expect::Absent, "no")]).await.unwrap();
    store.commit(vec![put("/a/1", Expect::Absent, "x")]).await.unwrap();
    let (mut watch, first) = waiting.await.unwrap();
    assert_eq!(told(&[first]), "2 /a/1 -->x@2!");
    store
        .commit(vec![put("/a/1", Expect::At(2), "y"), put("/a/2", Expect::Absent, "z")])
        .await
        .unwrap();
    store.commit(vec![delete("/a/1", Expect::At(3))]).await.unwrap();
    expect![[r#"
        3 /a/1 x@2!->y@3!
        3 /a/2 -->z@3!
        4 /a/1 y@3!->last@4! gone"#]]
    .assert_eq(&told(&watch.next_batch(10).await.unwrap()));
    assert_eq!(told(&later.next_batch(10).await.unwrap()), "4 /a/1 y@3!->last@4! gone");
    assert_eq!(watch.seen(), 4);
}

#[tokio::test]
async fn seen_never_claims_half_a_commit() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    store.commit(vec![put("/a", Expect::Absent, "a")]).await.unwrap();
    store
        .commit(vec![put("/b", Expect::Absent, "b"), put("/c", Expect::Absent, "c")])
        .await
        .unwrap();
    store.commit(vec![put("/other", Expect::Absent, "o")]).await.unwrap();
    let mut watch = store.watch("", 0).unwrap();
    let mut steps = Vec::new();
    for _ in 0..4 {
        let event = watch.next().await.unwrap();
        steps.push((event.revision, watch.seen()));
    }
    assert_eq!(steps, [(1, 1), (2, 1), (2, 2), (3, 3)]);
    // Events of others move what a bookmark may say.
    let mut quiet = store.watch("/quiet", 0).unwrap();
    assert_eq!(quiet.take(10).unwrap(), []);
    assert_eq!(quiet.seen(), 3);
}

#[tokio::test]
async fn a_watch_after_a_revision_to_come_waits_for_it() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    let mut watch = store.watch("", 2).unwrap();
    for key in ["/1", "/2", "/3"] {
        store.commit(vec![put(key, Expect::Absent, "v")]).await.unwrap();
    }
    assert_eq!(told(&watch.next_batch(10).await.unwrap()), "3 /3 -->v@3!");
    assert_eq!(store.reached(3).await, Ok(3));
}

#[tokio::test]
async fn the_window_ends_by_bytes_and_by_age_and_whole_commits() {
    let clock = Clock::default();
    let window = Window { age_ms: 100, bytes: 30 };
    let store = Store::open(MemoryJournal::default(), clock.options(window)).unwrap();
    let mut slow = store.watch("", 0).unwrap();
    // Each row counts 5: "v@1!" and its index "v".
    store
        .commit(vec![put("/1", Expect::Absent, "v"), put("/2", Expect::Absent, "v")])
        .await
        .unwrap();
    store
        .commit(vec![put("/3", Expect::Absent, "v"), put("/4", Expect::Absent, "v")])
        .await
        .unwrap();
    store
        .commit(vec![put("/5", Expect::Absent, "v"), put("/6", Expect::Absent, "v")])
        .await
        .unwrap();
    assert_eq!(store.oldest(), 0);
    store.commit(vec![put("/7", Expect::Absent, "v")]).await.unwrap();
    // The trimming follows the acknowledgement; the next answer comes behind it.
    store.commit(vec![put("/1", Expect::Absent, "v")]).await.unwrap_err();
    assert_eq!(store.oldest(), 1);
    assert_eq!(slow.next().await, Err(WatchError::Compacted { asked: 0, oldest: 1 }));
    assert_eq!(store.watch("", 0).map(drop), Err(WatchError::Compacted { asked: 0, oldest: 1 }));
    assert_eq!(
        store.list_at("", None, 1, 0).unwrap_err().to_string(),
        "revision 0 is compacted; the oldest kept is 1"
    );
    assert_eq!(shown(&store.list_at("", None, 1, 1).unwrap()), "1: /1=v@1! +1");
    clock.set(101);
    store.commit(vec![put("/8", Expect::Absent, "v")]).await.unwrap();
    store.commit(vec![put("/1", Expect::Absent, "v")]).await.unwrap_err();
    assert_eq!(store.oldest(), 4);
    assert_eq!(told(&store.watch("", 4).unwrap().take(9).unwrap()), "5 /8 -->v@5!");
}

#[tokio::test]
async fn an_idle_cursor_outlives_the_window_and_a_slow_one_does_not() {
    let clock = Clock::default();
    let window = Window { age_ms: 100, bytes: 30 };
    let store = Store::open(MemoryJournal::default(), clock.options(window)).unwrap();
    let (mut idle, mut slow) = (store.watch("/a/", 0).unwrap(), store.watch("/b/", 0).unwrap());
    for number in 0..20 {
        store.commit(vec![put(&format!("/b/{number}"), Expect::Absent, "v")]).await.unwrap();
    }
    // The trimming follows the acknowledgement; the next answer comes behind it.
    store.commit(vec![put("/b/1", Expect::Absent, "v")]).await.unwrap_err();
    assert!(store.oldest() > 0);
    let waiting = tokio::spawn(async move {
        let first = idle.next().await.unwrap();
        (idle, first)
    });
    store.commit(vec![put("/a/1", Expect::Absent, "x")]).await.unwrap();
    let (mut idle, first) = waiting.await.unwrap();
    assert_eq!(told(&[first]), "21 /a/1 -->x@21!");
    let asked = 0;
    let oldest = store.oldest();
    assert_eq!(slow.next().await, Err(WatchError::Compacted { asked, oldest }));
    // What it has not taken and is forgotten is lost for an idle one, too.
    store.commit(vec![put("/a/2", Expect::Absent, "x")]).await.unwrap();
    clock.set(101);
    store.commit(vec![put("/b/c", Expect::Absent, "v")]).await.unwrap();
    store.commit(vec![put("/b/c", Expect::Absent, "v")]).await.unwrap_err();
    assert!(matches!(idle.next().await, Err(WatchError::Compacted { asked: 21, .. })));
}

#[tokio::test]
async fn a_closed_store_ends_its_watches_after_their_last_event() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    let mut watch = store.watch("", 0).unwrap();
    let mut waiting = store.watch("", 1).unwrap();
    let waiting = tokio::spawn(async move { waiting.next().await });
    store.commit(vec![put("/1", Expect::Absent, "v")]).await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(told(&[watch.next().await.unwrap()]), "1 /1 -->v@1!");
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    assert_eq!(waiting.await.unwrap(), Err(WatchError::Closed));
    assert_eq!(store.reached(9).await, Err(WatchError::Closed));
}
