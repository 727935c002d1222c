//! A namespace with watches on its sets, pods and claims, and a log of what its pods went through.

#![expect(clippy::disallowed_methods, reason = "a person uses kubectl")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{StatefulSet, StatefulSetStatus},
        core::v1::{Event, Namespace, PersistentVolumeClaim, Pod, ServiceAccount},
    },
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::wait::await_condition,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use crate::cluster::Cluster;

/// How long anything may take on a loaded machine.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// What the watches have told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) sets: BTreeMap<String, StatefulSet>,
    pub(super) claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Reason and message of each event.
    events: Vec<(String, String)>,
    /// In order: `+0` made, `!0` became Ready, `?0` is not Ready any more, `-0` told to go.
    log: Vec<String>,
    /// Pods told to go, by uid.
    going: BTreeSet<String>,
    /// How many pods there should be, while it is counted how many are not up.
    wanted: usize,
    most_down: usize,
}

impl Seen {
    fn pod_event(&mut self, event: WatchEvent<Pod>) {
        self.fold_pod(event);
        let up = |pod: &&Pod| ready(pod) && pod.metadata.deletion_timestamp.is_none();
        let up = self.pods.values().filter(up).count();
        self.most_down = self.most_down.max(self.wanted.saturating_sub(up));
    }

    fn fold_pod(&mut self, event: WatchEvent<Pod>) {
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                let name = pod.name_any();
                let ordinal = name.rsplit('-').next().unwrap_or_default();
                let was = self.pods.get(&name).filter(|old| old.uid() == pod.uid());
                if was.is_none() {
                    self.log.push(format!("+{ordinal}"));
                }
                if pod.metadata.deletion_timestamp.is_some() {
                    if self.going.insert(pod.uid().unwrap_or_default()) {
                        self.log.push(format!("-{ordinal}"));
                    }
                } else if ready(&pod) != was.is_some_and(ready) {
                    self.log.push(format!("{}{ordinal}", if ready(&pod) { '!' } else { '?' }));
                }
                self.pods.insert(name, pod);
            }
            WatchEvent::Deleted(pod) => {
                let name = pod.name_any();
                if self.going.insert(pod.uid().unwrap_or_default()) {
                    self.log.push(format!("-{}", name.rsplit('-').next().unwrap_or_default()));
                }
                self.pods.remove(&name);
            }
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
        }
    }

    fn told(&mut self, event: WatchEvent<Event>) {
        if let WatchEvent::Added(event) | WatchEvent::Modified(event) = event {
            let word = |word: Option<String>| word.unwrap_or_default();
            self.events.push((word(event.reason), word(event.message)));
        }
    }

    pub(super) fn status(&self) -> StatefulSetStatus {
        self.sets.get("web").and_then(|set| set.status.clone()).unwrap_or_default()
    }

    /// The controller has seen the newest spec.
    pub(super) fn observed(&self) -> bool {
        let generation = self.sets.get("web").and_then(|set| set.metadata.generation);
        generation.is_some() && self.status().observed_generation == generation
    }

    /// So many pods there are, and all are Ready, and the controller has counted them.
    pub(super) fn settled(&self, replicas: i32) -> bool {
        let status = self.status();
        self.observed()
            && self.pods.len() == usize::try_from(replicas).unwrap()
            && self.pods.values().all(|pod| ready(pod) && pod.metadata.deletion_timestamp.is_none())
            && status.replicas == replicas
            && status.ready_replicas.unwrap_or(0) == replicas
            && status.available_replicas.unwrap_or(0) == replicas
    }

    /// `0=x 1=y`: each pod's environment variable `V`, which is its template's.
    pub(super) fn versions(&self) -> String {
        let versions = self.pods.iter().map(|(name, pod)| {
            let env = pod.spec.as_ref().and_then(|spec| spec.containers[0].env.clone());
            let value = env.unwrap_or_default().into_iter().find(|one| one.name == "V");
            let value = value.and_then(|one| one.value).unwrap_or_default();
            format!("{}={value}", name.rsplit('-').next().unwrap_or_default())
        });
        versions.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn uid(&self, pod: &str) -> String {
        self.pods[pod].uid().unwrap()
    }
}

pub(super) fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// One behaviour's namespace.
pub(super) struct Place {
    client: Client,
    pub(super) name: String,
    kubeconfig: PathBuf,
    tell: Arc<watch::Sender<Seen>>,
    following: Vec<JoinHandle<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.following.iter().for_each(JoinHandle::abort);
    }
}

