//! One control plane in this process; everyone calls with an identity, and roles hold.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use apiserver::{
    Ambient as _, ApiServer, Attributes, Authorizer, Bootstrap, Decision, Options as ServerOptions,
    System,
    access::{AccessControl, Directory, Pki, bootstrap_objects},
};
use client::{Identity, in_process};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Node, Pod, Service},
    storage::v1::StorageClass,
};
use kube::{
    Client,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use manager::{Dns, Handle, Manager, Options, identity};
use serde_json::{Value, json};
use store::{MemoryJournal, Store};
use tempfile::TempDir;

/// Access as it is, with a list of all that was denied.
#[derive(Debug)]
struct Noted {
    access: Arc<AccessControl>,
    denied: Mutex<BTreeSet<String>>,
}

impl Authorizer for Noted {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let decision = self.access.authorize(attributes);
        if decision != Decision::Allow {
            let line = format!(
                "{} may not {} {:?}",
                attributes.user.user, attributes.verb, attributes.target
            );
            self.denied.lock().unwrap().insert(line);
        }
        decision
    }
}

pub(crate) struct House {
    server: ApiServer,
    store: Store,
    manager: Handle,
    kubelet: tokio::task::JoinHandle<()>,
    noted: Arc<Noted>,
    _keys: TempDir,
}

impl House {
    /// A cluster with this many nodes, a class `local-path` and a Service `web`.
    pub(crate) async fn open(nodes: usize) -> Self {
        let directory = Arc::new(Directory::default());
        let observed = store::Options { observer: Some(directory.clone()), ..Default::default() };
        let store = Store::open(MemoryJournal::default(), observed).unwrap();
        let keys = TempDir::new().unwrap();
        let ambient = Arc::new(System::new());
        let pki = Pki::open(keys.path(), ambient.now()).unwrap();
        let access = AccessControl::new(directory, ambient, pki.token_key_pem(), "https://x");
        let access = Arc::new(access.unwrap());
        let noted = Arc::new(Noted { access: access.clone(), denied: Mutex::default() });
        let mut options = ServerOptions::new(access.clone(), noted.clone(), access.clone());
        options.admission.push(access);
        let server = ApiServer::new(store.clone(), options);
        let advertise: SocketAddr = "10.0.0.1:6443".parse().unwrap();
        server.bootstrap(Bootstrap { advertise, objects: bootstrap_objects() }).await.unwrap();
        let service = server.clone();
        let clients = move |name: &str| in_process(service.clone(), identity(name));
        let dns = Dns {
            cluster_ip: "10.96.0.10".parse().unwrap(),
            server: "10.244.0.1".parse().unwrap(),
            port: 53,
        };
        let options = Options { dns: Some(dns), ..Options::new("PEM", 1) };
        let manager = Manager::start(clients, &options);
        manager.synced().await;
        let kubelet = tokio::spawn(kubelet(in_process(server.clone(), person())));
        let house = Self { server, store, manager, kubelet, noted, _keys: keys };
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
        in_process(self.server.clone(), person())
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
        let denied = self.noted.denied.lock().unwrap();
        assert!(ended.is_ok(), "never: {what}; denied: {denied:#?}");
    }

    /// Whether nothing is committed for this long.
    pub(crate) async fn is_quiet(&self, long: Duration) -> bool {
        let before = self.store.revision();
        tokio::time::sleep(long).await;
        self.store.revision() == before && self.manager.is_idle()
    }

    /// Whether something that begins so was denied.
    pub(crate) fn was_denied(&self, start: &str) -> bool {
        self.noted.denied.lock().unwrap().iter().any(|line| line.starts_with(start))
    }

    /// Forgets what was denied so far.
    pub(crate) fn forget_denied(&self) {
        self.noted.denied.lock().unwrap().clear();
    }

    pub(crate) async fn close(self) {
        self.kubelet.abort();
        self.manager.stop().await;
        let denied = self.noted.denied.lock().unwrap();
        assert!(denied.is_empty(), "what the parts do, their roles allow: {denied:#?}");
    }
}

fn person() -> Identity {
    let mut person = Identity::component("person");
    person.groups.push("system:masters".to_owned());
    person
}

/// Pods with a node run at once, unless their image is `broken`; deleted ones end at once.
async fn kubelet(client: Client) {
    let all: Api<Pod> = Api::all(client.clone());
    loop {
        let pods = all.list(&ListParams::default()).await.unwrap();
        for pod in pods {
            let of: Api<Pod> = Api::namespaced(client.clone(), &pod.metadata.namespace.unwrap());
            let name = pod.metadata.name.unwrap();
            let spec = pod.spec.unwrap();
            let placed = spec.node_name.is_some();
            let broken = spec.containers[0].image.as_deref() == Some("broken");
            let waits = pod.status.as_ref().is_some_and(|s| s.container_statuses.is_some());
            let phase = pod.status.and_then(|status| status.phase);
            if pod.metadata.deletion_timestamp.is_some() {
                let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                drop(of.delete(&name, &now).await);
            } else if placed && broken && !waits {
                let status = json!({"status": {"phase": "Pending", "conditions": [
                    {"type": "Ready", "status": "False", "lastTransitionTime": "2023-01-01T00:00:00Z"}],
                    "containerStatuses": [{"name": "main", "image": "broken", "imageID": "",
                        "ready": false, "restartCount": 0,
                        "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}});
                let patch = Patch::Strategic(&status);
                drop(of.patch_status(&name, &PatchParams::default(), &patch).await);
            } else if placed && !broken && phase.as_deref() != Some("Running") {
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
