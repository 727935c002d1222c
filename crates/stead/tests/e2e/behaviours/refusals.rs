//! Sets that cannot have what they want, and say so.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, ResourceQuota},
    scheduling::v1::PriorityClass,
};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::place::{Place, phase, ready, typed, with_claims};

/// Section 18, E1: upstream stalls without a word.
pub(super) async fn e1_fix_a_squatter_is_told(place: Place) {
    let pods = place.api::<Pod>();
    let squatter = json!({"metadata": {"name": "web-0"},
        "spec": {"terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "busybox:1.28.4", "command": ["sleep", "1000"]}]}});
    pods.create(&PostParams::default(), &typed(squatter)).await.unwrap();
    place.create(1, |_| ()).await;
    place
        .until_told(
            "FailedCreate",
            "Create Pod web-0 in StatefulSet web failed error: pods \"web-0\" already exists",
        )
        .await;
    place.delete::<Pod>("web-0").await;
    place.until_settled(1).await;
}

/// Issue 108837: a class that goes away stops a scale-up half-way, as a quota would; the status says
/// what there is, and the set goes on when the class is back.
pub(super) async fn refused_half_way_and_then_not(place: Place) {
    let classes = place.everywhere::<PriorityClass>();
    let class: PriorityClass = typed(json!({"metadata": {"name": place.name}, "value": 7}));
    classes.create(&PostParams::default(), &class).await.unwrap();
    place
        .create(2, |set| {
            set["spec"]["podManagementPolicy"] = json!("Parallel");
            set["spec"]["template"]["spec"]["priorityClassName"] = json!(place.name);
        })
        .await;
    place.until_settled(2).await;
    classes.delete(&place.name, &DeleteParams::default()).await.unwrap();
    place.scale(4).await;
    let why = format!("no PriorityClass with name {} was found", place.name);
    place.until_told("FailedCreate", &why).await;
    assert_eq!(place.look(|seen| (seen.status().replicas, seen.pods.len())), (2, 2));
    classes.create(&PostParams::default(), &class).await.unwrap();
    place.until_settled(4).await;
    classes.delete(&place.name, &DeleteParams::default()).await.unwrap();
}

/// Under Parallel: the pods that have their claims run, whatever is refused to the others.
pub(super) async fn k2_a_quota_on_claims_that_ends_half_way(place: Place) {
    let quotas = place.api::<ResourceQuota>();
    let quota =
        json!({"metadata": {"name": "few"}, "spec": {"hard": {"persistentvolumeclaims": "2"}}});
    quotas.create(&PostParams::default(), &typed(quota)).await.unwrap();
    place
        .create(4, |set| {
            with_claims(set);
            set["spec"]["podManagementPolicy"] = json!("Parallel");
        })
        .await;
    place
        .until("two have claims, and run", |seen| {
            ["web-0", "web-1"].iter().all(|pod| seen.pods.get(*pod).is_some_and(ready))
        })
        .await;
    let why = "exceeded quota: few, requested: persistentvolumeclaims=1, used: persistentvolumeclaims=2, limited: persistentvolumeclaims=2";
    place
        .until_told(
            "FailedCreate",
            &format!(
                "Create Claim data-web-2 for Pod web-2 in StatefulSet web failed error: \
         persistentvolumeclaims \"data-web-2\" is forbidden: {why}"
            ),
        )
        .await;
    assert_eq!(place.look(|seen| (seen.pods.len(), seen.claims.len())), (2, 2));
    let more = json!({"spec": {"hard": {"persistentvolumeclaims": "4"}}});
    quotas.patch("few", &PatchParams::default(), &Patch::Merge(more)).await.unwrap();
    place.until_settled(4).await;
}

/// The set waits, says so in its status, and can be taken down.
pub(super) async fn a_claim_that_can_never_bind(place: Place) {
    place
        .create(2, |set| {
            with_claims(set);
            set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = json!("absent");
        })
        .await;
    place
        .until("its pod waits", |seen| {
            let pod = seen.pods.get("web-0");
            pod.is_some_and(|pod| phase(pod) == "Pending") && seen.status().replicas == 1
        })
        .await;
    place.until_told("FailedScheduling", "").await;
    place
        .until_told("ProvisioningFailed", "storageclass.storage.k8s.io \"absent\" not found")
        .await;
    assert_eq!(place.look(|seen| (seen.pods.len(), seen.claims.len())), (1, 1));
    place.scale(0).await;
    place.until("the status says none", |seen| seen.settled(0)).await;
    place.delete::<StatefulSet>("web").await;
    place.until("it is gone", |seen| seen.sets.is_empty()).await;
    assert_eq!(place.look(|seen| seen.claims.len()), 1, "and its claim is kept");
}

/// V8: there is no Service `web` here.
pub(super) async fn v8_a_set_whose_service_is_missing_works(place: Place) {
    place.create(2, |_| ()).await;
    place.until_settled(2).await;
    assert_eq!(place.exec("web-1", "hostname").await, "web-1");
    place
        .create_also("nameless", |set| {
            set["spec"].as_object_mut().unwrap().remove("serviceName");
        })
        .await;
    place
        .until("without any service name, too", |seen| {
            let status = seen.sets.get("nameless").and_then(|set| set.status.clone());
            status.is_some_and(|status| status.ready_replicas == Some(1))
        })
        .await;
}
