//! How long a request takes in-process, without sockets and without syncing to disk.
//!
//! `cargo run --release -p apiserver --example request_latency` prints microseconds: median and 99th
//! percentile of GET, LIST of 100, create and update of a pod of 2.5 KB.

use std::{io::Write as _, sync::Arc, time::Duration};

use api::{
    ApiError, Object, Resource,
    k8s::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount},
};
use apiserver::{
    Access, ApiServer, Attributes, Authenticator, Authorizer, Bootstrap, Decision, Options,
};
use bytes::Bytes;
use client::Identity;
use http::{Request, request::Parts};
use http_body_util::{BodyExt, Full};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use store::{MemoryJournal, Store};
use tokio::time::Instant;
use tower::Service;

/// Lets everyone do everything.
#[derive(Debug)]
struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _: &Parts, _: &[CertificateDer<'static>]) -> Result<Identity, ApiError> {
        Ok(Identity::default())
    }
}

impl Authorizer for Open {
    fn authorize(&self, _: &Attributes<'_>) -> Decision {
        Decision::Allow
    }
}

impl Access for Open {
    fn review(
        &self,
        _: &Identity,
        _: &'static dyn Resource,
        _: &str,
        object: Box<dyn Object>,
    ) -> Result<Box<dyn Object>, ApiError> {
        Ok(object)
    }

    fn token(
        &self,
        _: &Identity,
        _: &ServiceAccount,
        request: TokenRequest,
    ) -> Result<TokenRequest, ApiError> {
        Ok(request)
    }

    fn document(&self, _: &str) -> Option<(&'static str, Bytes)> {
        None
    }
}

const ROUNDS: usize = 2000;
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(MemoryJournal::default(), store::Options::default())?;
    let open = Arc::new(Open);
    let server = ApiServer::new(store, Options::new(open.clone(), open.clone(), open));
    let advertise = "127.0.0.1:6443".parse()?;
    server.bootstrap(Bootstrap { advertise, objects: Vec::new() }).await?;
    let mut create = Vec::new();
    for at in 0..ROUNDS {
        create.push(timed(&server, "POST", PODS, pod(&format!("p{at}")).to_string()).await);
    }
    let mut get = Vec::new();
    for at in 0..ROUNDS {
        get.push(timed(&server, "GET", &format!("{PODS}/p{at}"), String::new()).await);
    }
    let mut list = Vec::new();
    for _ in 0..200 {
        list.push(timed(&server, "GET", &format!("{PODS}?limit=100"), String::new()).await);
    }
    let mut patch = Vec::new();
    for at in 0..ROUNDS {
        let body = json!({ "metadata": { "labels": { "n": at.to_string() } } }).to_string();
        patch.push(timed(&server, "PATCH", &format!("{PODS}/p{at}"), body).await);
    }
    let rows = [("create", create), ("get", get), ("list 100", list), ("merge patch", patch)];
    let report: Vec<String> = rows.map(|(name, took)| line(name, took)).into();
    std::io::stdout().write_all(report.concat().as_bytes())?;
    Ok(())
}

async fn timed(server: &ApiServer, method: &str, path: &str, body: String) -> Duration {
    let user = Identity { groups: vec!["system:masters".to_owned()], ..Identity::default() };
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let request = request.extension(user).body(Full::new(Bytes::from(body)));
    let Ok(request) = request else { return Duration::MAX };
    let started = Instant::now();
    let Ok(response) = server.clone().call(request).await;
    let success = response.status().is_success();
    let read = response.into_body().collect().await.is_ok();
    if success && read { started.elapsed() } else { Duration::MAX }
}

fn line(name: &str, mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_micros();
    format!("{name:<12} p50 {:>6} µs   p99 {:>6} µs\n", at(50), at(99))
}

/// About 2.5 KB once it has its defaults.
fn pod(name: &str) -> Value {
    let env: Vec<Value> = (0..10)
        .map(|at| json!({ "name": format!("VARIABLE_{at}"), "value": "x".repeat(40) }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "web", "tier": "a" } },
        "spec": { "containers": [{
            "name": "c", "image": "registry.example/library/redis:7.0", "env": env,
            "ports": [{ "containerPort": 80 }],
            "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
            "readinessProbe": { "httpGet": { "path": "/", "port": 80 } },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }], "volumes": [{ "name": "data", "emptyDir": {} }] },
    })
}
