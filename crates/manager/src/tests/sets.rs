//! What wakes the StatefulSet controller, and what it does about refusals: A3, A6, K4, T9, T10, Y12.
//!
//! Only this controller runs, on paused time: whatever happens was woken, for nothing looks again
//! by itself within the time that these rows wait.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use client::{Recorder, Writer, in_process, kube::client::Body};
use controllers::{Action, Note, Outcome, Plan, Target, Verb};
use http::Request;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::{fake::Fake, options, until};
use crate::{Caches, Handle, Manager, Options, carry_out::Hands, identity};

const SETS: &str = "statefulsets";
const CLAIMS: &str = "persistentvolumeclaims";

fn start(fake: &Fake) -> Handle {
    let fake = fake.clone();
    let clients = move |name: &str| in_process(fake.service(), identity(name));
    let only = Some(vec!["statefulset-controller"]);
    Manager::start(clients, &Options { only, ..options() })
}

/// A set as the API server has it: defaults are there.
fn set(change: impl Fn(&mut Value)) -> Value {
    let mut set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "default", "name": "web", "uid": "set", "generation": 1},
        "spec": {"replicas": 1, "serviceName": "web", "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "x"}]}}}});
    change(&mut set);
    set
}

fn with_claims(set: &mut Value) {
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
}

fn edit(fake: &Fake, plural: &str, name: &str, change: impl Fn(&mut Value)) {
    let mut object = fake.get(plural, "default", name).unwrap();
    change(&mut object);
    fake.put(plural, object);
}

/// Its kubelet says that a pod is Ready, since this second of the tests' first minute.
fn run(fake: &Fake, pod: &str, ready: bool, second: u32) {
    edit(fake, "pods", pod, |pod| {
        let since = format!("2023-11-14T22:13:{:02}Z", 20 + second);
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready",
            "status": if ready { "True" } else { "False" }, "lastTransitionTime": since}]});
    });
}

fn status(fake: &Fake) -> Value {
    fake.get(SETS, "default", "web").unwrap()["status"].clone()
}

fn has(fake: &Fake, pod: &str) -> bool {
    fake.get("pods", "default", pod).is_some()
}

