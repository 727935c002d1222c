//! Rows of claims and volumes.

#![expect(clippy::too_many_lines, reason = "rows are a table")]

mod growth;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{claim, volume};
use crate::{Plan, Verb};

/// A row's claim `c`, as JSON patches over a plain one of 1Gi that is protected already.
fn claim_of(more: &Value) -> Value {
    let mut claim = json!({
        "metadata": {"name": "c", "namespace": "default", "uid": "claim", "resourceVersion": "5",
            "finalizers": [super::CLAIM_PROTECTION]},
        "spec": {"storageClassName": "manual", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}},
    });
    merge(&mut claim, more);
    claim
}

/// A free volume of class `manual`, protected already.
fn volume_of(name: &str, size: &str, more: &Value) -> Value {
    let mut volume = json!({
        "metadata": {"name": name, "uid": name, "resourceVersion": "6",
            "finalizers": [super::VOLUME_PROTECTION]},
        "spec": {"storageClassName": "manual", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size}, "persistentVolumeReclaimPolicy": "Retain"},
        "status": {"phase": "Available"},
    });
    merge(&mut volume, more);
    volume
}

fn merge(object: &mut Value, more: &Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more.clone(),
    }
}

fn view(claim: &Value, volumes: &[Value]) -> claim::View {
    let parse = |value: &Value| Arc::new(serde_json::from_value(value.clone()).unwrap());
    claim::View {
        claim: serde_json::from_value(claim.clone()).map(Arc::new).unwrap(),
        class: None,
        volumes: volumes.iter().map(parse).collect(),
        users: Vec::new(),
        nodes: Vec::new(),
    }
}

fn with_class(mut view: claim::View, provisioner: &str, mode: &str) -> claim::View {
    let class = json!({"metadata": {"name": "manual"}, "provisioner": provisioner,
        "volumeBindingMode": mode, "reclaimPolicy": "Delete"});
    view.class = Some(Arc::new(serde_json::from_value(class).unwrap()));
    view
}

fn with_user(mut view: claim::View, node: Option<&str>, phase: &str) -> claim::View {
    let pod = json!({"metadata": {"name": "p", "namespace": "default", "uid": "pod"},
        "spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
    view.users.push(Arc::new(serde_json::from_value(pod).unwrap()));
    view
}

/// The plan, then what it says.
fn told(plan: &Plan) -> String {
    let mut text = plan.to_string();
    for action in &plan.actions {
        for note in action.events.iter().filter_map(|events| events.success.as_ref()) {
            let kind = if note.warning { "Warning" } else { "Normal" };
            text += &format!(" | {kind} {} {}", note.reason, note.message);
        }
    }
    text
}

#[track_caller]
fn check(view: &claim::View, wanted: &str) {
    assert_eq!(told(&claim::reconcile(view)), wanted);
}

/// The object of the plan's action at this place, as JSON.
#[track_caller]
fn written(plan: &Plan, at: usize) -> Value {
    match &plan.actions[at].verb {
        Verb::Create(object) | Verb::Update { object, .. } => object.to_value(),
        other => panic!("{other:?}"),
    }
}

const BIND: &str = "update PersistentVolume";
/// Comes before a volume is given up: its node deletes or empties it then.
const CLAIM_GONE: &str = "confirm that PersistentVolumeClaim c is gone";

#[test]
fn binds_the_smallest_volume_that_fits() {
    for (volumes, taken) in [
        (
            vec![volume_of("big", "9Gi", &json!({})), volume_of("fit", "2Gi", &json!({}))],
            Some("fit"),
        ),
        (vec![volume_of("b", "1Gi", &json!({})), volume_of("a", "1Gi", &json!({}))], Some("a")),
        (vec![volume_of("small", "1Mi", &json!({}))], None),
        (vec![volume_of("other", "1Gi", &json!({"spec": {"storageClassName": "else"}}))], None),
        (
            vec![volume_of("modes", "1Gi", &json!({"spec": {"accessModes": ["ReadOnlyMany"]}}))],
            None,
        ),
        (vec![volume_of("raw", "1Gi", &json!({"spec": {"volumeMode": "Block"}}))], None),
        (
            vec![volume_of(
                "held",
                "1Gi",
                &json!({"spec": {"claimRef": {"name": "x", "namespace": "default", "uid": "x"}}}),
            )],
            None,
        ),
        (
            vec![volume_of(
                "going",
                "1Gi",
                &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            )],
            None,
        ),
        // fewer access modes first, as upstream's index has it
        (
            vec![
                volume_of(
                    "two",
                    "1Gi",
                    &json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}),
                ),
                volume_of("one", "2Gi", &json!({})),
            ],
            Some("one"),
        ),
    ] {
        let seen = view(&claim_of(&json!({})), &volumes);
        let text = claim::reconcile(&seen).to_string();
        match taken {
            Some(name) => {
                assert_eq!(text, format!("{BIND} {name}; update PersistentVolumeClaim c"))
            }
            None => assert!(!text.contains(BIND), "{text}"),
        }
    }
}

