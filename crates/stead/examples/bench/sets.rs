//! Sets of five: created in order, updated from the top, each pod with its own volume.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use crate::cluster::{IMAGE, ms};

/// Pods of a set.
pub(crate) const REPLICAS: i32 = 5;
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Milliseconds per replica of each round: created, updated.
pub(crate) async fn rounds(client: &Client, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let api: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let (mut ordered, mut updated) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("set-{number}");
        let began = Instant::now();
        api.create(&PostParams::default(), &set(&name)).await?;
        let done = |set: &StatefulSet| {
            let status = set.status.as_ref();
            status.is_some_and(|status| status.ready_replicas == Some(REPLICAS))
        };
        until(&api, &name, done).await.context("the set did not come up")?;
        ordered.push(ms(began) / f64::from(REPLICAS));
        let began = Instant::now();
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}});
        let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let generation = patched.metadata.generation;
        let done = |set: &StatefulSet| {
            set.status.as_ref().is_some_and(|status| {
                status.observed_generation >= generation
                    && status.updated_replicas == Some(REPLICAS)
                    && status.ready_replicas == Some(REPLICAS)
                    && status.current_revision == status.update_revision
            })
        };
        until(&api, &name, done).await.context("the set was not updated")?;
        updated.push(ms(began) / f64::from(REPLICAS));
        api.delete(&name, &DeleteParams::foreground()).await?;
        let gone = tokio::time::timeout(WAIT_MAX, async {
            while api.get_opt(&name).await?.is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        });
        gone.await.context("the set did not go")??;
    }
    Ok((ordered, updated))
}

async fn until(
    api: &Api<StatefulSet>,
    name: &str,
    done: impl Fn(&StatefulSet) -> bool,
) -> Result<()> {
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let seen = async {
        let mut events = std::pin::pin!(api.watch(&params, "0").await?);
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(set) | WatchEvent::Modified(set) if done(&set) => return Ok(()),
                _ => {}
            }
        }
        bail!("a watch ended")
    };
    tokio::time::timeout(WAIT_MAX, seen).await?
}

fn set(name: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": REPLICAS,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main", "image": IMAGE, "imagePullPolicy": "Never",
                    "volumeMounts": [{"name": "data", "mountPath": "/var/data"}]
                }]}
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"],
                         "resources": {"requests": {"storage": "1Mi"}}}
            }]
        }
    }))
    .unwrap_or_default()
}
