//! The role that `kubectl get nodes` shows of the node that runs the API server.
//!
//! A node's own identity may not give it (upstream's NodeRestriction), so the administrator's does,
//! as `kubeadm` has it. Each registration is labelled once: who takes the label off meanwhile is
//! heard until the next start.

use std::time::Duration;

use api::k8s::api::core::v1::Node;
use client::{
    Identity,
    kube::{
        Api, ResourceExt as _,
        api::{Patch, PatchParams},
        runtime::{WatchStreamExt as _, watcher},
    },
};
use futures::StreamExt as _;
use serde_json::json;

/// As upstream's installers name it.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// After a write that was refused.
const AGAIN: Duration = Duration::from_secs(1);

/// Who may.
pub(crate) fn administrator() -> Identity {
    Identity {
        user: "kubernetes-admin".to_owned(),
        groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    }
}

/// Labels the node of this name whenever it has registered; runs for as long as it is polled.
pub(crate) async fn run(client: client::kube::Client, node: String) {
    let nodes: Api<Node> = Api::all(client);
    let only = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let seen = watcher(nodes.clone(), only).default_backoff().applied_objects();
    let mut seen = std::pin::pin!(seen);
    let mut labelled = None;
    while let Some(event) = seen.next().await {
        match event {
            Ok(found) if found.uid() == labelled => (),
            Ok(found) => {
                label(&nodes, &found).await;
                labelled = found.uid();
            }
            Err(error) => tracing::debug!(%error, "the watch of the node's registration failed"),
        }
    }
}

async fn label(nodes: &Api<Node>, node: &Node) {
    while !node.labels().contains_key(CONTROL_PLANE) {
        let patch = json!({
            "metadata": {"uid": node.uid(), "labels": {CONTROL_PLANE: ""}},
        });
        let patched =
            nodes.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            Ok(_) => return,
            // Gone, or registered anew: the watch shows it.
            Err(client::kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(%error, "the node's role could not be written");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
