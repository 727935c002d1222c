//! Pods one at a time: created until Ready, deleted until gone, as a watcher sees it.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
};

use crate::cluster::{is_ready, ms, pod};

const WAIT_MAX: Duration = Duration::from_secs(60);

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pod>>> + Send>>;

/// Milliseconds to Ready and to gone of each.
pub(crate) async fn one_by_one(client: &Client, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let version = api.list_metadata(&Default::default()).await?.metadata.resource_version;
    let params = WatchParams::default();
    let watched = api.watch(&params, &version.context("a list has a version")?).await?;
    let mut events: Events = Box::pin(watched);
    let (mut ready, mut gone) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("pod-{number}");
        let began = Instant::now();
        api.create(&PostParams::default(), &pod(&name)).await?;
        until(&mut events, |event| {
            matches!(event, WatchEvent::Modified(pod) if pod.name_any() == name && is_ready(pod))
        })
        .await
        .with_context(|| format!("{name} did not become Ready"))?;
        ready.push(ms(began));
        let began = Instant::now();
        api.delete(&name, &DeleteParams::default()).await?;
        until(
            &mut events,
            |event| matches!(event, WatchEvent::Deleted(pod) if pod.name_any() == name),
        )
        .await
        .with_context(|| format!("{name} did not go"))?;
        gone.push(ms(began));
    }
    Ok((ready, gone))
}

async fn until(events: &mut Events, wished: impl Fn(&WatchEvent<Pod>) -> bool) -> Result<()> {
    let seen = async {
        while let Some(event) = events.next().await {
            if wished(&event?) {
                return Ok(());
            }
        }
        anyhow::bail!("a watch ended")
    };
    tokio::time::timeout(WAIT_MAX, seen).await?
}
