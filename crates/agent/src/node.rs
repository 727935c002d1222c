//! The Node object and its Lease: registered, renewed, told again when something changes.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use podsync::{
    events::normal,
    node::{labels, new_node, node_status, same_but_heartbeat},
};
use serde_json::json;

use crate::{
    blocking::blocking,
    facts,
    shared::{Shared, chain},
    volumes::reclaim::{LOCAL_PATH, folder},
};

/// Between two renewals of the Lease. Source: kubelet v1.36, a quarter of 40 s.
const LEASE_EVERY: Duration = Duration::from_secs(10);
/// How long others wait for a renewal, seconds. Source: same, `nodeLeaseDurationSeconds`.
const LEASE_DURATION_S: i32 = 40;
/// An unchanged status is written this often, seconds. Source: same, `nodeStatusReportFrequency`.
const STATUS_EVERY_S: i64 = 300;
/// Between two tries to register.
const REGISTER_AGAIN: Duration = Duration::from_millis(200);

/// Registers the node, however often that has to be tried.
pub(crate) async fn register(shared: &Arc<Shared>) {
    loop {
        match try_register(shared).await {
            Ok(()) => break,
            Err(error) => {
                let (node, why) = (&shared.config.node, chain(&error));
                if matches!(&error, kube::Error::Api(status) if status.code == 409) {
                    // A controller wrote the node between our look and our write.
                    tracing::debug!(node, error = why, "the node is registered anew");
                } else {
                    tracing::warn!(node, error = why, "the node was not registered");
                }
                tokio::time::sleep(REGISTER_AGAIN).await;
            }
        }
    }
    let event = normal("Starting", "", "Starting kubelet.".to_owned());
    shared.recorder.note_node(&shared.config.node, event);
}

async fn try_register(shared: &Arc<Shared>) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(shared.client.clone());
    let facts = gather(shared).await;
    let now = shared.clock.now();
    let mut node = new_node(&facts, now);
    let path = folder(&shared.config).display().to_string();
    let annotations = node.metadata.annotations.get_or_insert_default();
    annotations.insert(LOCAL_PATH.to_owned(), path.clone());
    node.metadata.labels.get_or_insert_default().extend(shared.config.labels.clone());
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    let mut wanted = labels(&facts);
    wanted.extend(shared.config.labels.clone());
    let body = json!({"metadata": {"labels": wanted, "annotations": {
        LOCAL_PATH: path,
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }}});
    let known = api.patch(&facts.name, &PatchParams::default(), &Patch::Merge(body)).await?;
    write_status(shared, &known).await
}

async fn gather(shared: &Arc<Shared>) -> podsync::node::NodeFacts {
    let own = Arc::clone(shared);
    let machine = match shared.facts.get() {
        Some(told) => told.clone(),
        None => blocking(move || facts::machine(&own.config)).await.unwrap_or_default(),
    };
    let mut facts = facts::with_runtime(machine, shared.runtime.as_ref()).await;
    facts.runtime_error = facts.runtime_error.or_else(|| shared.network_error());
    facts
}

async fn write_status(shared: &Arc<Shared>, node: &Node) -> Result<(), kube::Error> {
    let facts = gather(shared).await;
    let status = node_status(&facts, node.status.as_ref(), shared.clock.now());
    let api: Api<Node> = Api::all(shared.client.clone());
    let body = json!({
        "metadata": {
            "uid": node.metadata.uid,
            "resourceVersion": node.metadata.resource_version,
        },
        "status": status,
    });
    api.patch_status(&shared.config.node, &PatchParams::default(), &Patch::Merge(body)).await?;
    Ok(())
}

/// Renews the Lease, and writes the status when it changed or is old, for as long as it is polled.
pub(crate) async fn run(shared: Arc<Shared>) -> &'static str {
    let mut ticks = tokio::time::interval(LEASE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut written = shared.clock.now();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shared.network_changed.notified() => {}
        }
        let Some(node) = shared.nodes.get("", &shared.config.node) else {
            // Someone deleted it: an upstream kubelet does not come back by itself either, but
            // a first start has just not seen its own registration yet.
            ticks.reset_after(REGISTER_AGAIN);
            continue;
        };
        if let Err(error) = renew(&shared, &node).await {
            tracing::warn!(error = chain(&error), "the node's lease was not renewed");
        }
        let now = shared.clock.now();
        let fresh = node_status(&gather(&shared).await, node.status.as_ref(), now);
        let same = node.status.as_ref().is_some_and(|old| same_but_heartbeat(old, &fresh));
        if same && now.duration_since(written) < SignedDuration::from_secs(STATUS_EVERY_S) {
            continue;
        }
        match write_status(&shared, &node).await {
            Ok(()) => written = now,
            // Someone wrote between: it is made anew from what they wrote, as soon as that is seen.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                ticks.reset_after(REGISTER_AGAIN);
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the node's status was not written")
            }
        }
    }
}

async fn renew(shared: &Arc<Shared>, node: &Node) -> Result<(), kube::Error> {
    let name = &shared.config.node;
    let api: Api<Lease> = Api::namespaced(shared.client.clone(), "kube-node-lease");
    let renewed = MicroTime(shared.clock.now());
    let body = json!({"spec": {
        "holderIdentity": name, "leaseDurationSeconds": LEASE_DURATION_S, "renewTime": renewed,
    }});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(body)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => return other.map(drop),
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("kube-node-lease".to_owned()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: name.clone(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_DURATION_S),
            renew_time: Some(renewed),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