/// Woken by what it looks at: nothing else would do this within a second.
async fn at_once(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    until(what, done).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{what}: nothing woke it for {took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_namespace_is_watched_alone() {
    let fake = Fake::default();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let clients = |name: &str| {
        let asked = Arc::clone(&asked);
        let service = fake.service().map_request(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            asked.lock().unwrap().push(path);
            request
        });
        in_process(service, identity(name))
    };
    let only = Some(vec!["statefulset-controller"]);
    let namespace = Some("default".to_owned());
    let handle = Manager::start(clients, &Options { only, namespace, ..options() });
    handle.synced().await;
    let mut paths = asked.lock().unwrap().clone();
    paths.sort_unstable();
    let wanted = [
        "/api/v1/namespaces/default/persistentvolumeclaims",
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/resourcequotas",
        "/apis/apps/v1/namespaces/default/controllerrevisions",
        "/apis/apps/v1/namespaces/default/statefulsets",
        "/apis/stead.io/v1alpha1/namespaces/default/statefulsetpolicies",
    ];
    assert_eq!(paths, wanted);
    fake.put(SETS, set(|_| ()));
    at_once("the first pod", || has(&fake, "web-0")).await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a6_what_wakes_it() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    fake.put(SETS, set(|_| ()));
    at_once("the first pod", || has(&fake, "web-0")).await;
    run(&fake, "web-0", true, 0);
    at_once("a pod became Ready", || status(&fake)["readyReplicas"] == 1).await;
    edit(&fake, SETS, "web", |set| {
        set["spec"]["replicas"] = json!(2);
        set["metadata"]["generation"] = json!(2);
    });
    at_once("the set changed", || has(&fake, "web-1")).await;
    fake.remove("pods", "default", "web-1");
    at_once("a pod is gone", || has(&fake, "web-1")).await;
    edit(&fake, "pods", "web-0", |pod| pod["metadata"]["ownerReferences"] = Value::Null);
    at_once("a pod is nobody's", || {
        let pod = fake.get("pods", "default", "web-0").unwrap();
        pod["metadata"]["ownerReferences"][0]["uid"] == "set"
    })
    .await;
    let revision = fake.list("controllerrevisions")[0].clone();
    let name = revision["metadata"]["name"].as_str().unwrap();
    fake.remove("controllerrevisions", "default", name);
    at_once("a revision is gone", || fake.list("controllerrevisions").len() == 1).await;
    handle.stop().await;
}

/// E1 of section 18: a pod that is not the set's, under a name of the set's.
#[tokio::test(start_paused = true)]
async fn a6_e1_fix_a_squatter_that_goes_wakes_it() {
    let fake = Fake::default();
    fake.put(
        "pods",
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": "web-0"}, "spec": {"containers": []}}),
    );
    let handle = start(&fake);
    handle.synced().await;
    fake.put(SETS, set(|_| ()));
    until("it is told", || fake.list("events").iter().any(|one| one["reason"] == "FailedCreate"))
        .await;
    fake.remove("pods", "default", "web-0");
    at_once("the set's own", || {
        let pod = fake.get("pods", "default", "web-0");
        pod.is_some_and(|pod| pod["metadata"]["labels"]["app"] == "web")
    })
    .await;
    handle.stop().await;
}

/// K4 and K9 of section 18: upstream watches no claims, and stays where it is for ever.
#[tokio::test(start_paused = true)]
async fn k4_k9_fix_a_claim_that_goes_wakes_its_set() {
    let fake = Fake::default();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
        "namespace": "default", "name": "data-web-0", "deletionTimestamp": "2023-11-14T22:13:00Z",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "old",
            "controller": true}]}, "spec": {}});
    fake.put(CLAIMS, claim);
    let handle = start(&fake);
    handle.synced().await;
    fake.put(
        SETS,
        set(|set| {
            with_claims(set);
            set["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete"});
        }),
    );
    until("a status", || status(&fake)["replicas"] == 0).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!has(&fake, "web-0"), "K8: not while the claim of an earlier pod is there");
    fake.remove(CLAIMS, "default", "data-web-0");
    at_once("the claim and the pod", || has(&fake, "web-0")).await;
    assert!(fake.get(CLAIMS, "default", "data-web-0").is_some());
    handle.stop().await;
}

