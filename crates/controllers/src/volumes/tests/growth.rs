//! Rows of claims that ask for more than they have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{PROVISIONED_BY, growth},
    claim_of, merge, told, volume_of, written,
};
use crate::Plan;

/// A claim `c` of 1Gi, bound to a `local` volume `v` of 1Gi that a person or `made_by` made, which
/// now asks for `wants`.
fn growth_of(wants: &str, made_by: Option<&str>, more: &Value) -> (Value, Value) {
    let claim = claim_of(&json!({"spec": {"volumeName": "v",
        "resources": {"requests": {"storage": wants}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}));
    let mut volume = volume_of(
        "v",
        "1Gi",
        &json!({"status": {"phase": "Bound"},
        "spec": {"local": {"path": "/mnt/v"},
            "claimRef": {"name": "c", "namespace": "default", "uid": "claim"}}}),
    );
    if let Some(made_by) = made_by {
        merge(&mut volume, &json!({"metadata": {"annotations": {PROVISIONED_BY: made_by}}}));
    }
    merge(&mut volume, more);
    (claim, volume)
}

fn grown(claim: &Value, volume: &Value) -> Plan {
    growth::reconcile(&growth::View {
        claim: serde_json::from_value(claim.clone()).map(Arc::new).unwrap(),
        volume: Some(serde_json::from_value(volume.clone()).map(Arc::new).unwrap()),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    })
}

#[test]
fn a_folder_that_grows_gives_its_claim_the_capacity() {
    let (claim, volume) = growth_of("2Gi", Some("stead.io/local"), &json!({}));
    let plan = grown(&claim, &volume);
    assert_eq!(
        told(&plan),
        "update status of PersistentVolumeClaim c; update PersistentVolume v | Normal Resizing External resizer is resizing volume v"
    );
    let (claim, volume) = (written(&plan, 0), written(&plan, 1));
    assert_eq!(claim["status"]["conditions"][0]["type"], "Resizing");
    assert_eq!(claim["status"]["allocatedResources"]["storage"], "2Gi");
    assert_eq!(
        claim["status"]["allocatedResourceStatuses"]["storage"],
        "ControllerResizeInProgress"
    );
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
    assert_eq!(volume["metadata"]["resourceVersion"], "6", "a stale plan bounces");
    let plan = grown(&claim, &volume);
    assert_eq!(
        told(&plan),
        "update status of PersistentVolumeClaim c | Normal VolumeResizeSuccessful Resize volume succeeded"
    );
    let claim = written(&plan, 0);
    assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
    assert!(claim["status"]["conditions"].is_null());
    assert!(claim["status"]["allocatedResourceStatuses"].is_null());
    assert_eq!(told(&grown(&claim, &volume)), "nothing to do");
}

#[test]
fn a_file_system_is_grown_by_its_node() {
    let (claim, volume) = growth_of("2Gi", None, &json!({}));
    let plan = grown(&claim, &volume);
    let (claim, volume) = (written(&plan, 0), written(&plan, 1));
    assert_eq!(volume["metadata"]["annotations"][growth::BEFORE], "1Gi");
    let plan = grown(&claim, &volume);
    assert_eq!(
        told(&plan),
        "update status of PersistentVolumeClaim c | Normal FileSystemResizeRequired Require file system resize of volume on node"
    );
    let mut claim = written(&plan, 0);
    assert_eq!(claim["status"]["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(claim["status"]["conditions"][0]["type"], "FileSystemResizePending");
    assert_eq!(
        claim["status"]["conditions"][0]["message"],
        "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
    );
    assert!(growth::awaits_node(&serde_json::from_value(claim.clone()).unwrap()));
    assert_eq!(told(&grown(&claim, &volume)), "nothing to do", "it waits");
    claim["status"]["capacity"]["storage"] = json!("2Gi");
    let plan = grown(&claim, &volume);
    assert_eq!(told(&plan), "update status of PersistentVolumeClaim c; update PersistentVolume v");
    assert!(written(&plan, 0)["status"]["conditions"].is_null());
    assert!(written(&plan, 1)["metadata"]["annotations"][growth::BEFORE].is_null());
}

#[test]
fn what_does_not_grow() {
    let quiet = "nothing to do";
    let external = "say ExternalExpanding | Normal ExternalExpanding waiting for an external controller to expand this PVC";
    let source = |source: Value| {
        let mut spec = json!({"local": null});
        merge(&mut spec, &source);
        json!({"spec": spec})
    };
    let path = source(json!({"hostPath": {"path": "/x"}}));
    let csi = source(json!({"csi": {"driver": "d", "volumeHandle": "h"}}));
    for (wants, volume, wanted) in [
        ("1Gi", json!({}), quiet),
        ("512Mi", json!({}), quiet),
        ("2Gi", path, external),
        ("2Gi", csi, external),
        ("2Gi", json!({"spec": {"claimRef": {"uid": "another"}}}), quiet),
    ] {
        let (claim, volume) = growth_of(wants, None, &volume);
        assert_eq!(told(&grown(&claim, &volume)), wanted, "{volume}");
    }
    let (mut claim, volume) = growth_of("2Gi", None, &json!({}));
    merge(&mut claim, &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert_eq!(told(&grown(&claim, &volume)), quiet);
}
