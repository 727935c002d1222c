//! Pods one at a time: created until Ready, deleted until gone, as a watcher sees it.

use std::{
    collections::BTreeSet,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};

use crate::cluster::{is_ready, ms, pod};

const WAIT_MAX: Duration = Duration::from_secs(60);

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pod>>> + Send>>;

/// What happens to pods from now on.
async fn events(api: &Api<Pod>) -> Result<Events> {
    let version = api.list_metadata(&ListParams::default()).await?.metadata.resource_version;
    let params = WatchParams::default();
    let watched = api.watch(&params, &version.context("a list has a version")?).await?;
    Ok(Box::pin(watched))
}

/// Creates this many at once; milliseconds until the last is Ready.
pub(crate) async fn side_by_side(client: &Client, count: usize) -> Result<f64> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut events = events(&api).await?;
    let mut waiting: BTreeSet<String> = (0..count).map(|n| format!("burst-{n}")).collect();
    let began = Instant::now();
    let creates = waiting.iter().map(|name| {
        let (api, pod) = (api.clone(), pod(name));
        async move { api.create(&PostParams::default(), &pod).await }
    });
    futures::future::try_join_all(creates).await?;
    until(&mut events, |event| {
        if let WatchEvent::Modified(pod) = event
            && is_ready(pod)
        {
            waiting.remove(&pod.name_any());
        }
        waiting.is_empty()
    })
    .await
    .context("not all pods became Ready")?;
    Ok(ms(began))
}

/// Deletes what [`side_by_side`] made, and waits until it is gone.
pub(crate) async fn remove_all(client: &Client, count: usize) -> Result<()> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut events = events(&api).await?;
    for number in 0..count {
        api.delete(&format!("burst-{number}"), &DeleteParams::default()).await?;
    }
    let mut left = count;
    until(&mut events, |event| {
        if let WatchEvent::Deleted(pod) = event {
            left -= usize::from(pod.name_any().starts_with("burst-"));
        }
        left == 0
    })
    .await
}

/// Milliseconds to Ready and to gone of each.
pub(crate) async fn one_by_one(client: &Client, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut events = events(&api).await?;
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

async fn until(
    events: &mut Events,
    mut wished: impl FnMut(&WatchEvent<Pod>) -> bool,
) -> Result<()> {
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
