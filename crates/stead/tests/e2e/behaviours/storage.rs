//! Claims: section 17, 16, 17 and 18, and K9.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Node, PersistentVolumeClaim},
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::place::{Place, Seen, phase, typed, with_claims};

fn claims(set: &mut Value, scaled: &str, deleted: &str) {
    with_claims(set);
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": scaled, "whenDeleted": deleted});
}

/// `Kind*` for each owner of a claim, the star where it controls.
fn owners(seen: &Seen, claim: &str) -> String {
    let owners = seen.claims.get(claim).map(|one| one.owner_references().to_vec());
    let words = owners
        .unwrap_or_default()
        .into_iter()
        .map(|owner| owner.kind + if owner.controller == Some(true) { "*" } else { "" });
    words.collect::<Vec<_>>().join(" ")
}

pub(super) async fn b16_k5_claims_go_when_the_policy_says(place: Place) {
    place.create(3, |set| claims(set, "Delete", "Retain")).await;
    place.until_settled(3).await;
    place.scale(1).await;
    place.until("the claims of two are gone", |seen| seen.claims.keys().eq(["data-web-0"])).await;
    let policy = |scaled: &str, deleted: &str| {
        json!({"spec": {"persistentVolumeClaimRetentionPolicy":
            {"whenScaled": scaled, "whenDeleted": deleted}}})
    };
    place.patch(policy("Retain", "Delete")).await;
    place.until("the set owns it", |seen| owners(seen, "data-web-0") == "StatefulSet*").await;
    place.patch(policy("Retain", "Retain")).await;
    place.until("nobody owns it", |seen| owners(seen, "data-web-0").is_empty()).await;
    place.patch(policy("Retain", "Delete")).await;
    place.until("the set owns it", |seen| owners(seen, "data-web-0") == "StatefulSet*").await;
    place.delete::<StatefulSet>("web").await;
    place.until("all is gone", |seen| seen.pods.is_empty() && seen.claims.is_empty()).await;
}

pub(super) async fn b16_k7_a_foreign_controller_keeps_its_claim(place: Place) {
    place.create(2, |set| claims(set, "Delete", "Retain")).await;
    place.until_settled(2).await;
    let boss = owner(&place, "boss", Some(true)).await;
    place.relabel::<PersistentVolumeClaim>("data-web-1", json!({"ownerReferences": [boss]})).await;
    place.scale(1).await;
    place.until_settled(1).await;
    place.until_told("ConflictingController", "PersistentVolumeClaim data-web-1 has a conflicting \
        OwnerReference that acts as a manging controller, the retention policy is ignored for this claim")
        .await;
    assert_eq!(place.look(|seen| owners(seen, "data-web-1")), "ConfigMap*");
    place.relabel::<PersistentVolumeClaim>("data-web-1", json!({"ownerReferences": null})).await;
    place.scale(2).await;
    place.until_settled(2).await;
    place.scale(1).await;
    place.until("now it goes", |seen| seen.claims.keys().eq(["data-web-0"])).await;
}

pub(super) async fn b17_k7_mixed_owners(place: Place) {
    place.create(3, |set| claims(set, "Retain", "Delete")).await;
    place.until_settled(3).await;
    let friend = owner(&place, "friend", None).await;
    let set = place.look(|seen| seen.sets["web"].clone());
    let ours = |uid: &str, controller: bool| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": uid,
            "controller": controller})
    };
    let uid = set.uid().unwrap();
    for (claim, list) in [
        ("data-web-0", json!([friend, ours(&uid, true)])),
        ("data-web-1", json!([friend])),
        ("data-web-2", json!([ours(&uid, false)])),
    ] {
        place.relabel::<PersistentVolumeClaim>(claim, json!({"ownerReferences": list})).await;
    }
    place
        .until("each has the owners it should have", |seen| {
            owners(seen, "data-web-0") == "ConfigMap StatefulSet*"
                && owners(seen, "data-web-1") == "ConfigMap StatefulSet*"
                && owners(seen, "data-web-2") == "StatefulSet*"
        })
        .await;
    place.delete::<StatefulSet>("web").await;
    place
        .until("what nobody else owns is gone", |seen| {
            seen.pods.is_empty() && seen.claims.keys().eq(["data-web-0", "data-web-1"])
        })
        .await;
}

/// An object that can own a claim, as an owner reference.
async fn owner(place: &Place, name: &str, controller: Option<bool>) -> Value {
    let map: ConfigMap = typed(json!({"metadata": {"name": name}}));
    let map = place.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": map.uid(),
        "controller": controller})
}

/// The pod waits for a node with a label, as it would for one that is cordoned.
pub(super) async fn b18_k3_a_claim_deleted_under_a_pending_pod_comes_back(place: Place) {
    let label = format!("example.com/{}", place.name.split('-').next().unwrap());
    place
        .create(1, |set| {
            with_claims(set);
            set["spec"]["template"]["spec"]["nodeSelector"] = json!({&label: "yes"});
        })
        .await;
    place
        .until("its pod waits", |seen| {
            let pod = seen.pods.get("web-0");
            pod.is_some_and(|pod| phase(pod) == "Pending") && seen.claims.contains_key("data-web-0")
        })
        .await;
    let uid = place.look(|seen| seen.claims["data-web-0"].uid());
    place.delete::<PersistentVolumeClaim>("data-web-0").await;
    place
        .until("the claim is back", |seen| {
            seen.claims.get("data-web-0").is_some_and(|claim| claim.uid() != uid)
        })
        .await;
    let nodes = place.everywhere::<Node>();
    let node = nodes.list(&ListParams::default()).await.unwrap().items.remove(0);
    let labels = json!({"metadata": {"labels": {&label: "yes"}}});
    nodes.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    place.until_settled(1).await;
}

/// K9 of section 18: upstream stays at one replica here, for nothing wakes it.
pub(super) async fn k9_fix_scaling_back_at_once(place: Place) {
    place.create(2, |set| claims(set, "Delete", "Retain")).await;
    place.until_settled(2).await;
    let uid = place.look(|seen| seen.claims["data-web-1"].uid());
    place.scale(1).await;
    place.scale(2).await;
    place.until_settled(2).await;
    place
        .until("a claim that stays", |seen| {
            let claim = seen.claims.get("data-web-1");
            claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
                && owners(seen, "data-web-1").is_empty()
        })
        .await;
    // Either the pod was not gone yet, and keeps its claim, or both are new.
    let now = place.look(|seen| seen.claims["data-web-1"].uid());
    let again = place.log().matches("+1").count() == 2;
    assert_eq!(now != uid, again);
}