#[test]
fn selectors_choose_among_volumes() {
    let labelled = volume_of("gold", "1Gi", &json!({"metadata": {"labels": {"tier": "gold"}}}));
    let wants = claim_of(&json!({"spec": {"selector": {"matchLabels": {"tier": "gold"}}}}));
    let text = claim::reconcile(&view(&wants, &[volume_of("a", "1Gi", &json!({})), labelled]));
    assert_eq!(text.to_string(), "update PersistentVolume gold; update PersistentVolumeClaim c");
}

#[test]
fn binding_writes_the_volume_first_then_the_claim_then_its_status() {
    let plan = claim::reconcile(&view(&claim_of(&json!({})), &[volume_of("v", "2Gi", &json!({}))]));
    let (volume, bound) = (written(&plan, 0), written(&plan, 1));
    assert_eq!(volume["spec"]["claimRef"]["uid"], "claim");
    assert_eq!(volume["spec"]["claimRef"]["name"], "c");
    assert_eq!(volume["metadata"]["annotations"][super::BOUND_BY_CONTROLLER], "yes");
    assert_eq!(volume["metadata"]["resourceVersion"], "6", "a stale plan bounces");
    assert_eq!(bound["spec"]["volumeName"], "v");
    assert_eq!(bound["metadata"]["annotations"][super::BOUND_BY_CONTROLLER], "yes");
    assert_eq!(bound["metadata"]["annotations"][super::BIND_COMPLETED], "yes");
    assert!(plan.actions[0].group < plan.actions[1].group);
    // The status follows from the claim as it then is.
    let seen = view(&bound, std::slice::from_ref(&volume));
    let plan = claim::reconcile(&seen);
    assert_eq!(plan.to_string(), "update status of PersistentVolumeClaim c");
    let status = written(&plan, 0);
    assert_eq!(status["status"]["phase"], "Bound");
    assert_eq!(status["status"]["capacity"]["storage"], "2Gi");
    assert_eq!(status["status"]["accessModes"], json!(["ReadWriteOnce"]));
    check(&view(&status, &[volume]), "nothing to do");
}

#[test]
fn a_volume_reserved_for_the_claim_wins_even_where_binding_waits() {
    let reserved = volume_of(
        "mine",
        "9Gi",
        &json!({"spec": {"claimRef": {"name": "c", "namespace": "default"}}}),
    );
    let volumes = [volume_of("fit", "1Gi", &json!({})), reserved];
    for mode in ["Immediate", "WaitForFirstConsumer"] {
        let seen =
            with_class(view(&claim_of(&json!({})), &volumes), "kubernetes.io/no-provisioner", mode);
        check(&seen, "update PersistentVolume mine; update PersistentVolumeClaim c");
        let plan = claim::reconcile(&seen);
        assert_eq!(written(&plan, 0)["spec"]["claimRef"]["uid"], "claim");
        assert!(written(&plan, 0)["metadata"]["annotations"].is_null(), "a person bound it");
    }
}

