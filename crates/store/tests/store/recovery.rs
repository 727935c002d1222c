//! What is there after a restart, an orderly one or a kill.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use expect_test::expect;
use store::{DiskJournal, DiskOptions, Expect, OpenError, Store, Window};

use crate::{Clock, SMALL, delete, open_disk, put, shown, told};

#[tokio::test]
async fn rows_revision_and_window_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for sizes in [DiskOptions::default(), SMALL] {
        let folder = folder.path().join(sizes.segment_bytes.to_string());
        let store = open_disk(&folder, sizes).unwrap();
        store
            .commit(vec![put("/a", Expect::Absent, "a"), put("/b", Expect::Absent, "b")])
            .await
            .unwrap();
        store.commit(vec![put("/a", Expect::Present, "A")]).await.unwrap();
        store.commit(vec![delete("/b", Expect::Present)]).await.unwrap();
        store.close().await;
        let store = open_disk(&folder, sizes).unwrap();
        assert_eq!(shown(&store.list("", None, 0)), "3: /a=A@2! +0");
        let mut watch = store.watch("", 1).unwrap();
        expect![[r#"
            2 /a a@1!->A@2!
            3 /b b@1!->last@3! gone"#]]
        .assert_eq(&told(&watch.next_batch(10).await.unwrap()));
        assert_eq!(store.commit(vec![put("/c", Expect::Absent, "c")]).await.unwrap().revision, 4);
        store.close().await;
    }
}

#[tokio::test]
async fn old_segments_go_and_the_window_stays() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::default();
    let window = Window { age_ms: 10, bytes: 1 << 20 };
    let journal = DiskJournal::open(folder.path(), SMALL).unwrap();
    let store = Store::open(journal, clock.options(window)).unwrap();
    let mut segments_max = 0;
    for number in 0..400_u64 {
        clock.set(number);
        let key = format!("/{}", number % 5);
        let op = if number < 5 { Expect::Absent } else { Expect::Present };
        store.commit(vec![put(&key, op, "some text to fill the file")]).await.unwrap();
        segments_max = segments_max.max(std::fs::read_dir(folder.path()).unwrap().count());
    }
    store.close().await;
    // 400 commits of about 80 bytes are some 60 segments of 600 bytes.
    assert!(segments_max < 30, "{segments_max} files");
    let journal = DiskJournal::open(folder.path(), SMALL).unwrap();
    let store = Store::open(journal, clock.options(window)).unwrap();
    assert_eq!((store.revision(), store.list("", None, 0).rows.len()), (400, 5));
    let mut watch = store.watch("", 390).unwrap();
    let events = watch.next_batch(100).await.unwrap();
    assert_eq!(events.len(), 10);
    for event in events {
        assert_eq!(event.before.unwrap().revision, event.revision - 5);
    }
}

#[test]
fn a_folder_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = DiskJournal::open(folder.path(), SMALL).unwrap();
    assert!(matches!(DiskJournal::open(folder.path(), SMALL), Err(OpenError::Locked { .. })));
    drop(first);
    DiskJournal::open(folder.path(), SMALL).unwrap();
}

/// Copies as a kill would leave the files: the note first, since it is the last to be written.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut paths: Vec<_> =
        std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_by_key(|path| !path.ends_with("acknowledged"));
    for path in paths {
        // An unfinished file may get its name meanwhile.
        if path.extension().is_none() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_time_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let sizes = DiskOptions { segment_bytes: 20_000, chunk_bytes: 4096 };
    let store = open_disk(&live, sizes).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let (store, acknowledged, stop) = (store.clone(), acknowledged.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut number = 0_u64;
            while !stop.load(Ordering::SeqCst) && number < 3000 {
                let op = put(&format!("/{writer}/{number}"), Expect::Absent, "some value");
                let revision = store.commit(vec![op]).await.unwrap().revision;
                acknowledged.fetch_max(revision, Ordering::SeqCst);
                number += 1;
            }
        }));
    }
    for copy in 0..40 {
        store.reached(copy * 10).await.unwrap();
        let to = folder.path().join(copy.to_string());
        let promised = acknowledged.load(Ordering::SeqCst);
        copy_folder(&live, &to);
        let reopened = open_disk(&to, sizes).unwrap();
        let found = reopened.revision();
        assert!(found >= promised, "copy {copy}: {found} of {promised}");
        assert_eq!(reopened.list("", None, 0).rows.len() as u64, found);
        reopened.commit(vec![put("/new", Expect::Absent, "v")]).await.unwrap();
        reopened.close().await;
        let again = open_disk(&to, sizes).unwrap();
        assert_eq!(again.revision(), found + 1);
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_torn_end_that_was_never_acknowledged_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = DiskOptions::default();
    let store = open_disk(folder.path(), sizes).unwrap();
    store.commit(vec![put("/a", Expect::Absent, "a")]).await.unwrap();
    let note = folder.path().join("acknowledged");
    let noted = std::fs::read(&note).unwrap();
    store.commit(vec![put("/b", Expect::Absent, "b")]).await.unwrap();
    store.close().await;
    let log = folder.path().join("log-00000000000000000001");
    let whole = std::fs::read(&log).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // As if the machine went down within the second write: any part of it may be there.
    for torn in used - 70..used {
        let mut bytes = whole.clone();
        bytes[torn..].fill(0);
        std::fs::write(&log, &bytes).unwrap();
        std::fs::write(&note, &noted).unwrap();
        let store = open_disk(folder.path(), sizes).unwrap();
        let found = shown(&store.list("", None, 0));
        assert_eq!(found, "1: /a=a@1! +0", "{torn} of {used}");
        store.commit(vec![put("/c", Expect::Absent, "c")]).await.unwrap();
        store.close().await;
        let store = open_disk(folder.path(), sizes).unwrap();
        assert_eq!(shown(&store.list("", None, 0)), "2: /a=a@1! /c=c@2! +0");
        store.close().await;
    }
}
