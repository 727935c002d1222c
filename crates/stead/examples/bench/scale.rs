//! Sets of many pods on nodes without machines: what controllers, scheduler, API and store can do.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client, ResourceExt as _,
    api::{PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use crate::{cluster::ms, fleet::LABEL};

const WAIT_MAX: Duration = Duration::from_secs(300);
/// Creates that are under way at once.
const AT_ONCE: usize = 16;

/// Creates so many sets of so many replicas; milliseconds per pod until all are ready.
pub(crate) async fn round(
    client: &Client,
    prefix: &str,
    sets: usize,
    replicas: u32,
    policy: &str,
) -> Result<f64> {
    let api: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let names: Vec<String> = (0..sets).map(|number| format!("{prefix}-{number}")).collect();
    let mut waiting: BTreeSet<String> = names.iter().cloned().collect();
    let params = WatchParams::default().labels(&format!("bench={prefix}"));
    let mut events = std::pin::pin!(api.watch(&params, "0").await?);
    let began = Instant::now();
    let creates = futures::stream::iter(&names).map(|name| {
        let (api, set) = (&api, set(name, prefix, replicas, policy));
        async move { api.create(&PostParams::default(), &set?).await.map_err(anyhow::Error::from) }
    });
    let creates = creates.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) });
    let wanted = i32::try_from(replicas)?;
    let seen = async {
        while let Some(event) = events.next().await {
            if let WatchEvent::Added(set) | WatchEvent::Modified(set) = event?
                && set.status.as_ref().and_then(|status| status.ready_replicas) == Some(wanted)
            {
                waiting.remove(&set.name_any());
            }
            if waiting.is_empty() {
                return Ok(());
            }
        }
        bail!("a watch ended")
    };
    let both = async { tokio::try_join!(creates, seen) };
    tokio::time::timeout(WAIT_MAX, both).await.context("not all sets came up")??;
    let pods = f64::from(u32::try_from(sets)?) * f64::from(replicas);
    Ok(ms(began) / pods)
}

fn set(name: &str, round: &str, replicas: u32, policy: &str) -> Result<StatefulSet> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"bench": round}},
        "spec": {
            "replicas": replicas, "serviceName": name, "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, LABEL: ""}},
                "spec": {
                    "nodeSelector": {LABEL: ""},
                    "containers": [{"name": "main", "image": "none:1"}]
                }
            }
        }
    }))?)
}