#[test]
fn a_claim_that_names_its_volume() {
    let wants = claim_of(&json!({"spec": {"volumeName": "v"}}));
    check(&view(&wants, &[]), "nothing to do");
    check(
        &view(&wants, &[volume_of("v", "1Gi", &json!({}))]),
        "update PersistentVolume v; update PersistentVolumeClaim c",
    );
    let other = json!({"spec": {"claimRef": {"name": "x", "namespace": "default", "uid": "x"}}});
    check(
        &view(&wants, &[volume_of("v", "1Gi", &other)]),
        "say FailedBinding | Warning FailedBinding volume \"v\" already bound to a different claim.",
    );
    for (more, error) in [
        (json!({"spec": {"capacity": {"storage": "1Mi"}}}), "requested PV is too small"),
        (json!({"spec": {"storageClassName": "else"}}), "storageClassName does not match"),
        (json!({"spec": {"volumeMode": "Block"}}), "incompatible volumeMode"),
        (json!({"spec": {"accessModes": ["ReadOnlyMany"]}}), "incompatible accessMode"),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            "the volume is marked for deletion \"v\"",
        ),
    ] {
        let text = format!(
            "say VolumeMismatch | Warning VolumeMismatch Cannot bind to requested volume \"v\": {error}"
        );
        check(&view(&wants, &[volume_of("v", "1Gi", &more)]), &text);
    }
}