/// K3: a claim that is lost under a pod that waits for it, once its end could be seen.
#[tokio::test(start_paused = true)]
async fn k3_k4_fix_a_lost_claim_comes_back() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    fake.put(SETS, set(with_claims));
    until("the pod", || has(&fake, "web-0")).await;
    edit(&fake, "pods", "web-0", |pod| pod["status"] = json!({"phase": "Pending"}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    fake.remove(CLAIMS, "default", "data-web-0");
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Whatever else wakes the set meanwhile.
    edit(&fake, "pods", "web-0", |pod| pod["status"]["message"] = json!("no such claim"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(fake.get(CLAIMS, "default", "data-web-0").is_none(), "its end is to be seen");
    at_once("the claim", || fake.get(CLAIMS, "default", "data-web-0").is_some()).await;
    handle.stop().await;
}

/// T9: a status that meets a newer set is decided anew, and loses nothing of what another wrote.
#[tokio::test(start_paused = true)]
async fn t9_fix_a_status_conflict_is_decided_anew() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    fake.put(SETS, set(|_| ()));
    until("the pod", || has(&fake, "web-0")).await;
    until("its status", || status(&fake)["replicas"] == 0 && handle.is_idle()).await;
    fake.hold();
    edit(&fake, SETS, "web", |set| set["metadata"]["labels"] = json!({"mine": "yes"}));
    run(&fake, "web-0", true, 0);
    fake.release();
    until("the status", || status(&fake)["readyReplicas"] == 1).await;
    let set = fake.get(SETS, "default", "web").unwrap();
    assert_eq!(set["metadata"]["labels"]["mine"], "yes");
    handle.stop().await;
}

/// T10: time alone makes a pod available, and nothing else happens meanwhile.
#[tokio::test(start_paused = true)]
async fn t10_time_wakes_it() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    fake.put(SETS, set(|set| set["spec"]["minReadySeconds"] = json!(30)));
    until("the pod", || has(&fake, "web-0")).await;
    run(&fake, "web-0", true, 0);
    let began = Instant::now();
    until("it is ready", || status(&fake)["readyReplicas"] == 1).await;
    assert_ne!(status(&fake)["availableReplicas"], 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    until("it is available", || status(&fake)["availableReplicas"] == 1).await;
    assert!(began.elapsed() < Duration::from_secs(35));
    handle.stop().await;
}

/// Y12, and issue 108837: what is refused half-way does not keep the status from being told.
#[tokio::test(start_paused = true)]
async fn y12_a_refused_pod_does_not_stop_the_status() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    let parallel = |replicas: u32, generation: u32| {
        move |set: &mut Value| {
            set["spec"]["replicas"] = json!(replicas);
            set["spec"]["podManagementPolicy"] = json!("Parallel");
            set["metadata"]["generation"] = json!(generation);
        }
    };
    fake.put(SETS, set(parallel(2, 1)));
    until("two pods", || has(&fake, "web-1")).await;
    for pod in ["web-0", "web-1"] {
        run(&fake, pod, true, 0);
    }
    until("both are ready", || status(&fake)["readyReplicas"] == 2).await;
    fake.refuse(u32::MAX);
    edit(&fake, SETS, "web", |set| parallel(4, 2)(set));
    until("the change is observed", || status(&fake)["observedGeneration"] == 2).await;
    assert_eq!((&status(&fake)["replicas"], fake.list("pods").len()), (&json!(2), 2));
    run(&fake, "web-0", false, 1);
    until("the status goes on", || status(&fake)["readyReplicas"] == 1).await;
    let told = fake.list("events");
    let failed = told.iter().find(|one| one["reason"] == "FailedCreate").unwrap();
    assert_eq!(
        failed["message"],
        "Create Pod web-2 in StatefulSet web failed error: exceeded quota"
    );
    fake.refuse(0);
    until("the rest", || has(&fake, "web-3")).await;
    handle.stop().await;
}

/// What does a plan, outside of any loop.
struct Doer {
    writer: Writer,
    recorder: Recorder,
    caches: Caches,
}

impl Doer {
    fn of(fake: &Fake) -> Self {
        let name = "statefulset-controller";
        let writer = Writer::new(in_process(fake.service(), identity(name)), "test");
        let (recorder, telling) = Recorder::new(name, "", writer.clone(), options().now);
        // It ends with the recorder.
        tokio::spawn(telling);
        Self { writer, recorder, caches: Caches::default() }
    }

    fn hands(&self) -> Hands<'_> {
        Hands { writer: &self.writer, recorder: &self.recorder, caches: &self.caches }
    }
}

fn target(kind: &str, group: &str, name: &str, uid: &str) -> Target {
    Target {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

/// E2: what is gone already was deleted with success.
#[tokio::test(start_paused = true)]
async fn e2_a_deletion_that_finds_nothing_is_a_success() {
    let fake = Fake::default();
    let doer = Doer::of(&fake);
    let mut delete = Action::delete(target("Pod", "", "web-0", "u"), "x");
    let done = "Delete Pod web-0 in StatefulSet web successful";
    delete.events = Some(Outcome {
        regarding: target("StatefulSet", "apps", "web", "u"),
        success: Some(Note::normal("SuccessfulDelete", done)),
        failure: vec![Note::warning("FailedDelete", "{error}")],
    });
    let plan = Plan { actions: vec![delete], ..Plan::default() };
    assert!(doer.hands().carry_out(&plan).await.failure.is_none());
    until("it is told", || !fake.list("events").is_empty()).await;
    assert_eq!(fake.list("events")[0]["message"], done);
}

/// K2, K11: a quota on claims that ends half-way stops the rest, and not the pods that have theirs.
#[tokio::test(start_paused = true)]
async fn k2_refused_claims_hold_their_own_pods_only() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.synced().await;
    for ordinal in 0..2 {
        fake.put(CLAIMS, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "default", "name": format!("data-web-{ordinal}")}, "spec": {}}));
    }
    fake.refuse_kind(Some(CLAIMS));
    fake.put(
        SETS,
        set(|set| {
            with_claims(set);
            set["spec"]["replicas"] = json!(4);
            set["spec"]["podManagementPolicy"] = json!("Parallel");
        }),
    );
    until("those that have claims", || has(&fake, "web-0") && has(&fake, "web-1")).await;
    until("it is told", || fake.list("events").iter().any(|one| one["reason"] == "FailedCreate"))
        .await;
    assert!(!has(&fake, "web-2") && !has(&fake, "web-3"));
    fake.refuse_kind(None);
    until("the rest", || has(&fake, "web-2") && has(&fake, "web-3")).await;
    handle.stop().await;
    let told: Vec<String> = fake
        .list("events")
        .iter()
        .filter(|one| one["type"] == "Warning")
        .map(|one| one["message"].as_str().unwrap().to_owned())
        .collect();
    let claim =
        "Create Claim data-web-2 for Pod web-2 in StatefulSet web failed error: exceeded quota";
    let pod = "Create Pod web-2 in StatefulSet web failed error: failed to create PVC data-web-2: exceeded quota";
    assert!(told.contains(&claim.to_owned()) && told.contains(&pod.to_owned()), "{told:#?}");
}

