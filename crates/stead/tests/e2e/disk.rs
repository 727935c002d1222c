//! A full disk under the store: writes fail and say why, reads go on, and room is all it needs.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use crate::cluster::{Cluster, Turn, text};

/// Room for the store's files; its log grows by 1 MiB at a time.
const DISK: &str = "8m";
/// More objects of `OBJECT_BYTES` than the log's last piece holds.
const OBJECTS_MAX: usize = 100;
const OBJECT_BYTES: usize = 100_000;

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let _turn = Turn::take();
    let mut cluster = Cluster::new("disk", &[]);
    let store = cluster.data().join("store");
    cluster.before(&format!("mkdir -p {}", store.display()));
    cluster.before(&format!("mount -t tmpfs -o size={DISK} tmpfs {}", store.display()));
    cluster.up();
    let made = cluster.sh("kubectl create configmap before --from-literal=a=b");
    assert!(made.status.success(), "{}", text(&made));

    let inside = PathBuf::from(format!("/proc/{}/root", cluster.pid()));
    let filler = inside.join(store.strip_prefix("/").unwrap()).join("filler");
    fill(&filler);
    let value = cluster.folder.path().join("value");
    fs::write(&value, "x".repeat(OBJECT_BYTES)).unwrap();
    let create = |number: usize| {
        cluster
            .sh(&format!("kubectl create configmap big-{number} --from-file={}", value.display()))
    };
    let refused = (0..OBJECTS_MAX).map(create).find(|made| !made.status.success());
    let said = text(&refused.expect("a full disk refuses a write"));
    assert!(said.contains("no space left"), "it says why: {said}");

    let read = cluster.sh("kubectl get configmap before -o jsonpath='{.data.a}'");
    assert_eq!(text(&read), "b", "reads go on");
    fs::remove_file(&filler).unwrap();
    let after = cluster.sh("kubectl create configmap after --from-literal=a=b");
    assert!(after.status.success(), "with room it writes again: {}", text(&after));

    let found = text(&cluster.sh("kubectl get configmaps -o name"));
    cluster.kill();
    assert!(found.contains("configmap/before") && found.contains("configmap/after"), "{found}");
}

/// Writes until nothing more fits.
fn fill(path: &PathBuf) {
    let mut file = File::create(path).unwrap();
    let block = [0; 4096];
    loop {
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}