#[test]
fn a_bound_claim_that_lost_its_volume_says_so_once() {
    let bound = json!({"spec": {"volumeName": "v"},
        "metadata": {"annotations": {super::BIND_COMPLETED: "yes"}}, "status": {"phase": "Bound"}});
    let bound = claim_of(&bound);
    let write = "update status of PersistentVolumeClaim c | Warning";
    check(
        &view(&bound, &[]),
        &format!(
            "{write} ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        ),
    );
    let mut nameless = bound.clone();
    nameless["spec"]["volumeName"] = json!("");
    check(
        &view(&nameless, &[volume_of("v", "1Gi", &json!({}))]),
        &format!(
            "{write} ClaimLost Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        ),
    );
    // A volume that forgot its claim is given it back.
    check(
        &view(&bound, &[volume_of("v", "1Gi", &json!({}))]),
        "update PersistentVolume v; update status of PersistentVolumeClaim c",
    );
    let other = json!({"spec": {"claimRef": {"name": "x", "namespace": "default", "uid": "x"}}});
    check(
        &view(&bound, &[volume_of("v", "1Gi", &other)]),
        &format!(
            "{write} ClaimMisbound Two claims are bound to the same volume, this one is bound incorrectly"
        ),
    );
    let lost = written(&claim::reconcile(&view(&bound, &[])), 0);
    assert_eq!(lost["status"]["phase"], "Lost");
    check(&view(&lost, &[]), "nothing to do");
}

/// The words of transcript 4.
#[test]
fn a_claim_that_finds_no_volume_says_so() {
    check(
        &view(&claim_of(&json!({"spec": {"storageClassName": ""}})), &[]),
        "say FailedBinding | Normal FailedBinding no persistent volumes available for this claim and no storage class is set",
    );
    check(
        &view(&claim_of(&json!({"spec": {"storageClassName": "nowhere"}})), &[]),
        "say ProvisioningFailed | Warning ProvisioningFailed storageclass.storage.k8s.io \"nowhere\" not found",
    );
    let seen = with_class(view(&claim_of(&json!({})), &[]), "example.com/disks", "Immediate");
    check(
        &seen,
        "patch PersistentVolumeClaim c; say ExternalProvisioning | Normal ExternalProvisioning Waiting for a volume to be created either by the external provisioner 'example.com/disks' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
    );
}

#[test]
fn binding_that_waits_for_its_first_consumer() {
    let free = [volume_of("v", "1Gi", &json!({}))];
    let seen =
        with_class(view(&claim_of(&json!({})), &free), "stead.io/local", "WaitForFirstConsumer");
    check(
        &seen,
        "say WaitForFirstConsumer | Normal WaitForFirstConsumer waiting for first consumer to be created before binding",
    );
    check(
        &with_user(seen, None, "Pending"),
        "say WaitForPodScheduled | Normal WaitForPodScheduled waiting for pod p to be scheduled",
    );
}

#[test]
fn the_built_in_class_makes_a_folder_on_the_chosen_node() {
    let chosen = claim_of(&json!({"metadata": {"annotations": {super::SELECTED_NODE: "n2"}}}));
    let mut seen = with_class(view(&chosen, &[]), "stead.io/local", "WaitForFirstConsumer");
    check(
        &seen,
        "say Provisioning | Normal Provisioning no node has a folder for the volumes of stead.io/local yet",
    );
    for name in ["n1", "n2"] {
        let node = json!({"metadata": {"name": name, "annotations": {super::LOCAL_PATH: "/data"},
            "labels": {"kubernetes.io/hostname": name}}});
        seen.nodes.push(Arc::new(serde_json::from_value(node).unwrap()));
    }
    check(
        &seen,
        "create PersistentVolume pvc-claim | Normal ProvisioningSucceeded Successfully provisioned volume pvc-claim",
    );
    let made = written(&claim::reconcile(&seen), 0);
    assert_eq!(made["spec"]["local"]["path"], "/data/pvc-claim");
    assert_eq!(made["spec"]["claimRef"]["uid"], "claim");
    assert_eq!(made["spec"]["capacity"]["storage"], "1Gi");
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    assert_eq!(made["metadata"]["annotations"][super::PROVISIONED_BY], "stead.io/local");
    let affinity = &made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0];
    assert_eq!(affinity["matchExpressions"][0]["values"], json!(["n2"]));
    // Once it is there, it is bound as any reserved one.
    seen.volumes = vec![Arc::new(serde_json::from_value(made).unwrap())];
    check(&seen, "update PersistentVolumeClaim c");
}

#[test]
fn a_claim_is_kept_while_a_pod_uses_it() {
    let bare = claim_of(&json!({"metadata": {"finalizers": null}}));
    check(&view(&bare, &[]), "patch PersistentVolumeClaim c");
    let going = claim_of(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    check(&view(&going, &[]), "patch PersistentVolumeClaim c");
    check(&with_user(view(&going, &[]), Some("n"), "Running"), "nothing to do");
    check(&with_user(view(&going, &[]), Some("n"), "Succeeded"), "patch PersistentVolumeClaim c");
    // A pod without a node cannot hold it.
    check(&with_user(view(&going, &[]), None, "Pending"), "patch PersistentVolumeClaim c");
}

/// The plan for a volume `v` whose `claimRef` names the row's claim, or none.
fn volume_plan(volume: &Value, claim: Option<Value>) -> Plan {
    volume::reconcile(&volume::View {
        volume: Arc::new(serde_json::from_value(volume.clone()).unwrap()),
        claim: claim.map(|claim| Arc::new(serde_json::from_value(claim).unwrap())),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    })
}

#[test]
fn the_phases_of_a_volume() {
    let held = |policy: &str, more: Value| {
        let mut volume = volume_of(
            "v",
            "1Gi",
            &json!({"spec": {"persistentVolumeReclaimPolicy": policy,
            "claimRef": {"name": "c", "namespace": "default", "uid": "claim"}}}),
        );
        merge(&mut volume, &more);
        volume
    };
    let none = || json!({});
    let made = |by: &str| json!({"metadata": {"annotations": {super::PROVISIONED_BY: by}}});
    let bound = claim_of(&json!({"spec": {"volumeName": "v"}}));
    let elsewhere = claim_of(&json!({"spec": {"volumeName": "w"}}));
    let namesake = claim_of(&json!({"metadata": {"uid": "another"}}));
    for (volume, claim, wanted) in [
        (volume_of("v", "1Gi", &json!({"status": {"phase": "Pending"}})), None, "Available"),
        (volume_of("v", "1Gi", &none()), None, "-"),
        (held("Retain", none()), Some(bound.clone()), "Bound"),
        (held("Retain", json!({"status": {"phase": "Bound"}})), Some(bound.clone()), "-"),
        (held("Retain", json!({"spec": {"claimRef": {"uid": ""}}})), None, "-"),
        (held("Retain", none()), None, "Released"),
        (held("Retain", none()), Some(namesake), "Released"),
        (held("Delete", made("stead.io/local")), None, "Released"),
        (held("Delete", made("example.com/disks")), None, "Released"),
        (held("Delete", none()), None, "Failed"),
        (held("Delete", json!({"spec": {"hostPath": {"path": "/tmp/x"}}})), None, "Released"),
        (held("Delete", json!({"spec": {"hostPath": {"path": "/srv/x"}}})), None, "Failed"),
        (held("Recycle", none()), None, "Failed"),
        (held("Recycle", json!({"spec": {"hostPath": {"path": "/x"}}})), None, "Released"),
        (held("Recycle", json!({"spec": {"local": {"path": "/x"}}})), None, "Released"),
        // What a node said of its failure stays.
        (
            held(
                "Recycle",
                json!({"spec": {"local": {"path": "/x"}}, "status": {"phase": "Failed"}}),
            ),
            None,
            "-",
        ),
        (held("Retain", none()), Some(elsewhere.clone()), "-"),
    ] {
        let plan = volume_plan(&volume, claim);
        let sure = plan.to_string().starts_with(&format!("{CLAIM_GONE}; "));
        match wanted {
            "-" => assert_eq!(plan.to_string(), "nothing to do", "{volume}"),
            "Released" | "Failed" => {
                assert!(sure, "{plan}: {volume}");
                assert_eq!(plan.actions.iter().map(|one| one.group).collect::<Vec<_>>(), [0, 1]);
                assert_eq!(written(&plan, 1)["status"]["phase"], wanted, "{volume}");
            }
            phase => assert_eq!(written(&plan, 0)["status"]["phase"], phase, "{volume}"),
        }
    }
    assert_eq!(
        told(&volume_plan(&held("Delete", none()), None)),
        format!(
            "{CLAIM_GONE}; update status of PersistentVolume v | Warning VolumeFailedDelete error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched"
        ),
    );
    for (spec, wanted) in [
        (
            json!({"csi": {"driver": "d", "volumeHandle": "h"}}),
            "No recycler plugin found for the volume!",
        ),
        (
            json!({"local": {"path": "/x"}, "volumeMode": "Block"}),
            "No recycler plugin found for the volume!",
        ),
    ] {
        assert_eq!(
            told(&volume_plan(&held("Recycle", json!({"spec": spec})), None)),
            format!(
                "{CLAIM_GONE}; update status of PersistentVolume v | Warning VolumeFailedRecycle {wanted}"
            ),
        );
    }
    assert_eq!(
        told(&volume_plan(
            &held("Delete", json!({"spec": {"hostPath": {"path": "/srv/x"}}})),
            None
        )),
        format!(
            "{CLAIM_GONE}; update status of PersistentVolume v | Warning VolumeFailedDelete host_path deleter only supports /tmp/.+ but received provided /srv/x"
        ),
    );
    // One that the controller bound is free again when its claim went elsewhere.
    let ours =
        held("Retain", json!({"metadata": {"annotations": {super::BOUND_BY_CONTROLLER: "yes"}}}));
    let freed = written(&volume_plan(&ours, Some(elsewhere)), 0);
    assert!(freed["spec"]["claimRef"].is_null());
}

#[test]
fn a_volume_is_kept_while_it_is_bound() {
    let bare = volume_of("v", "1Gi", &json!({"metadata": {"finalizers": null}}));
    assert_eq!(volume_plan(&bare, None).to_string(), "patch PersistentVolume v");
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let free = volume_of("v", "1Gi", &going);
    assert_eq!(volume_plan(&free, None).to_string(), "patch PersistentVolume v");
    let mut bound = volume_of("v", "1Gi", &going);
    merge(
        &mut bound,
        &json!({"status": {"phase": "Bound"},
        "spec": {"claimRef": {"name": "c", "namespace": "default", "uid": "claim"}}}),
    );
    let claim = claim_of(&json!({"spec": {"volumeName": "v"}}));
    assert_eq!(volume_plan(&bound, Some(claim)).to_string(), "nothing to do");
}
