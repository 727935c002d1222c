//! All controllers on one small cluster: a set comes up with its claims, shrinks, and goes.

use std::time::Duration;

use client::in_process;
use serde_json::{Value, json};

use super::{fake::Fake, options, until};
use crate::{Handle, Manager, Options, identity};

fn start(fake: &Fake) -> Handle {
    let fake = fake.clone();
    let clients = move |name: &str| in_process(fake.service(), identity(name));
    Manager::start(clients, &Options { ca_pem: "PEM".into(), ..options() })
}

/// What a kubelet would do: pods with a node run.
async fn kubelet(fake: Fake) {
    loop {
        for mut pod in fake.list("pods") {
            if pod["spec"]["nodeName"].is_string() && pod["status"]["phase"] != "Running" {
                pod["status"] = json!({"phase": "Running", "podIP": "10.244.0.9", "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2023-01-01T00:00:00Z"}]});
                fake.put("pods", pod);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn cluster() -> Fake {
    let fake = Fake::default();
    fake.put(
        "namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"},
        "spec": {"finalizers": ["kubernetes"]}}),
    );
    fake.put(
        "nodes",
        json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node1", "annotations": {"stead.io/local-path": "/data"},
                     "labels": {"kubernetes.io/hostname": "node1"}},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                   "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    fake.put(
        "storageclasses",
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local-path"}, "provisioner": "stead.io/local",
        "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"}),
    );
    fake.put(
        "services",
        json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    );
    fake
}

fn set(replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "default", "name": "web", "uid": "set", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "web", "podManagementPolicy": "OrderedReady",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"schedulerName": "default-scheduler", "containers": [{"name": "main", "image": "x"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "storageClassName": "local-path", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}})
}

#[tokio::test(start_paused = true)]
async fn a_set_comes_up_with_its_claims_and_shrinks() {
    let fake = cluster();
    let node = tokio::spawn(kubelet(fake.clone()));
    let handle = start(&fake);
    handle.synced().await;
    fake.put("statefulsets", set(2));
    let running = |name: &str| {
        fake.get("pods", "default", name).is_some_and(|pod| pod["status"]["phase"] == "Running")
    };
    until("both run", || running("web-0") && running("web-1")).await;
    let status = || fake.get("statefulsets", "default", "web").unwrap()["status"].clone();
    until("the status", || status()["readyReplicas"] == 2).await;
    for claim in ["data-web-0", "data-web-1"] {
        let claim = fake.get("persistentvolumeclaims", "default", claim).unwrap();
        assert_eq!(claim["status"]["phase"], "Bound", "{claim}");
    }
    let slices = fake.list("endpointslices");
    assert_eq!(slices.len(), 1, "{slices:?}");
    assert!(fake.get("serviceaccounts", "default", "default").is_some());
    assert_eq!(
        fake.get("configmaps", "default", "kube-root-ca.crt").unwrap()["data"]["ca.crt"],
        "PEM"
    );
    let before = fake.log();
    let order = |verb: &str, name: &str| {
        before.iter().position(|line| line.starts_with(&format!("{verb} {name}"))).unwrap()
    };
    assert!(order("POST", "pods/binding web-0") < order("POST", "pods web-1"), "{before:#?}");
    let mut smaller = fake.get("statefulsets", "default", "web").unwrap();
    smaller["spec"]["replicas"] = json!(1);
    smaller["metadata"]["generation"] = json!(2);
    fake.put("statefulsets", smaller);
    until("web-1 is gone", || fake.get("pods", "default", "web-1").is_none()).await;
    until("the status", || status()["replicas"] == 1).await;
    assert!(running("web-0"));
    handle.stop().await;
    node.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_set_owned_goes_with_it() {
    let fake = cluster();
    let node = tokio::spawn(kubelet(fake.clone()));
    let handle = start(&fake);
    handle.synced().await;
    fake.put("statefulsets", set(1));
    until("it runs", || {
        fake.get("pods", "default", "web-0").is_some_and(|pod| pod["status"]["phase"] == "Running")
    })
    .await;
    fake.remove("statefulsets", "default", "web");
    until("its pod is gone", || fake.list("pods").is_empty()).await;
    until("its revisions are gone", || fake.list("controllerrevisions").is_empty()).await;
    assert_eq!(fake.list("persistentvolumeclaims").len(), 1, "its claims stay");
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    assert!(fake.log().contains(&format!("DELETE pods web-0 by {collector}")), "{:#?}", fake.log());
    handle.stop().await;
    node.abort();
}

#[tokio::test(start_paused = true)]
async fn a_converged_cluster_writes_nothing() {
    let fake = cluster();
    let node = tokio::spawn(kubelet(fake.clone()));
    let handle = start(&fake);
    handle.synced().await;
    fake.put("statefulsets", set(1));
    until("it is ready", || {
        fake.get("statefulsets", "default", "web").unwrap()["status"]["readyReplicas"] == 1
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = fake.log();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(fake.log()[before.len()..], [] as [String; 0]);
    handle.stop().await;
    node.abort();
}
