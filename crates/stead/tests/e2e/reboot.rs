//! The machine goes down and comes up: sets come back with their data.

#![expect(clippy::disallowed_methods, reason = "a person waits, by the clock")]
#![expect(clippy::print_stderr, reason = "a test tells what it does")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use host::{net::Network, nft::Firewall};

use crate::{
    cluster::{Cluster, Turn, text},
    survival::containers::processes_of,
};

const WAIT_MAX: Duration = Duration::from_secs(60);
/// Name, uid, address, restart count and Ready of each pod, one a line.
const PODS: &str = "kubectl get pods -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.uid} \
    {.status.podIP} {.status.containerStatuses[0].restartCount} \
    {.status.containerStatuses[0].ready}{\"\\n\"}{end}'";

/// A pod as that line says it.
#[derive(Debug, Clone)]
struct Pod {
    uid: String,
    address: String,
    restarts: String,
    ready: bool,
}

fn pods(cluster: &Cluster) -> BTreeMap<String, Pod> {
    let mut found = BTreeMap::new();
    for line in text(&cluster.sh(PODS)).lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        let (name, uid, address, restarts) = (next(), next(), next(), next());
        let ready = next() == "true";
        found.insert(name, Pod { uid, address, restarts, ready });
    }
    found
}

fn wait(cluster: &Cluster, what: &str, done: impl Fn(&BTreeMap<String, Pod>) -> bool) {
    let began = Instant::now();
    loop {
        let pods = pods(cluster);
        if done(&pods) {
            return eprintln!("{what} after {:?}", began.elapsed());
        }
        if began.elapsed() > WAIT_MAX {
            let events = text(&cluster.sh("kubectl get events; kubectl describe pods"));
            panic!("never: {what}: {pods:#?}\n{events}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ends every process of the cluster at once, and takes away all that lives with a machine's run.
fn power_off(cluster: &mut Cluster) {
    let group = format!("/stead-{}", cluster.tag());
    cluster.kill();
    loop {
        let left = processes_of(&group);
        if left.is_empty() {
            break;
        }
        for pid in left {
            // It may have ended with its keeper.
            drop(cluster.sh(&format!("kill -9 {pid}")));
        }
    }
    // The mounts were in the mount namespace of those processes.
    fs::remove_dir_all(format!("/run/stead/{}", cluster.tag())).unwrap();
    Network::down(&cluster.tag()).unwrap();
    Firewall::open(&cluster.tag()).unwrap().remove().unwrap();
    let groups = format!("find /sys/fs/cgroup -depth -type d -path '*{group}*' -exec rmdir {{}} +");
    let removed = cluster.sh(&groups);
    assert!(removed.status.success(), "{}", text(&removed));
}

fn answer(cluster: &Cluster, pod: &Pod, flags: &str) -> String {
    text(&cluster.sh(&format!("curl -sS --max-time 5 {flags} http://{}:8080/", pod.address)))
}

#[test]
fn sets_come_back_with_their_data_after_a_reboot() {
    let _turn = Turn::take();
    let mut cluster = Cluster::start("reboot", &[]);
    cluster.import(&["kubia-pet.tar"]);
    for set in ["one", "two"] {
        let applied = cluster.sh(&format!("kubectl apply -f - <<'END'\n{}\nEND\n", manifest(set)));
        assert!(applied.status.success(), "{}", text(&applied));
    }
    wait(&cluster, "both sets run", |pods| pods.len() == 6 && pods.values().all(|pod| pod.ready));
    let before = pods(&cluster);
    for (name, pod) in &before {
        let said = answer(&cluster, pod, &format!("-d written-to-{name}"));
        assert!(said.contains("Data stored on pod"), "{name}: {said}");
    }
    power_off(&mut cluster);
    let boot = cluster.folder.path().join("boot_id");
    fs::write(&boot, "7fe1d3a5-1f55-4ae1-9d7c-0123456789ab\n").unwrap();
    cluster.before(&format!("mount --bind {} /proc/sys/kernel/random/boot_id", boot.display()));
    cluster.up();
    wait(&cluster, "both sets run again", |pods| {
        pods.len() == 6 && pods.values().all(|pod| pod.ready && pod.restarts == "1")
    });
    let after = pods(&cluster);
    let addresses: BTreeSet<&String> = after.values().map(|pod| &pod.address).collect();
    assert_eq!(addresses.len(), 6, "each pod has its own address: {after:#?}");
    for (name, pod) in &after {
        assert_eq!(pod.uid, before[name].uid, "{name} is the same pod");
        let said = answer(&cluster, pod, "");
        assert!(said.contains(&format!("hit {name}")), "{name}: {said}");
        assert!(said.contains(&format!("written-to-{name}")), "{name} lost its data: {said}");
    }
}

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  replicas: 3
  serviceName: {name}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: pet
        image: luksa/kubia-pet
        imagePullPolicy: IfNotPresent
        volumeMounts: [{{name: data, mountPath: /var/data}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}"
    )
}
