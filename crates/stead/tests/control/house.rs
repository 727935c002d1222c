//! One control plane in this process, open to everyone who has an identity.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::{ApiError, Object, Resource};
use apiserver::{
    Access, ApiServer, Attributes, Authenticator, Authorizer, Bootstrap, Decision,
    Options as ServerOptions,
};
use bytes::Bytes;
use client::{Identity, in_process};
use http::request::Parts;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    authentication::v1::TokenRequest,
    core::v1::{Node, Pod, Service, ServiceAccount},
    storage::v1::StorageClass,
};
use kube::{
    Client,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use manager::{Handle, Manager, Options, identity};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use store::{MemoryJournal, Store};

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
    store: Store,
    manager: Handle,
    kubelet: tokio::task::JoinHandle<()>,
}

impl House {
    /// A cluster with this many nodes, a class `local-path` and a Service `web`.
    pub(crate) async fn open(nodes: usize) -> Self {
        let store = Store::open(MemoryJournal::default(), store::Options::default()).unwrap();
        let options = ServerOptions::new(Arc::new(Open), Arc::new(Open), Arc::new(Open));
        let server = ApiServer::new(store.clone(), options);
        let advertise: SocketAddr = "10.0.0.1:6443".parse().unwrap();
        server.bootstrap(Bootstrap { advertise, objects: Vec::new() }).await.unwrap();
        let service = server.clone();
        let clients = move |name: &str| in_process(service.clone(), identity(name));
        let manager = Manager::start(clients, &Options::new("PEM", 1));
        manager.synced().await;
        let client = in_process(server.clone(), Identity::node("node1"));
        let kubelet = tokio::spawn(kubelet(client));
        let house = Self { server, store, manager, kubelet };
        house.furnish(nodes).await;
        house
    }

    async fn furnish(&self, nodes: usize) {
        let made: Api<Node> = Api::all(self.client());
        for n in 1..=nodes {
            let name = format!("node{n}");
            let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name},
                    "annotations": {"stead.io/local-path": "/data"}},
                "status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                           "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                           "conditions": [{"type": "Ready", "status": "True"}]}});
            let node = made.create(&PostParams::default(), &typed(node)).await.unwrap();
            assert_eq!(node.metadata.name, Some(name));
        }
        let class = json!({"metadata": {"name": "local-path"}, "provisioner": "stead.io/local",
            "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
        let classes: Api<StorageClass> = Api::all(self.client());
        classes.create(&PostParams::default(), &typed(class)).await.unwrap();
        let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "None",
            "selector": {"app": "web"}, "ports": [{"port": 80}]}});
        let services: Api<Service> = self.api("default");
        services.create(&PostParams::default(), &typed(service)).await.unwrap();
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

    /// Whether nothing is committed for this long.
    pub(crate) async fn is_quiet(&self, long: Duration) -> bool {
        let before = self.store.revision();
        tokio::time::sleep(long).await;
        self.store.revision() == before && self.manager.is_idle()
    }

    pub(crate) async fn close(self) {
        self.kubelet.abort();
        self.manager.stop().await;
    }
}

/// Pods with a node run at once; deleted ones end at once.
async fn kubelet(client: Client) {
    let all: Api<Pod> = Api::all(client.clone());
    loop {
        let pods = all.list(&ListParams::default()).await.unwrap();
        for pod in pods {
            let of: Api<Pod> = Api::namespaced(client.clone(), &pod.metadata.namespace.unwrap());
            let name = pod.metadata.name.unwrap();
            let placed = pod.spec.unwrap().node_name.is_some();
            let phase = pod.status.and_then(|status| status.phase);
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                drop(of.delete(&name, &now).await);
            } else if placed && phase.as_deref() != Some("Running") {
                let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.9",
                    "podIPs": [{"ip": "10.244.0.9"}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2023-01-01T00:00:00Z"}]}});
                let patch = Patch::Strategic(&status);
                drop(of.patch_status(&name, &PatchParams::default(), &patch).await);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A set of this size with a claim of 1Gi a pod.
pub(crate) fn set(name: &str, replicas: u32, policy: &str) -> StatefulSet {
    typed(json!({"metadata": {"name": name},
        "spec": {"replicas": replicas, "serviceName": "web", "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "x"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "storageClassName": "local-path", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}}))
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// How many pods of the set are ready.
pub(crate) async fn ready(sets: &Api<StatefulSet>, name: &str) -> i32 {
    let status = sets.get(name).await.unwrap().status;
    status.and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// How many pods the set has.
pub(crate) async fn replicas(sets: &Api<StatefulSet>, name: &str) -> i32 {
    sets.get(name).await.unwrap().status.map_or(0, |status| status.replicas)
}