/// K2: a claim that someone made meanwhile is an error, and no event of its own.
#[tokio::test(start_paused = true)]
async fn k2_a_claim_that_exists_already_is_no_event() {
    let fake = Fake::default();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "default", "name": "data-web-0"}, "spec": {}});
    fake.put(CLAIMS, claim.clone());
    let doer = Doer::of(&fake);
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    let mut create = Action::new(Verb::Create(Box::new(claim)), "x");
    create.events = Some(Outcome {
        regarding: target("StatefulSet", "apps", "web", "set"),
        success: None,
        failure: vec![
            Note::warning("FailedCreate", "of the claim").unless_exists(),
            Note::warning("FailedCreate", "of the pod: {error}"),
        ],
    });
    let plan = Plan { actions: vec![create], ..Plan::default() };
    assert!(
        doer.hands().carry_out(&plan).await.failure.is_some_and(|(_, failure)| failure.is_race())
    );
    until("it is told", || !fake.list("events").is_empty()).await;
    let told = fake.list("events");
    assert_eq!((told.len(), &told[0]["message"]), (1, &json!("of the pod: it already exists")));
}

/// A3: adoption begins with a live look at the set, and ends there in upstream's words.
#[tokio::test(start_paused = true)]
async fn a3_before_the_first_adoption() {
    let fake = Fake::default();
    fake.put(SETS, set(|_| ()));
    let doer = Doer::of(&fake);
    let target = |uid: &str| target("StatefulSet", "apps", "web", uid);
    let adopt = |uid: &str| {
        let confirm = Action::new(Verb::Confirm(target(uid)), "before adopting");
        let label = json!({"metadata": {"labels": {"adopted": "yes"}}});
        let label = Action::merge(target(uid), None, label, "x").in_group(1);
        Plan { actions: vec![confirm, label], ..Plan::default() }
    };
    let fails = async |uid: &str| {
        let failure = doer.hands().carry_out(&adopt(uid)).await.failure;
        failure.map(|(_, failure)| failure.to_string()).unwrap_or_default()
    };
    assert_eq!(
        fails("stale").await,
        "original StatefulSet default/web is gone: got uid set, wanted stale"
    );
    let adopted = || !fake.get(SETS, "default", "web").unwrap()["metadata"]["labels"].is_null();
    assert!(!adopted(), "what follows is not done");
    edit(&fake, SETS, "web", |set| {
        set["metadata"]["deletionTimestamp"] = json!("2023-11-14T22:13:20Z");
    });
    assert_eq!(fails("set").await, "default/web has just been deleted at 2023-11-14T22:13:20Z");
    assert!(!adopted());
    edit(&fake, SETS, "web", |set| set["metadata"]["deletionTimestamp"] = Value::Null);
    assert_eq!((fails("set").await.as_str(), adopted()), ("", true));
}
