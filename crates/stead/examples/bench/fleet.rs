//! Nodes without machines: they beat, and their pods are Ready as soon as they are assigned.
//!
//! They speak to the API over HTTPS, from this process, as kubelets would; what is left to measure
//! is the API server, the store, the controllers and the scheduler.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::is_ready;

/// What pods for these nodes select, and bear.
pub(crate) const LABEL: &str = "bench.stead.io/fake";
const NODES: usize = 10;
/// Room on each node; ten thousand pods shall find it.
const PODS_MAX: &str = "2000";
/// Statuses that are under way at once.
const AT_ONCE: usize = 32;
/// Between two heartbeats; a node that is silent for 50 s is taken for lost.
const BEAT: Duration = Duration::from_secs(8);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The nodes; dropped, they fall silent.
pub(crate) struct Fleet {
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Registers the nodes; returns once pods may go to all of them.
    pub(crate) async fn open(client: &Client) -> Result<Self> {
        let nodes: Api<Node> = Api::all(client.clone());
        let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
        for number in 0..NODES {
            let name = format!("fake-{number}");
            let node: Node = serde_json::from_value(node(&name))?;
            nodes.create(&PostParams::default(), &node).await?;
            let lease: Lease = serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micros()}
            }))?;
            leases.create(&PostParams::default(), &lease).await?;
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(leases));
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        tasks.spawn(async move {
            if let Err(error) = kubelets(pods).await {
                eprintln!("the fake nodes do not serve any more: {error:#}");
            }
        });
        let open = async {
            loop {
                let all = nodes.list(&ListParams::default().labels(LABEL)).await?;
                let closed = |node: &Node| node.spec.as_ref().is_some_and(|s| s.taints.is_some());
                if !all.iter().any(closed) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, open).await.context("the fake nodes stay closed")??;
        Ok(Self { _tasks: tasks })
    }
}

fn node(name: &str) -> Value {
    let room = json!({"cpu": "1000", "memory": "1000Gi", "pods": PODS_MAX});
    json!({
        "metadata": {"name": name, "labels": {LABEL: "", "kubernetes.io/hostname": name}},
        "status": {
            "capacity": room, "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": Timestamp::now(), "lastTransitionTime": Timestamp::now()}]
        }
    })
}

/// Microseconds are as fine as a Lease goes.
fn micros() -> String {
    format!("{:.6}", Timestamp::now())
}

async fn beat(leases: Api<Lease>) {
    loop {
        tokio::time::sleep(BEAT).await;
        for number in 0..NODES {
            let renewed = Patch::Merge(json!({"spec": {"renewTime": micros()}}));
            let name = format!("fake-{number}");
            if let Err(error) = leases.patch(&name, &PatchParams::default(), &renewed).await {
                eprintln!("{name} does not beat: {error}");
            }
        }
    }
}

/// Answers each assignment with a status, and each deletion with its end.
async fn kubelets(pods: Api<Pod>) -> Result<()> {
    let events = pods.watch(&WatchParams::default().labels(LABEL), "0").await?;
    events
        .for_each_concurrent(AT_ONCE, |event| async {
            let answered = match event {
                Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => serve(&pods, &pod).await,
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match answered {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => (),
                Err(error) => eprintln!("a fake node: {error}"),
                Ok(()) => (),
            }
        })
        .await;
    anyhow::bail!("the watch ended")
}

async fn serve(pods: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
    let assigned = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if pod.metadata.deletion_timestamp.is_some() {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    } else if assigned && !is_ready(pod) {
        let status = Patch::Strategic(status(pod));
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
    }
    Ok(())
}

/// What a kubelet says of a pod of one container that runs.
fn status(pod: &Pod) -> Value {
    let now = Timestamp::now();
    let is = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {
            "phase": "Running", "startTime": now, "hostIP": "192.0.2.1",
            "hostIPs": [{"ip": "192.0.2.1"}],
            "podIP": "198.51.100.1", "podIPs": [{"ip": "198.51.100.1"}],
            "conditions": [is("PodReadyToStartContainers"), is("Initialized"), is("Ready"),
                is("ContainersReady")],
            "containerStatuses": [{
                "name": "main", "image": "docker.io/library/none:1", "imageID": "none@sha256:0",
                "containerID": "fake://0", "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": now}}
            }]
        }
    })
}
