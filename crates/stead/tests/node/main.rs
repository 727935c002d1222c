//! A node whose containers are words: the real API server, manager and agent, and a runtime that
//! only remembers what it was asked. What it shows is that the agent does what podsync decides.

#[cfg(test)]
mod house;
#[cfg(test)]
mod runtime;

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Node, PersistentVolume, Pod},
};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use self::{house::House, runtime::running};

#[tokio::test]
async fn a_pod_starts_and_is_deleted() {
    let house = House::open().await;
    house.pod("web-0", "run:1", json!({})).await;
    let pod = house.shows("web-0", "/status/conditions/2/status", json!("True")).await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["hostIP"], "192.0.2.1");
    assert_eq!(pod["status"]["podIP"], pod["status"]["podIPs"][0]["ip"]);
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["image"], "docker.io/library/run:1");
    assert_eq!(status["imageID"], "docker.io/library/run@sha256:d");
    assert_eq!(status["ready"], true);
    assert!(status["containerID"].as_str().unwrap().starts_with("stead://0000"));
    house
        .until("the events", async || {
            house.events("web-0").await
                == [
                    "Normal Pulled Container image \"run:1\" already present on machine and can be accessed by the pod",
                    "Normal Created Container created",
                    "Normal Started Container started",
                ]
        })
        .await;
    assert_eq!(house.runtime.nature().log(), ["run pod web-0 0", "start c 0"]);
    let pods: Api<Pod> = house.api("default");
    pods.delete("web-0", &DeleteParams::default()).await.unwrap();
    house.until("it is gone", async || house.get("web-0").await.is_none()).await;
    house.until("no record", async || running(&house.runtime).is_empty()).await;
    let log = ["stop c within 30", "stop pod web-0", "remove pod web-0"];
    assert_eq!(house.runtime.nature().log(), log);
    house.close().await;
}

#[tokio::test]
async fn a_node_registers_and_renews_its_lease() {
    let house = House::open().await;
    let nodes: Api<Node> = Api::all(house.client());
    house.until("the node", async || nodes.get("n1").await.is_ok()).await;
    let node = serde_json::to_value(nodes.get("n1").await.unwrap()).unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.2+stead.0.1.0");
    let ready = &node["status"]["conditions"][3];
    assert_eq!((&ready["type"], &ready["reason"]), (&json!("Ready"), &json!("KubeletReady")));
    let leases: Api<Lease> = house.api("kube-node-lease");
    house.until("the lease", async || leases.get("n1").await.is_ok()).await;
    let owner = leases.get("n1").await.unwrap().metadata.owner_references.unwrap();
    assert_eq!(owner[0].uid, node["metadata"]["uid"].as_str().unwrap());
    house.close().await;
}

