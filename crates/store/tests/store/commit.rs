//! Commits, expectations, reads, full disks.

use std::sync::{Arc, Mutex};

use expect_test::{Expect as Text, expect};
use store::{CommitError, Event, Expect, Fault, MemoryJournal, Op, Options, Store};

use crate::{delete, put, shown, told};

async fn check(commits: Vec<Vec<Op>>, want: Text) {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    let mut lines = Vec::new();
    for ops in commits {
        lines.push(match store.commit(ops).await {
            Ok(committed) => format!("{} {}", committed.revision, committed.rows.len()),
            Err(error) => error.to_string(),
        });
    }
    lines.push(shown(&store.list("", None, 0)));
    want.assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_hole_is_filled_with_the_revision() {
    check(
        vec![vec![put("/a", Expect::Absent, "x"), put("/b", Expect::Absent, "y")]],
        expect![[r#"
            1 2
            1: /a=x@1! /b=y@1! +0"#]],
    )
    .await;
}

#[tokio::test]
async fn expectations() {
    check(
        vec![
            vec![put("/a", Expect::Present, "x")],
            vec![put("/a", Expect::At(1), "x")],
            vec![put("/a", Expect::Absent, "x")],
            vec![put("/a", Expect::Absent, "x")],
            vec![put("/a", Expect::At(7), "x")],
            vec![put("/a", Expect::At(1), "y")],
            vec![put("/a", Expect::Present, "z")],
            vec![delete("/a", Expect::At(2))],
            vec![delete("/a", Expect::At(3))],
            vec![delete("/a", Expect::Present)],
            vec![put("/a", Expect::Absent, "again")],
        ],
        expect![[r#"
            /a: expected Present, found revision None
            /a: expected At(1), found revision None
            1 1
            /a: expected Absent, found revision Some(1)
            /a: expected At(7), found revision Some(1)
            2 1
            3 1
            /a: expected At(2), found revision Some(3)
            4 1
            /a: expected Present, found revision None
            5 1
            5: /a=again@5! +0"#]],
    )
    .await;
}

#[tokio::test]
async fn all_or_nothing_and_a_key_once() {
    check(
        vec![
            vec![put("/a", Expect::Absent, "x"), put("/b", Expect::Present, "y")],
            vec![put("/a", Expect::Absent, "x"), put("/a", Expect::Absent, "y")],
            vec![],
            vec![put("/b", Expect::Absent, "y")],
        ],
        expect![[r#"
            /b: expected Present, found revision None
            /a: expected Absent, found revision None
            0 0
            1 1
            1: /b=y@1! +0"#]],
    )
    .await;
}

#[tokio::test]
async fn pages_and_prefixes() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    for key in ["/p/b", "/p/a", "/q", "/p", "/p/c", "/o"] {
        store.commit(vec![put(key, Expect::Absent, "v")]).await.unwrap();
    }
    let rows = [
        ("/p/", None, 0, "6: /p/a=v@2! /p/b=v@1! /p/c=v@5! +0"),
        ("/p/", None, 2, "6: /p/a=v@2! /p/b=v@1! +1"),
        ("/p/", Some("/p/b"), 2, "6: /p/c=v@5! +0"),
        ("/p/", Some("/p/aa"), 1, "6: /p/b=v@1! +1"),
        ("/p/", Some("/a"), 1, "6: /p/a=v@2! +2"),
        ("/p/", Some("/p/c"), 1, "6:  +0"),
        ("/z", None, 0, "6:  +0"),
    ];
    for (prefix, start_after, limit, want) in rows {
        assert_eq!(
            shown(&store.list(prefix, start_after, limit)),
            want,
            "{prefix} {start_after:?}"
        );
    }
    assert_eq!(store.get("/q").unwrap().revision, 3);
    assert_eq!(store.get("/nobody"), None);
}

#[tokio::test]
async fn lists_at_older_revisions() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    for ops in [
        vec![put("/a", Expect::Absent, "a")],
        vec![put("/b", Expect::Absent, "b"), put("/c", Expect::Absent, "c")],
        vec![put("/a", Expect::Present, "A")],
        vec![delete("/b", Expect::Present), put("/d", Expect::Absent, "d")],
        vec![put("/b", Expect::Absent, "B")],
    ] {
        store.commit(ops).await.unwrap();
    }
    let rows = [
        (0, None, 0, "0:  +0"),
        (1, None, 0, "1: /a=a@1! +0"),
        (2, None, 0, "2: /a=a@1! /b=b@2! /c=c@2! +0"),
        (2, None, 1, "2: /a=a@1! +2"),
        (2, Some("/a"), 1, "2: /b=b@2! +1"),
        (3, None, 0, "3: /a=A@3! /b=b@2! /c=c@2! +0"),
        (4, None, 0, "4: /a=A@3! /c=c@2! /d=d@4! +0"),
        (5, Some("/a"), 0, "5: /b=B@5! /c=c@2! /d=d@4! +0"),
    ];
    for (at, start_after, limit, want) in rows {
        let listing = store.list_at("/", start_after, limit, at).unwrap();
        assert_eq!(shown(&listing), want);
    }
    expect!["revision 6 is not yet written; the latest is 5"]
        .assert_eq(&store.list_at("/", None, 0, 6).unwrap_err().to_string());
}

#[tokio::test]
async fn a_failing_disk_fails_writes_only() {
    let journal = MemoryJournal::default();
    let store = Store::open(journal.clone(), Options::default()).unwrap();
    store.commit(vec![put("/a", Expect::Absent, "x")]).await.unwrap();
    let mut watch = store.watch("/", 0).unwrap();
    for fault in [Fault::Full, Fault::Io] {
        journal.set_fault(fault);
        let error = store.commit(vec![put("/b", Expect::Absent, "y")]).await.unwrap_err();
        assert!(matches!(error, CommitError::Journal(_)), "{error}");
        assert_eq!(shown(&store.list("", None, 0)), "1: /a=x@1! +0");
    }
    journal.set_fault(Fault::None);
    store.commit(vec![put("/b", Expect::Absent, "y")]).await.unwrap();
    assert_eq!(told(&watch.take(10).unwrap()), "1 /a -->x@1!\n2 /b -->y@2!");
    store.close().await;
    assert!(matches!(
        store.commit(vec![put("/c", Expect::Absent, "y")]).await,
        Err(CommitError::Closed)
    ));
}

#[tokio::test]
async fn concurrent_commits_share_a_batch_and_each_has_its_revision() {
    let journal = MemoryJournal::default();
    let store = Store::open(journal.clone(), Options::default()).unwrap();
    let mut tasks = Vec::new();
    for writer in 0..50 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..20 {
                let key = format!("/{writer}/{number}");
                let committed = store.commit(vec![put(&key, Expect::Absent, "v")]).await.unwrap();
                // Read your own write, at once.
                assert_eq!(store.get(&key).unwrap().revision, committed.revision);
                revisions.push(committed.revision);
            }
            revisions
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        let revisions = task.await.unwrap();
        assert!(revisions.is_sorted());
        all.extend(revisions);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=1000).collect::<Vec<u64>>());
    assert!(journal.appends() <= 1000);
}

#[tokio::test]
async fn of_many_who_expect_the_same_revision_one_wins() {
    let store = Store::open(MemoryJournal::default(), Options::default()).unwrap();
    store.commit(vec![put("/a", Expect::Absent, "0")]).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.commit(vec![put("/a", Expect::At(1), "1")]).await.is_ok()
        }));
    }
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!((won, store.revision()), (1, 2));
}

#[tokio::test]
async fn the_observer_is_told_in_order_before_anyone_reads() {
    let journal = MemoryJournal::default();
    let store = Store::open(journal.clone(), Options::default()).unwrap();
    store.commit(vec![put("/old", Expect::Absent, "o")]).await.unwrap();
    store.close().await;
    let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
    let sink = seen.clone();
    let options = Options {
        observer: Some(Arc::new(move |event: &Event| sink.lock().unwrap().push(event.clone()))),
        ..Options::default()
    };
    let store = Store::open(journal, options).unwrap();
    store.commit(vec![put("/a", Expect::Absent, "a")]).await.unwrap();
    store.commit(vec![delete("/a", Expect::Present)]).await.unwrap();
    expect![[r#"
        1 /old -->o@1!
        2 /a -->a@2!
        3 /a a@2!->last@3! gone"#]]
    .assert_eq(&told(&seen.lock().unwrap()));
}
