//! Who a pod is, and whose: section 17, 1, 2, 16 and 19.

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::Pod,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use super::place::{Place, set, typed, with_claims};

pub(super) async fn b1_identity_and_data_survive_scaling_to_nothing(place: Place) {
    place.create(3, with_claims).await;
    place.until_settled(3).await;
    assert_eq!(place.log(), "+0 !0 +1 !1 +2 !2");
    for ordinal in 0..3 {
        let name = format!("web-{ordinal}");
        assert_eq!(place.exec(&name, "hostname").await, name);
        place.exec(&name, "hostname > /data/who").await;
        let pod = place.look(|seen| seen.pods[&name].clone());
        let index = &pod.labels()["apps.kubernetes.io/pod-index"];
        assert_eq!(*index, ordinal.to_string());
        assert_eq!(pod.labels()["statefulset.kubernetes.io/pod-name"], name);
        assert_eq!(pod.spec.unwrap().subdomain.as_deref(), Some("web"));
    }
    place.scale(0).await;
    place.until_settled(0).await;
    assert_eq!(place.moves(), "-2 -1 -0");
    place.scale(3).await;
    place.until_settled(3).await;
    for ordinal in 0..3 {
        let name = format!("web-{ordinal}");
        assert_eq!(place.exec(&name, "cat /data/who").await, name, "its data is its own");
    }
}

pub(super) async fn b2_a4_adoption_release_and_adoption_again(place: Place) {
    place.create(2, |_| ()).await;
    place.until_settled(2).await;
    let uid = place.look(|seen| seen.uid("web-0"));
    place.log();
    let owned = |seen: &super::place::Seen| {
        let owners = seen.pods.get("web-0").map(|pod| pod.owner_references().to_vec());
        owners.is_some_and(|owners| owners.iter().any(|one| one.controller == Some(true)))
    };
    place.relabel::<Pod>("web-0", json!({"ownerReferences": null})).await;
    place.until("it is taken in again", owned).await;
    place.relabel::<Pod>("web-0", json!({"labels": {"app": "other"}})).await;
    place.until("it is let go", |seen| !owned(seen)).await;
    // E1: the name is taken, and the set says so.
    place.until_told("FailedCreate", "pods \"web-0\" already exists").await;
    place.relabel::<Pod>("web-0", json!({"labels": {"app": "web"}})).await;
    place.until("it is taken in again", owned).await;
    place.until_settled(2).await;
    assert_eq!(place.look(|seen| seen.uid("web-0")), uid);
    assert_eq!(place.log(), "", "no pod was made or ended for it");
}

/// A5: with its pods, claims and revisions as they are; then both policies work on them.
pub(super) async fn a5_b16_a_set_made_again_takes_in_what_was_orphaned(place: Place) {
    place.create(2, with_claims).await;
    place.until_settled(2).await;
    let sets = place.api::<StatefulSet>();
    let first = place.look(|seen| (seen.uid("web-0"), seen.uid("web-1")));
    let revision = place.look(|seen| seen.status().update_revision);
    sets.delete("web", &DeleteParams::orphan()).await.unwrap();
    place.until("the set is gone", |seen| !seen.sets.contains_key("web")).await;
    place
        .until("its pods are ownerless", |seen| {
            seen.pods.values().all(|pod| pod.owner_references().is_empty())
        })
        .await;
    place.log();
    let mut again = set(2);
    with_claims(&mut again);
    again["spec"]["podManagementPolicy"] = json!("Parallel");
    again["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    sets.create(&PostParams::default(), &typed(again)).await.unwrap();
    place.until_settled(2).await;
    assert_eq!(place.look(|seen| (seen.uid("web-0"), seen.uid("web-1"))), first);
    assert_eq!(place.look(|seen| seen.status().update_revision), revision);
    let revisions = place.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
    assert_eq!(revisions.items.len(), 1, "the revision is taken in, too");
    assert_eq!(place.log(), "");
    place.scale(1).await;
    place
        .until("the claim goes with its pod", |seen| {
            seen.settled(1) && seen.claims.keys().eq(["data-web-0"])
        })
        .await;
    sets.delete("web", &DeleteParams::default()).await.unwrap();
    place
        .until("the rest goes with the set", |seen| seen.pods.is_empty() && seen.claims.is_empty())
        .await;
}

pub(super) async fn b19_o1_the_start_ordinal_moves(place: Place) {
    place.create(2, |set| set["spec"]["ordinals"] = json!({"start": 2})).await;
    for (start, pods, log) in [
        (json!({"start": 2}), ["web-2", "web-3"], "+2 !2 +3 !3"),
        (json!({"start": 4}), ["web-4", "web-5"], "+4 !4 +5 !5 -3 -2"),
        (json!({"start": 3}), ["web-3", "web-4"], "+3 !3 -5"),
        (json!(null), ["web-0", "web-1"], "+0 !0 +1 !1 -4 -3"),
    ] {
        place.write(json!({"spec": {"ordinals": start}})).await;
        place
            .until("the range has moved", |seen| seen.settled(2) && seen.pods.keys().eq(pods))
            .await;
        assert_eq!(place.log(), log, "the new ones first, then the rest from the top");
    }
}