impl Place {
    /// A new namespace, ready for pods, and watched.
    pub(super) async fn open(cluster: &Cluster, name: &str) -> Self {
        let name = name.replace('_', "-");
        let client = cluster.client().await;
        let spaces: Api<Namespace> = Api::all(client.clone());
        spaces
            .create(&PostParams::default(), &typed(json!({"metadata": {"name": name}})))
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
        let there = |account: Option<&ServiceAccount>| account.is_some();
        let account = await_condition(accounts, "default", there);
        let account = tokio::time::timeout(WAIT_MAX, account).await;
        account.expect("a namespace gets its account").unwrap();
        let kubeconfig = cluster.data().join("kubeconfig");
        let tell = Arc::new(watch::Sender::new(Seen::default()));
        let mut place = Self { client, name, kubeconfig, tell, following: Vec::new() };
        place.follow(Seen::pod_event).await;
        place.follow(|seen, event| keep(&mut seen.sets, event)).await;
        place.follow(|seen, event| keep(&mut seen.claims, event)).await;
        place.follow(Seen::told).await;
        place
    }

    async fn follow<K>(&mut self, fold: fn(&mut Seen, WatchEvent<K>))
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api: Api<K> = self.api();
        let listed = api.list(&ListParams::default()).await.unwrap();
        let version = listed.metadata.resource_version.unwrap();
        let params = WatchParams::default();
        let mut heard = api.watch(&params, &version).await.unwrap().boxed();
        let tell = Arc::clone(&self.tell);
        self.following.push(tokio::spawn(async move {
            while let Some(event) = heard.next().await {
                let event = event.expect("a watch goes on");
                tell.send_modify(|seen| fold(seen, event));
            }
        }));
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Things that have no namespace.
    pub(super) fn everywhere<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// Makes the set `web`, changed like this.
    pub(super) async fn create(&self, replicas: i32, change: impl Fn(&mut Value)) {
        let mut set = set(replicas);
        change(&mut set);
        let sets: Api<StatefulSet> = self.api();
        sets.create(&PostParams::default(), &typed(set)).await.unwrap();
        self.until("the set is seen", |seen| seen.sets.contains_key("web")).await;
    }

    /// Makes another set of one pod.
    pub(super) async fn create_also(&self, name: &str, change: impl Fn(&mut Value)) {
        let text = set(1).to_string().replace("\"app\":\"web\"", &format!("\"app\":\"{name}\""));
        let mut also: Value = serde_json::from_str(&text).unwrap();
        also["metadata"]["name"] = json!(name);
        change(&mut also);
        self.api::<StatefulSet>().create(&PostParams::default(), &typed(also)).await.unwrap();
    }

    /// Merges this into the set; returns once the controller has seen it.
    pub(super) async fn patch(&self, patch: Value) {
        let generation = self.write(patch).await;
        let observed = |seen: &Seen| seen.status().observed_generation >= Some(generation);
        self.until("the change is observed", observed).await;
    }

    /// Merges this into the set; the new generation.
    pub(super) async fn write(&self, patch: Value) -> i64 {
        let sets: Api<StatefulSet> = self.api();
        let patched = sets.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.unwrap().metadata.generation.unwrap()
    }

    pub(super) async fn scale(&self, replicas: i32) {
        self.patch(json!({"spec": {"replicas": replicas}})).await;
    }

