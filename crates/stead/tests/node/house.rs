//! One cluster in this process: the real API server, the real manager, the real agent.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use agent::{Agent, Clock, Config};
use api::{ApiError, Object, Resource};
use apiserver::{
    Access, ApiServer, Attributes, Authenticator, Authorizer, Bootstrap, Decision,
    Options as ServerOptions,
};
use bytes::Bytes;
use client::{Identity, in_process};
use http::request::Parts;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Event, Pod, ServiceAccount},
};
use kube::{
    Client,
    api::{Api, ListParams, PostParams},
};
use manager::{Handle, Manager, Options, identity};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use store::{MemoryJournal, Store};

use crate::runtime::{Noted, noted};

/// Lets everyone do everything.
#[derive(Debug)]
struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _: &Parts, _: &[CertificateDer<'static>]) -> Result<Identity, ApiError> {
        Ok(Identity::component("system:anonymous"))
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

pub(crate) struct House {
    server: ApiServer,
    manager: Handle,
    pub(crate) runtime: Noted,
    folder: tempfile::TempDir,
    agent: Option<tokio::task::JoinHandle<Result<(), agent::AgentError>>>,
}

impl House {
    pub(crate) async fn open() -> House {
        let store = Store::open(MemoryJournal::default(), store::Options::default()).unwrap();
        let options = ServerOptions::new(Arc::new(Open), Arc::new(Open), Arc::new(Open));
        let server = ApiServer::new(store, options);
        let advertise: SocketAddr = "10.0.0.1:6443".parse().unwrap();
        server.bootstrap(Bootstrap { advertise, objects: Vec::new() }).await.unwrap();
        let service = server.clone();
        let clients = move |name: &str| in_process(service.clone(), identity(name));
        let manager = Manager::start(clients, &Options::new("PEM", 1));
        manager.synced().await;
        let folder = tempfile::tempdir().unwrap();
        let mut house = House { server, manager, runtime: noted(), folder, agent: None };
        house.begin();
        let accounts: Api<ServiceAccount> = house.api("default");
        house.until("the service account", async || accounts.get("default").await.is_ok()).await;
        house
    }

    /// Starts the agent.
    pub(crate) fn begin(&mut self) {
        let data = self.folder.path().to_path_buf();
        let config = Config {
            node: "n1".into(),
            addresses: vec!["192.0.2.1".parse().unwrap()],
            kubelet_port: 10250,
            logs: data.join("logs"),
            data,
            cluster_dns: vec!["10.96.0.10".parse().unwrap()],
            cluster_domain: "cluster.local".into(),
            version: "v1.36.2+stead.0.1.0".into(),
            pods_max: 110,
            labels: std::collections::BTreeMap::new(),
        };
        let client = in_process(self.server.clone(), Identity::node("n1"));
        let runtime = Arc::new(self.runtime.clone());
        let agent = Agent::new(config, runtime, client, Clock::system()).unwrap();
        let provisioner = Identity::service_account("local-volume-provisioner");
        let agent = agent.reclaiming(in_process(self.server.clone(), provisioner));
        self.agent = Some(tokio::spawn(agent.run()));
    }

    /// Kills the agent where it stands.
    pub(crate) async fn kill(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.abort();
            assert!(agent.await.unwrap_err().is_cancelled());
        }
    }

    pub(crate) fn client(&self) -> Client {
        let mut person = Identity::component("person");
        person.groups.push("system:masters".to_owned());
        in_process(self.server.clone(), person)
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// A pod on the node; `spec` on top of one container `c`.
    pub(crate) async fn pod(&self, name: &str, image: &str, spec: Value) -> Pod {
        let mut whole = json!({
            "nodeName": "n1", "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": image}],
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let pod = json!({"metadata": {"name": name}, "spec": whole});
        let pods: Api<Pod> = self.api("default");
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Value> {
        let pods: Api<Pod> = self.api("default");
        pods.get_opt(name).await.unwrap().map(|pod| serde_json::to_value(pod).unwrap())
    }

    /// Waits until `path` of the pod is `wanted`.
    pub(crate) async fn shows(&self, name: &str, path: &str, wanted: Value) -> Value {
        let mut last = Value::Null;
        for _ in 0..1500 {
            if let Some(pod) = self.get(name).await {
                if pod.pointer(path) == Some(&wanted) {
                    return pod;
                }
                last = pod;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} never shows {path} = {wanted}: {last:#}");
    }

    /// Waits for a condition, for half a minute at the most.
    pub(crate) async fn until(&self, what: &str, done: impl AsyncFn() -> bool) {
        let wait = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(ended.is_ok(), "never: {what}");
    }

    /// The kubelet's events about a pod, as kubectl lists them.
    pub(crate) async fn events(&self, pod: &str) -> Vec<String> {
        let events: Api<Event> = self.api("default");
        let mut all: Vec<(String, String)> = events
            .list(&ListParams::default())
            .await
            .unwrap()
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(pod))
            .filter(|event| {
                event.source.as_ref().and_then(|s| s.component.as_deref()) == Some("kubelet")
            })
            .map(|event| {
                let words = [event.type_, event.reason, event.message];
                let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
                (event.metadata.name.unwrap(), words)
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, words)| words).collect()
    }

    pub(crate) async fn close(mut self) {
        self.kill().await;
        self.manager.stop().await;
    }
}
