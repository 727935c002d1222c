//! The scheduler in its loop: binding, refusal, help, reservations.

use std::time::Duration;

use client::in_process;
use serde_json::{Value, json};

use super::{fake::Fake, options, until};
use crate::{Handle, Manager, Options, SCHEDULER_CLIENT, identity};

fn start(fake: &Fake) -> Handle {
    let fake = fake.clone();
    let clients = move |name: &str| in_process(fake.service(), identity(name));
    let options = Options { only: Some(vec![SCHEDULER_CLIENT]), ..options() };
    Manager::start(clients, &options)
}

fn node(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "110"}}})
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name},
        "spec": {"schedulerName": "default-scheduler",
                 "containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}]}})
}

fn node_of(fake: &Fake, pod: &str) -> String {
    let pod = fake.get("pods", "default", pod).unwrap();
    pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_by_the_scheduler_and_told_so() {
    let fake = Fake::default();
    fake.put("nodes", node("node1", "2"));
    fake.put("pods", pod("web-0", "1"));
    let handle = start(&fake);
    until("bound", || node_of(&fake, "web-0") == "node1").await;
    until("told", || fake.list("events").len() == 1).await;
    handle.stop().await;
    assert_eq!(fake.log()[0], "POST pods/binding web-0 by system:kube-scheduler");
    let event = &fake.list("events")[0];
    assert_eq!(event["reason"], "Scheduled");
    assert_eq!(event["message"], "Successfully assigned default/web-0 to node1");
    assert_eq!(event["source"]["component"], "default-scheduler");
}

#[tokio::test(start_paused = true)]
async fn two_pods_never_get_the_same_room() {
    let fake = Fake::default();
    fake.put("nodes", node("node1", "2"));
    let handle = start(&fake);
    handle.synced().await;
    fake.put("pods", pod("a", "2"));
    fake.put("pods", pod("b", "2"));
    fake.hold();
    until("one is bound", || fake.log().iter().any(|line| line.contains("binding"))).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let bindings = || fake.log().iter().filter(|line| line.contains("binding")).count();
    assert_eq!(bindings(), 1, "the second counts the first before the watch shows it");
    fake.release();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bindings(), 1);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_says_why_once_and_waits_for_help() {
    let fake = Fake::default();
    fake.put("nodes", node("node1", "1"));
    fake.put("pods", pod("big", "2"));
    let handle = start(&fake);
    until("refused", || fake.list("events").len() == 1).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(fake.log().len(), 2, "{:?}", fake.log());
    let condition = &fake.get("pods", "default", "big").unwrap()["status"]["conditions"][0];
    assert_eq!(condition["type"], "PodScheduled");
    assert_eq!(condition["reason"], "Unschedulable");
    assert_eq!(
        condition["message"],
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: \
         0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    );
    assert_eq!(fake.list("events")[0]["message"], condition["message"]);
    let mut heartbeat = node("node1", "1");
    heartbeat["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    fake.put("nodes", heartbeat);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.log().len(), 2, "a heartbeat helps nobody");
    fake.put("nodes", node("node2", "2"));
    until("bound", || node_of(&fake, "big") == "node2").await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn room_that_becomes_free_is_taken() {
    let fake = Fake::default();
    fake.put("nodes", node("node1", "2"));
    let mut first = pod("first", "2");
    first["spec"]["nodeName"] = json!("node1");
    fake.put("pods", first.clone());
    fake.put("pods", pod("second", "2"));
    let handle = start(&fake);
    until("refused", || fake.list("events").len() == 1).await;
    first["status"] = json!({"phase": "Succeeded"});
    fake.put("pods", first);
    until("bound", || node_of(&fake, "second") == "node1").await;
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_waits_gets_its_volume_before_the_pod_its_node() {
    let fake = Fake::default();
    fake.put("nodes", node("node1", "2"));
    fake.put(
        "storageclasses",
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}),
    );
    fake.put(
        "persistentvolumes",
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"},
            "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
            "status": {"phase": "Available"}}),
    );
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "default", "name": "data"},
        "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                 "resources": {"requests": {"storage": "1Gi"}}}});
    fake.put("persistentvolumeclaims", claim.clone());
    for name in ["a", "b"] {
        let mut pod = pod(name, "1");
        pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim":
            {"claimName": if name == "a" { "data" } else { "missing" }}}]);
        fake.put("pods", pod);
    }
    let handle = start(&fake);
    until("reserved", || fake.log().iter().any(|line| line.contains("persistentvolumes"))).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node_of(&fake, "a"), "", "it waits for the binder");
    let volume = fake.get("persistentvolumes", "", "pv-1").unwrap();
    assert_eq!(volume["spec"]["claimRef"]["name"], "data");
    assert_eq!(volume["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"], "yes");
    claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    claim["spec"]["volumeName"] = json!("pv-1");
    fake.put("persistentvolumeclaims", claim);
    until("bound", || node_of(&fake, "a") == "node1").await;
    handle.stop().await;
    let puts = fake.log().iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(puts, 1);
    let told = fake.list("events");
    let refused = told.iter().find(|event| event["reason"] == "FailedScheduling").unwrap();
    assert_eq!(
        refused["message"],
        "0/1 nodes are available: persistentvolumeclaim \"missing\" not found. not found"
    );
}