    /// Gives the set a template of this version.
    pub(super) async fn update(&self, version: &str) {
        let container = json!({"name": "c", "env": [{"name": "V", "value": version}]});
        self.strategic(json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
    }

    /// Merges this into the set by its lists' keys; returns once the controller has seen it.
    pub(super) async fn strategic(&self, patch: Value) {
        let sets: Api<StatefulSet> = self.api();
        let patched = sets.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await;
        let generation = patched.unwrap().metadata.generation;
        let observed = |seen: &Seen| seen.status().observed_generation >= generation;
        self.until("the update is observed", observed).await;
    }

    /// Merges this into a pod's or claim's metadata.
    pub(super) async fn relabel<K>(&self, name: &str, metadata: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let patch = Patch::Merge(json!({"metadata": metadata}));
        self.api::<K>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(super) async fn delete<K>(&self, name: &str)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the watches tell this.
    pub(super) async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let mut seen = self.tell.subscribe();
        let told = tokio::time::timeout(WAIT_MAX, seen.wait_for(done)).await.is_ok();
        if !told {
            let about = self.kubectl("get sts,pods,pvc -o wide; kubectl get events").await;
            let seen = self.tell.borrow();
            panic!("{}: never: {what}: {:?} {:?}\n{about}", self.name, seen.log, seen.status());
        }
    }

    pub(super) async fn until_settled(&self, replicas: i32) {
        self.until("all are ready", |seen| seen.settled(replicas)).await;
    }

    /// What the pods went through since the last call.
    pub(super) fn log(&self) -> String {
        let mut log = Vec::new();
        self.tell.send_modify(|seen| log = std::mem::take(&mut seen.log));
        log.join(" ")
    }

    /// Which pods were made and told to go since the last call.
    pub(super) fn moves(&self) -> String {
        let log = self.log();
        let moves = log.split(' ').filter(|word| word.starts_with(['+', '-']));
        moves.collect::<Vec<_>>().join(" ")
    }

    /// From now on counts how many of so many pods are not up at once.
    pub(super) fn count_downs(&self, wanted: usize) {
        self.tell.send_modify(|seen| (seen.wanted, seen.most_down) = (wanted, 0));
    }

    /// The most pods that were not up at once since then.
    pub(super) fn most_down(&self) -> usize {
        self.look(|seen| seen.most_down)
    }

    /// Something of what was told.
    pub(super) fn look<T>(&self, at: impl Fn(&Seen) -> T) -> T {
        at(&self.tell.borrow())
    }

    /// Runs a line of shell in a pod; what it prints.
    pub(super) async fn exec(&self, pod: &str, line: &str) -> String {
        let (ended, text) = self.run(&format!("exec {pod} -- sh -c '{line}'")).await;
        assert!(ended, "{}: {line}: {text}", self.name);
        text.trim().to_owned()
    }

    /// Lets a pod's readiness probe fail, or succeed again; returns once its set has counted that.
    pub(super) async fn make_ready(&self, pod: &str, wanted: bool) {
        self.exec(pod, if wanted { "touch /ready" } else { "rm -f /ready" }).await;
        self.until("its readiness", |seen| {
            let now = seen.pods.get(pod).is_some_and(ready);
            let count = i32::try_from(seen.pods.values().filter(|pod| ready(pod)).count());
            now == wanted && seen.status().ready_replicas.unwrap_or(0) == count.unwrap()
        })
        .await;
    }

    /// Runs `kubectl` in this namespace; both of its streams.
    pub(super) async fn kubectl(&self, line: &str) -> String {
        self.run(line).await.1
    }

    async fn run(&self, line: &str) -> (bool, String) {
        let line = format!("kubectl {line}");
        let mut command = Command::new("bash");
        // kubectl takes the namespace of the context from the file; each place has its own copy.
        command.args(["-c", &line.replace("kubectl ", &format!("kubectl -n {} ", self.name))]);
        command.env("KUBECONFIG", &self.kubeconfig);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.success(), crate::cluster::text(&output))
    }

    /// Waits until an event of this reason says this.
    pub(super) async fn until_told(&self, reason: &str, message: &str) {
        let said = |(why, text): &(String, String)| why == reason && text.contains(message);
        self.until(&format!("{reason}: {message}"), |seen| seen.events.iter().any(said)).await;
    }
}

fn keep<K: kube::Resource>(all: &mut BTreeMap<String, K>, event: WatchEvent<K>) {
    match event {
        WatchEvent::Added(one) | WatchEvent::Modified(one) => {
            all.insert(one.name_any(), one);
        }
        WatchEvent::Deleted(one) => {
            all.remove(&one.name_any());
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
    }
}

/// The set `web`: a shell that ends when told to, and is ready while `/ready` is there.
pub(super) fn set(replicas: i32) -> Value {
    const SHELL: &str = "trap 'exit 0' TERM; touch /ready; while :; do sleep 1000 & wait $!; done";
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "serviceName": "web",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "c", "image": "busybox:1.28.4", "command": ["sh", "-c", SHELL],
                        "env": [{"name": "V", "value": "a"}],
                        "readinessProbe": {"exec": {"command": ["test", "-f", "/ready"]},
                            "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1},
                    }],
                },
            },
        },
    })
}

/// Gives the set a claim of one MiB a pod, mounted at `/data`.
pub(super) fn with_claims(set: &mut Value) {
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]);
}

pub(super) fn typed<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}
