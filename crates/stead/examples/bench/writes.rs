//! Objects on one connection: each create is on the disk before it is answered.

use std::time::Instant;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::cluster::ms;

/// Milliseconds of each create, and of each read.
pub(crate) async fn one_connection(client: &Client, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let (mut created, mut read) = (Vec::new(), Vec::new());
    let value = "x".repeat(900);
    for number in 0..count {
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": format!("map-{number}"), "labels": {"made-by": "bench"}},
            "data": {"value": value}
        }))?;
        let began = Instant::now();
        api.create(&PostParams::default(), &map).await?;
        created.push(ms(began));
    }
    for number in 0..count {
        let name = format!("map-{number}");
        let began = Instant::now();
        api.get(&name).await?;
        read.push(ms(began));
    }
    let ours = ListParams::default().labels("made-by=bench");
    api.delete_collection(&DeleteParams::default(), &ours).await?;
    Ok((created, read))
}
