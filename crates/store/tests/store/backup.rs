//! Backups while it runs, and what they give back.

use expect_test::expect;
use store::{BackupError, DiskOptions, Expect, restore};

use crate::{SMALL, open_disk, put, shown};

#[tokio::test]
async fn a_backup_gives_back_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_disk(&folder.path().join("old"), SMALL).unwrap();
    for number in 0..50 {
        store.commit(vec![put(&format!("/{number:02}"), Expect::Absent, "v")]).await.unwrap();
    }
    let file = folder.path().join("stead.backup");
    let backup = store.backup(&file).await.unwrap();
    assert_eq!((backup.revision, backup.rows), (50, 50));
    let rows = store.list("", None, 0).rows;
    store.commit(vec![put("/later", Expect::Absent, "v")]).await.unwrap();

    let new = folder.path().join("new");
    restore(&file, &new).unwrap();
    let restored = open_disk(&new, DiskOptions::default()).unwrap();
    let listing = restored.list("", None, 0);
    assert_eq!((listing.revision, &listing.rows), (1_000_000_050, &rows));
    expect!["revision 51 is compacted; the oldest kept is 1000000050"]
        .assert_eq(&restored.watch("", 51).unwrap_err().to_string());
    restored.commit(vec![put("/later", Expect::Absent, "v")]).await.unwrap();
    restored.close().await;
    let again = open_disk(&new, DiskOptions::default()).unwrap();
    assert_eq!(shown(&again.list("/later", None, 0)), "1000000051: /later=v@1000000051! +0");

    let error = restore(&file, &new).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { path } if path == new));
}

#[tokio::test]
async fn an_empty_store_has_a_backup_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_disk(&folder.path().join("old"), SMALL).unwrap();
    let file = folder.path().join("stead.backup");
    store.backup(&file).await.unwrap();
    restore(&file, &folder.path().join("new")).unwrap();
    let restored = open_disk(&folder.path().join("new"), SMALL).unwrap();
    assert_eq!(shown(&restored.list("", None, 0)), "1000000000:  +0");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_by_name_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_disk(&folder.path().join("old"), SMALL).unwrap();
    for number in 0..5 {
        store.commit(vec![put(&format!("/{number}"), Expect::Absent, "v")]).await.unwrap();
    }
    let file = folder.path().join("stead.backup");
    store.backup(&file).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let new = folder.path().join("new");
    let refused = |bytes: &[u8], damage: String| {
        std::fs::write(&file, bytes).unwrap();
        match restore(&file, &new) {
            Err(BackupError::Journal(store::JournalError::Damaged { path, .. })) => {
                assert_eq!(path, file)
            }
            other => panic!("{damage}: {other:?}"),
        }
        assert!(!new.exists());
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        refused(&bytes, format!("flip at {at}"));
        refused(&whole[..at], format!("cut at {at}"));
    }
    refused(&[whole.as_slice(), &[0]].concat(), "longer".to_owned());
}
