//! StatefulSetPolicy through the real API server: what a person writes, and what comes of it.

use api::policy::{StatefulSetPolicy, StatefulSetPolicyStatus};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Event, PersistentVolumeClaim, Pod},
};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::house::{House, ready, set};

/// A set `web` of three ready pods, with a policy that says this.
async fn with_policy(spec: Value) -> House {
    let house = House::open(1).await;
    let sets: Api<StatefulSet> = house.api("default");
    sets.create(&PostParams::default(), &set("web", 3, "OrderedReady")).await.unwrap();
    let mut policy = json!({"metadata": {"name": "web"}, "spec": spec});
    policy["spec"]["statefulSetName"] = json!("web");
    let policies: Api<StatefulSetPolicy> = house.api("default");
    let policy = serde_json::from_value(policy).unwrap();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    house.until("three are ready", async || ready(&sets, "web").await == 3).await;
    house.until("it is in force", async || condition(&house, "Accepted").await == "True").await;
    house
}

async fn status(house: &House) -> StatefulSetPolicyStatus {
    let policies: Api<StatefulSetPolicy> = house.api("default");
    policies.get("web").await.unwrap().status.unwrap_or_default()
}

/// The status of one of the policy's conditions; empty when it is not there.
async fn condition(house: &House, kind: &str) -> String {
    let conditions = status(house).await.conditions.unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found.map(|condition| condition.status).unwrap_or_default()
}

async fn give_image(house: &House, image: &str) {
    let sets: Api<StatefulSet> = house.api("default");
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    sets.patch("web", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
}

/// Each pod's uid and image, in the order of names.
async fn pods(house: &House) -> Vec<(String, String)> {
    let pods: Api<Pod> = house.api("default");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let facts = pods.items.into_iter().map(|pod| {
        let image = pod.spec.unwrap().containers[0].image.clone();
        (pod.metadata.uid.unwrap(), image.unwrap_or_default())
    });
    facts.collect()
}

async fn images(house: &House) -> Vec<String> {
    pods(house).await.into_iter().map(|(_, image)| image).collect()
}

async fn events_on_the_policy(house: &House) -> Vec<String> {
    let events: Api<Event> = house.api("default");
    let events = events.list(&ListParams::default()).await.unwrap();
    let on = events
        .into_iter()
        .filter(|event| event.involved_object.kind.as_deref() == Some("StatefulSetPolicy"));
    on.filter_map(|event| event.reason).collect()
}

#[tokio::test]
async fn a_good_image_after_a_bad_one_needs_no_human() {
    let house = with_policy(json!({"rollout": {"replaceBrokenPods": true}})).await;
    let before = pods(&house).await;
    give_image(&house, "broken").await;
    let sets: Api<StatefulSet> = house.api("default");
    let failing = async || {
        let status = sets.get("web").await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let failure = conditions.into_iter().find(|one| one.type_ == "ReplicaFailure");
        failure.and_then(|failure| failure.reason).as_deref() == Some("ImagePullBackOff")
    };
    house.until("web-2 is broken, and said to be", failing).await;
    assert_eq!(pods(&house).await[..2], before[..2], "the healthy ones are untouched");
    give_image(&house, "y").await;
    house
        .until("all are at the good image", async || {
            images(&house).await == ["y", "y", "y"] && ready(&sets, "web").await == 3
        })
        .await;
    let told =
        async || events_on_the_policy(&house).await.contains(&"ReplacedBrokenPod".to_owned());
    house.until("the policy is told", told).await;
    house.close().await;
}

#[tokio::test]
async fn a_set_returns_by_itself_after_its_deadline() {
    let rollout = json!({"progressDeadlineSeconds": 1, "onDeadline": "Return"});
    let house = with_policy(json!({"rollout": rollout})).await;
    let completed = async || status(&house).await.last_completed_revision.is_some();
    house.until("the first revision is complete", completed).await;
    let before = pods(&house).await;
    give_image(&house, "broken").await;
    house.until("it is given up", async || condition(&house, "RolledBack").await == "True").await;
    let sets: Api<StatefulSet> = house.api("default");
    house
        .until("all are back", async || {
            images(&house).await == ["x", "x", "x"] && ready(&sets, "web").await == 3
        })
        .await;
    assert_eq!(pods(&house).await[..2], before[..2], "the healthy ones are untouched");
    let status = status(&house).await;
    assert!(status.returned_from.is_some_and(|from| Some(from) != status.last_completed_revision));
    let told = async || events_on_the_policy(&house).await.contains(&"RolledBack".to_owned());
    house.until("the policy is told", told).await;
    house.close().await;
}

#[tokio::test]
async fn a_reserved_ordinal_goes_with_its_claim() {
    let ordinals = json!({"reserved": ["1"], "claims": "Delete"});
    let house = with_policy(json!({})).await;
    let policies: Api<StatefulSetPolicy> = house.api("default");
    let patch = json!({"spec": {"ordinals": ordinals}});
    policies.patch("web", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let pods: Api<Pod> = house.api("default");
    let claims: Api<PersistentVolumeClaim> = house.api("default");
    house
        .until("0, 2 and 3 are there, and nothing of 1", async || {
            let pods = pods.list_metadata(&ListParams::default()).await.unwrap();
            let names: Vec<String> =
                pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
            names == ["web-0", "web-2", "web-3"]
                && claims.get_opt("data-web-1").await.unwrap().is_none()
        })
        .await;
    house.close().await;
}

#[tokio::test]
async fn a_policy_says_what_keeps_it_from_being_in_force() {
    let house = House::open(1).await;
    let policies: Api<StatefulSetPolicy> = house.api("default");
    let policy = |name: &str| {
        let policy = json!({"metadata": {"name": name}, "spec": {"statefulSetName": "web"}});
        serde_json::from_value(policy).unwrap()
    };
    let reason = async || {
        let conditions = status(&house).await.conditions.unwrap_or_default();
        conditions.into_iter().next().map(|one| one.reason).unwrap_or_default()
    };
    policies.create(&PostParams::default(), &policy("web")).await.unwrap();
    house.until("no set", async || reason().await == "SetNotFound").await;
    let sets: Api<StatefulSet> = house.api("default");
    sets.create(&PostParams::default(), &set("web", 1, "OrderedReady")).await.unwrap();
    house.until("a set", async || reason().await == "Accepted").await;
    policies.create(&PostParams::default(), &policy("other")).await.unwrap();
    house.until("two policies", async || reason().await == "Conflicting").await;
    policies.delete("other", &Default::default()).await.unwrap();
    house.until("one policy", async || reason().await == "Accepted").await;
    house.close().await;
}

#[tokio::test]
async fn a_paused_set_waits_until_it_is_resumed() {
    let house = with_policy(json!({"paused": true})).await;
    give_image(&house, "y").await;
    let sets: Api<StatefulSet> = house.api("default");
    let paused = async || {
        let status = sets.get("web").await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        conditions.iter().any(|one| one.reason.as_deref() == Some("Paused"))
    };
    house.until("it says so", paused).await;
    assert_eq!(images(&house).await, ["x", "x", "x"]);
    let policies: Api<StatefulSetPolicy> = house.api("default");
    let resume = json!({"spec": {"paused": false}});
    policies.patch("web", &PatchParams::default(), &Patch::Merge(&resume)).await.unwrap();
    house.until("all are at the new image", async || images(&house).await == ["y", "y", "y"]).await;
    house.close().await;
}