#[tokio::test]
async fn crashes_and_refusals_show() {
    let house = House::open().await;
    house.pod("crash", "crash:1", json!({})).await;
    house.pod("none", "none:1", json!({})).await;
    house.pod("nostart", "nostart:1", json!({})).await;
    let asks = json!({"requests": {"cpu": "10k"}});
    let big = json!({"containers": [{"name": "c", "image": "run:1", "resources": asks}]});
    house.pod("big", "run:1", big).await;
    let waiting = "/status/containerStatuses/0/state/waiting/reason";
    let crash = house.shows("crash", waiting, json!("CrashLoopBackOff")).await;
    let uid = crash["metadata"]["uid"].as_str().unwrap();
    let status = &crash["status"]["containerStatuses"][0];
    assert_eq!(
        status["state"]["waiting"]["message"],
        format!("back-off 10s restarting failed container=c pod=crash_default({uid})")
    );
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    house.shows("none", waiting, json!("ErrImagePull")).await;
    let none = house.shows("none", waiting, json!("ImagePullBackOff")).await;
    assert_eq!(
        none.pointer("/status/containerStatuses/0/state/waiting/message").unwrap(),
        "Back-off pulling image \"none:1\": ErrImagePull: failed to pull and unpack image \"none:1\": not found"
    );
    let nostart = house.shows("nostart", waiting, json!("CrashLoopBackOff")).await;
    let last = &nostart["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("StartError"), &json!(128)));
    let big = house.shows("big", "/status/phase", json!("Failed")).await;
    assert_eq!(big["status"]["reason"], "OutOfcpu");
    house.close().await;
}

#[tokio::test]
async fn readiness_follows_its_probe() {
    let house = House::open().await;
    house.runtime.nature().exec_code(1);
    let probe = json!({"exec": {"command": ["ready"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"containers": [{"name": "c", "image": "run:1", "readinessProbe": probe}]});
    house.pod("web-0", "run:1", spec).await;
    let ready = "/status/conditions/2/status";
    let pod = house.shows("web-0", "/status/containerStatuses/0/started", json!(true)).await;
    assert_eq!(
        pod.pointer("/status/conditions/2/message").unwrap(),
        "containers with unready status: [c]"
    );
    house.runtime.nature().exec_code(0);
    house.shows("web-0", ready, json!("True")).await;
    house.runtime.nature().exec_code(1);
    house.shows("web-0", ready, json!("False")).await;
    let said = "Warning Unhealthy Readiness probe failed: ".to_owned();
    assert!(house.events("web-0").await.contains(&said));
    house.close().await;
}

#[tokio::test]
async fn containers_outlive_the_agent() {
    let mut house = House::open().await;
    house.pod("web-0", "run:1", json!({})).await;
    house.pod("web-1", "run:1", json!({})).await;
    house.shows("web-0", "/status/phase", json!("Running")).await;
    house.shows("web-1", "/status/phase", json!("Running")).await;
    let before = running(&house.runtime);
    house.kill().await;
    let pods: Api<Pod> = house.api("default");
    let force = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete("web-1", &force).await.unwrap();
    house.runtime.nature().log();
    house.begin();
    // The one that nobody wants any more goes; the other one is as it was.
    house.until("web-1 is gone", async || !running(&house.runtime).contains_key("web-1")).await;
    assert_eq!(running(&house.runtime)["web-0"], before["web-0"]);
    assert_eq!(
        house.runtime.nature().log(),
        ["stop c within 1", "stop pod web-1", "remove pod web-1"]
    );
    // After a reboot it comes back, counted.
    house.kill().await;
    house.runtime.lose_power();
    house.begin();
    let restarts = "/status/containerStatuses/0/restartCount";
    house.shows("web-0", restarts, json!(1)).await;
    house.shows("web-0", "/status/conditions/2/status", json!("True")).await;
    assert_eq!(house.runtime.nature().log(), ["run pod web-0 1", "start c 1"]);
    house.close().await;
}

#[tokio::test]
async fn volumes_and_environment_reach_the_container() {
    let house = House::open().await;
    let spec = json!({
        "containers": [{"name": "c", "image": "run:1",
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}}],
            "volumeMounts": [{"name": "conf", "mountPath": "/conf"}, {"name": "scratch", "mountPath": "/s"}],
        }],
        "volumes": [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "scratch", "emptyDir": {}}],
    });
    house.pod("web-0", "run:1", spec).await;
    let missing = "Warning FailedMount MountVolume.SetUp failed for volume \"conf\" : configmap \"conf\" not found";
    house
        .until("the missing map is named", async || {
            house.events("web-0").await.contains(&missing.to_owned())
        })
        .await;
    let maps: Api<ConfigMap> = house.api("default");
    let map = json!({"metadata": {"name": "conf"}, "data": {"a": "1"}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    house.shows("web-0", "/status/phase", json!("Running")).await;
    let start = house.runtime.nature().start("c");
    assert!(start.env.contains(&("A".into(), "1".into())));
    let source = |target: &str| {
        start.mounts.iter().find(|mount| mount.target == target).unwrap().source.clone()
    };
    assert_eq!(std::fs::read_to_string(source("/conf").join("a")).unwrap(), "1");
    assert!(source("/s").is_dir());
    let hosts = std::fs::read_to_string(source("/etc/hosts")).unwrap();
    assert!(hosts.contains("\tweb-0\n"), "{hosts}");
    let change = Patch::Merge(json!({"data": {"a": "2"}}));
    maps.patch("conf", &PatchParams::default(), &change).await.unwrap();
    house
        .until("the file follows", async || {
            std::fs::read_to_string(source("/conf").join("a")).unwrap_or_default() == "2"
        })
        .await;
    house.close().await;
}

#[tokio::test]
async fn impatience_shortens_the_grace() {
    let house = House::open().await;
    house.pod("web-0", "stubborn:1", json!({})).await;
    house.shows("web-0", "/status/phase", json!("Running")).await;
    let pods: Api<Pod> = house.api("default");
    pods.delete("web-0", &DeleteParams::default()).await.unwrap();
    house
        .until("it is asked", async || {
            house.runtime.nature().log().contains(&"stop c within 30".to_owned())
        })
        .await;
    let soon = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() };
    pods.delete("web-0", &soon).await.unwrap();
    house.until("it is gone", async || house.get("web-0").await.is_none()).await;
    house.close().await;
}

#[tokio::test]
async fn a_released_folder_goes_with_its_record() {
    let house = House::open().await;
    let nodes: Api<Node> = Api::all(house.client());
    house.until("the node", async || nodes.get("n1").await.is_ok()).await;
    let said = nodes.get("n1").await.unwrap().metadata.annotations.unwrap();
    let folder = std::path::Path::new(&said["stead.io/local-path"]).join("pvc-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("data"), "old").unwrap();
    let volumes: Api<PersistentVolume> = Api::all(house.client());
    let volume = json!({
        "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": "stead.io/local"}},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete", "local": {"path": folder},
            "claimRef": {"namespace": "default", "name": "gone", "uid": "u-gone", "kind": "PersistentVolumeClaim", "apiVersion": "v1"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}},
        },
    });
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    house
        .until("the record is gone", async || volumes.get_opt("pvc-1").await.unwrap().is_none())
        .await;
    assert!(!folder.exists());
    house.close().await;
}
