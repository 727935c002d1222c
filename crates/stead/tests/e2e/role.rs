//! The first node bears the role of the control plane, however often it registers.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Turn, text};

const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
fn the_first_node_is_the_control_plane() {
    let _turn = Turn::take();
    let cluster = Cluster::start("role", &[]);
    shows(&cluster, "control-plane");
    let node = text(&cluster.sh("kubectl get nodes -o name"));
    let node = node.trim();
    let taken = cluster.sh(&format!("kubectl label {node} node-role.kubernetes.io/control-plane-"));
    assert!(taken.status.success(), "{}", text(&taken));
    shows(&cluster, "<none>");
}

/// Waits until the node's column ROLES says this.
#[expect(clippy::disallowed_methods, reason = "a person's view is made of programs and time")]
fn shows(cluster: &Cluster, role: &str) {
    let started = Instant::now();
    loop {
        let nodes = text(&cluster.sh("kubectl get nodes --no-headers"));
        if nodes.split_whitespace().nth(2) == Some(role) {
            return;
        }
        assert!(started.elapsed() < WAIT_MAX, "no {role} in {nodes}");
    }
}
