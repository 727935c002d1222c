//! The control plane without nodes: the real API server on a store in memory, the real manager, and
//! a kubelet of ten lines. What it shows is that the rooms fit.

#[cfg(test)]
mod house;
#[cfg(test)]
mod policy;

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Event, Namespace, PersistentVolumeClaim, Pod, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::ClusterRoleBinding,
};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use self::house::{House, ready, replicas, set};

#[tokio::test]
async fn a_set_lives_its_life() {
    let house = House::open(1).await;
    let sets: Api<StatefulSet> = house.api("default");
    let pods: Api<Pod> = house.api("default");
    sets.create(&PostParams::default(), &set("web", 3, "OrderedReady")).await.unwrap();
    house.until("three are ready", async || ready(&sets, "web").await == 3).await;
    let mut births: Vec<(String, String)> = Vec::new();
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let condition = |kind: &str| {
            let conditions = pod.status.as_ref().unwrap().conditions.clone().unwrap();
            conditions.into_iter().find(|condition| condition.type_ == kind).unwrap()
        };
        assert_eq!(condition("PodScheduled").status, "True");
        births.push((pod.metadata.name.unwrap(), pod.metadata.uid.unwrap()));
    }
    assert_eq!(births.len(), 3);
    let claims: Api<PersistentVolumeClaim> = house.api("default");
    for claim in claims.list(&ListParams::default()).await.unwrap() {
        assert_eq!(claim.status.unwrap().phase.as_deref(), Some("Bound"));
    }
    house
        .until("events", async || {
            let events: Api<Event> = house.api("default");
            let told = events.list(&ListParams::default()).await.unwrap();
            let of = |reason: &str| {
                told.iter().filter(|event| event.reason.as_deref() == Some(reason)).count()
            };
            of("Scheduled") == 3 && of("SuccessfulCreate") == 6
        })
        .await;
    let slices: Api<EndpointSlice> = house.api("default");
    house
        .until("endpoints", async || {
            let slices = slices.list(&ListParams::default()).await.unwrap();
            slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).max() == Some(3)
        })
        .await;
    pods.delete("web-1", &DeleteParams::default()).await.unwrap();
    house
        .until("web-1 came back", async || {
            let pod = pods.get_opt("web-1").await.unwrap();
            let new = pod.is_some_and(|pod| pod.metadata.uid.as_ref() != Some(&births[1].1));
            new && ready(&sets, "web").await == 3
        })
        .await;
    let smaller = json!({"spec": {"replicas": 1}});
    sets.patch("web", &PatchParams::default(), &Patch::Merge(&smaller)).await.unwrap();
    house.until("one is left", async || replicas(&sets, "web").await == 1).await;
    sets.delete("web", &DeleteParams::default()).await.unwrap();
    house
        .until("all that it owned is gone", async || {
            let revisions: Api<ControllerRevision> = house.api("default");
            pods.list(&ListParams::default()).await.unwrap().items.is_empty()
                && revisions.list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;
    assert_eq!(claims.list(&ListParams::default()).await.unwrap().items.len(), 3);
    house.close().await;
}

#[tokio::test]
async fn a_namespace_is_furnished_and_goes_with_its_content() {
    let house = House::open(1).await;
    let spaces: Api<Namespace> = Api::all(house.client());
    let space = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    spaces.create(&PostParams::default(), &space).await.unwrap();
    let accounts: Api<ServiceAccount> = house.api("shop");
    let maps: Api<ConfigMap> = house.api("shop");
    house
        .until("its defaults", async || {
            accounts.get_opt("default").await.unwrap().is_some()
                && maps.get_opt("kube-root-ca.crt").await.unwrap().is_some()
        })
        .await;
    let sets: Api<StatefulSet> = house.api("shop");
    sets.create(&PostParams::default(), &set("web", 2, "Parallel")).await.unwrap();
    house.until("both are ready", async || ready(&sets, "web").await == 2).await;
    spaces.delete("shop", &DeleteParams::default()).await.unwrap();
    house.until("it is gone", async || spaces.get_opt("shop").await.unwrap().is_none()).await;
    house.close().await;
}

#[tokio::test]
async fn a_pod_without_room_says_so() {
    let house = House::open(1).await;
    let pods: Api<Pod> = house.api("default");
    let big = json!({"metadata": {"name": "big"}, "spec": {"containers": [
        {"name": "main", "image": "x", "resources": {"requests": {"cpu": "64"}}}]}});
    let big = serde_json::from_value(big).unwrap();
    pods.create(&PostParams::default(), &big).await.unwrap();
    let message = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, \
                   preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    house
        .until("the condition", async || {
            let status = pods.get("big").await.unwrap().status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            conditions.iter().any(|condition| condition.message.as_deref() == Some(message))
        })
        .await;
    house.close().await;
}

/// Identity in-process stands in for authentication only: roles hold for the house's own controllers.
#[tokio::test]
async fn a_controller_without_its_binding_is_refused() {
    let house = House::open(1).await;
    let bindings: Api<ClusterRoleBinding> = Api::all(house.client());
    let name = "system:controller:statefulset-controller";
    let mut binding = bindings.get(name).await.unwrap();
    bindings.delete(name, &DeleteParams::default()).await.unwrap();
    let sets: Api<StatefulSet> = house.api("default");
    sets.create(&PostParams::default(), &set("web", 1, "OrderedReady")).await.unwrap();
    let refused = "system:serviceaccount:kube-system:statefulset-controller may not create";
    house.until("it is refused", async || house.was_denied(refused)).await;
    let revisions: Api<ControllerRevision> = house.api("default");
    assert_eq!(revisions.list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(ready(&sets, "web").await, 0);
    binding.metadata.resource_version = None;
    binding.metadata.uid = None;
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    house.until("it works again", async || ready(&sets, "web").await == 1).await;
    house.forget_denied();
    house.close().await;
}

#[tokio::test]
async fn a_quiet_cluster_commits_nothing() {
    let house = House::open(1).await;
    let sets: Api<StatefulSet> = house.api("default");
    sets.create(&PostParams::default(), &set("web", 2, "OrderedReady")).await.unwrap();
    house.until("both are ready", async || ready(&sets, "web").await == 2).await;
    house.until("it is quiet", async || house.is_quiet(Duration::from_millis(300)).await).await;
    assert!(house.is_quiet(Duration::from_secs(2)).await);
    house.close().await;
}

/// A slip of the finger: a million replicas are made in bounded steps, others are served meanwhile,
/// and the way back is as short as the way was.
#[tokio::test]
async fn a_million_replicas_leave_the_api_responsive() {
    let house = House::open(1).await;
    let sets: Api<StatefulSet> = house.api("default");
    let pods: Api<Pod> = house.api("default");
    let maps: Api<ConfigMap> = house.api("default");
    let mut many = set("web", 1_000_000, "Parallel");
    many.spec.as_mut().unwrap().volume_claim_templates = None;
    sets.create(&PostParams::default(), &many).await.unwrap();
    house.until("the first hundreds", async || replicas(&sets, "web").await >= 500).await;
    for number in 0..10 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "b"}});
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        let began = tokio::time::Instant::now();
        maps.create(&PostParams::default(), &map).await.unwrap();
        maps.get(&format!("m{number}")).await.unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "a write and a read took {took:?}");
    }
    let none = json!({"spec": {"replicas": 0}});
    sets.patch("web", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
    house
        .until("all are gone", async || {
            let limit = ListParams::default().limit(1);
            pods.list(&limit).await.unwrap().items.is_empty() && replicas(&sets, "web").await == 0
        })
        .await;
    house.close().await;
}
