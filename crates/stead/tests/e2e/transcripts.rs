//! The transcripts, replayed line by line, each on a fresh cluster.

#![expect(
    clippy::disallowed_methods,
    reason = "a read is repeated until its write has taken effect"
)]
#![expect(clippy::print_stderr, reason = "a test tells what it does")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Cluster, Turn, root, text},
    pattern,
    script::{self, Step},
};

/// How long a read may be repeated after a write.
const READ_MAX: Duration = Duration::from_secs(10);

/// What a cluster at other addresses prints instead.
type Renames = [(&'static str, &'static str)];

fn replay(cluster: &Cluster, transcript: &str, renames: &Renames) {
    replay_file(cluster, &root().join("tests/transcripts").join(transcript), renames);
}

/// Replays the script of this file.
pub(crate) fn replay_file(cluster: &Cluster, path: &Path, renames: &Renames) {
    let transcript = path.file_name().unwrap_or_default().display();
    for step in script::read(path) {
        let step = renamed(step, renames);
        let started = Instant::now();
        loop {
            let output = cluster.sh(&step.command);
            let printed = text(&output);
            let status = output.status.code().unwrap_or(-1);
            let wrong = if status == step.status {
                pattern::check(&step.output, &printed).err()
            } else {
                Some(format!("exit status {status}, expected {}:\n{printed}", step.status))
            };
            match wrong {
                None => break eprintln!("{transcript}:{}: {}", step.line, step.command),
                Some(_) if step.is_read() && started.elapsed() < READ_MAX => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Some(wrong) => {
                    let about =
                        cluster.sh("kubectl get pods,pvc,pv,sts -A -o wide; kubectl get events -A");
                    panic!(
                        "{transcript}:{}: $ {}\n{wrong}\n{}",
                        step.line,
                        step.command,
                        text(&about)
                    );
                }
            }
        }
    }
}

fn renamed(mut step: Step, renames: &Renames) -> Step {
    for (from, to) in renames {
        step.command = step.command.replace(from, to);
        for line in &mut step.output {
            *line = line.replace(from, to);
        }
    }
    step
}

#[test]
fn topology() {
    let _turn = Turn::take();
    let cluster = Cluster::start("topology", &[]);
    cluster.import(&["nginx.tar", "busybox.tar"]);
    replay(&cluster, "1-topology.md", &[]);
}

#[test]
fn storage_that_an_administrator_prepared() {
    let _turn = Turn::take();
    let cluster = Cluster::start("static", &[]);
    cluster.import(&["nginx.tar"]);
    replay(&cluster, "2-storage-static.md", &[]);
    // The sentence after the last block: the volume is Released until a person clears its claimRef.
    let released =
        "kubectl get pv -o jsonpath='{.items[*].status.phase}' | tr ' ' '\\n' | grep -c Released";
    assert_eq!(text(&cluster.sh(released)).trim(), "1");
}

#[test]
fn storage_that_the_cluster_makes() {
    let _turn = Turn::take();
    let cluster = Cluster::start("dynamic", &[]);
    cluster.import(&["nginx.tar"]);
    replay(&cluster, "3-storage-dynamic.md", &[]);
}

#[test]
fn each_pod_with_its_own_data_and_updates_from_the_top() {
    let _turn = Turn::take();
    let mut cluster = Cluster::start("kubia", &[]);
    cluster.import(&["kubia-pet.tar", "kubia-pet-peers.tar"]);
    cluster.beside("kubectl proxy --port=8001");
    replay(&cluster, "4-kubia.md", &[]);
    replay(&cluster, "5-updates.md", &[]);
}

#[test]
fn two_clusters_side_by_side() {
    let _turn = Turn::take();
    let one = Cluster::start("one", &[]);
    let flags = [
        "--port 7443 --kubelet-port 11250 --pod-cidr 10.245.0.0/16 --service-cidr 10.97.0.0/16",
        "--node-port-range 29000-29999",
    ];
    let two = Cluster::start("two", &flags);
    let there = [("10.96.0.10", "10.97.0.10"), ("10.0.96.10.in-addr", "10.0.97.10.in-addr")];
    for cluster in [&one, &two] {
        cluster.import(&["nginx.tar", "busybox.tar"]);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| replay(&one, "1-topology.md", &[]));
        scope.spawn(|| replay(&two, "1-topology.md", &there));
    });
}
