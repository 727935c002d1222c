//! Rows of a pod's identity: N2 to N9.

use std::sync::Arc;

use api::k8s::api::core::v1::Pod;
use serde_json::json;

use super::{
    super::{View, reconcile},
    case::{check, revision_name, set, view},
};
use crate::Verb;

fn created(view: &View) -> Pod {
    let plan = reconcile(view);
    let pod = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Create(object) => object.as_any().downcast_ref::<Pod>(),
        _ => None,
    });
    pod.unwrap().clone()
}

/// A view in which this set wants its first pod.
fn wanting(edit: impl Fn(&mut serde_json::Value)) -> View {
    let mut view = view("1@a unrevised start=5 |");
    let mut value = serde_json::to_value(&*view.set).unwrap();
    edit(&mut value);
    view.set = Arc::new(serde_json::from_value(value).unwrap());
    view
}

#[test]
fn n2_a_pod_copies_the_template() {
    let pod = created(&wanting(|set| {
        let template = &mut set["spec"]["template"];
        template["metadata"]["annotations"] = json!({"note": "kept"});
        template["metadata"]["finalizers"] = json!(["example.com/hold"]);
        template["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    }));
    let meta = &pod.metadata;
    assert_eq!(meta.name.as_deref(), Some("web-5"));
    assert_eq!(meta.generate_name.as_deref(), Some("web-"));
    assert_eq!(meta.namespace.as_deref(), Some("default"));
    assert_eq!(meta.annotations.as_ref().unwrap().len(), 1, "N3: none is added");
    assert_eq!(meta.annotations.as_ref().unwrap()["note"], "kept");
    assert_eq!(meta.finalizers, Some(vec!["example.com/hold".to_owned()]));
    let owner = serde_json::to_value(&meta.owner_references).unwrap();
    assert_eq!(
        owner,
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set",
            "controller": true, "blockOwnerDeletion": true}])
    );
    assert_eq!(pod.spec.unwrap().node_selector.unwrap()["disk"], "ssd");
}

#[test]
fn n3_labels_name_pod_index_and_revision() {
    let labels = created(&view("1@a start=5 |")).metadata.labels.unwrap();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "app=web".to_owned(),
            "apps.kubernetes.io/pod-index=5".to_owned(),
            format!("controller-revision-hash={}", revision_name("a")),
            "statefulset.kubernetes.io/pod-name=web-5".to_owned(),
        ]
    );
}

#[test]
fn n4_hostname_and_subdomain_override_the_template() {
    let pod = created(&wanting(|set| {
        set["spec"]["template"]["spec"]["hostname"] = json!("mine");
        set["spec"]["template"]["spec"]["subdomain"] = json!("mine");
    }));
    let spec = pod.spec.unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("web-5"), Some("nginx"))
    );
    let none = created(&wanting(|set| set["spec"]["serviceName"] = json!("")));
    assert_eq!(none.spec.unwrap().subdomain, None);
}

/// Section 18, N5: upstream's order of claims is that of a Go map, another each time.
#[test]
fn n5_fix_claims_in_the_templates_order_then_other_volumes() {
    let pod = created(&wanting(|set| {
        let claim = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
        set["spec"]["volumeClaimTemplates"] = json!([claim("z"), claim("a"), claim("m")]);
        set["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "conf", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]);
    }));
    let volumes = pod.spec.unwrap().volumes.unwrap();
    let names: Vec<String> = volumes
        .iter()
        .map(|volume| {
            let claim = volume.persistent_volume_claim.as_ref();
            format!("{}={}", volume.name, claim.map_or("", |claim| &claim.claim_name))
        })
        .collect();
    assert_eq!(names, ["z=z-web-5", "a=a-web-5", "m=m-web-5", "conf="]);
}

/// Section 18, N7: upstream does not notice a pod-index that alone is missing.
#[test]
fn l7_n7_fix_labels_are_mended() {
    check(
        "
        1@a | 0:nameless@a            => label 0
        1@a | 0:indexless@a           => label 0
        1@a | 0:ok@a                  => nothing
        // only once the waits are over; Parallel waits for nothing
        1@a | 0:unready-nameless@a    => until 0 is healthy
        1@a parallel | 0:unready-nameless@a => label 0; until 0 is healthy
        ",
    );
}

#[test]
fn n8_storage_is_rewritten_and_the_refusal_told() {
    check(
        "
        1@a data | 0:bare@a |         => create data-web-0; update 0
        1@a data | 0:bare@a | 0:plain => update 0
        1@a data parallel | 0:pending-bare@a | => create data-web-0; update 0; until 0 is healthy
        ",
    );
    let plan = reconcile(&view("1@a data | 0:bare@a | 0:plain"));
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    let volumes = &object.to_value()["spec"]["volumes"];
    assert_eq!(volumes[0]["persistentVolumeClaim"]["claimName"], "data-web-0");
    assert_eq!(volumes[1]["name"], "mine");
}

/// N9 and rule 3 of the design: upstream retries from its cache; ours names the version it saw, and
/// a refused change is decided anew.
#[test]
fn n9_fix_changes_name_the_version_seen() {
    let plan = reconcile(&view("1@a | 0:nameless@a"));
    let Verb::Patch { body, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    assert_eq!(body["metadata"]["uid"], "pod-0");
    assert_eq!(body["metadata"]["resourceVersion"], "1");
    let labels = body["metadata"]["labels"].as_object().unwrap();
    assert_eq!(labels.len(), 1, "nothing but what is wrong");
}

#[test]
fn r11_a_pod_below_the_partition_is_of_the_old_template() {
    let pod = created(&view("2@b from=a partition=2 |"));
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some("nginx:a"));
    assert_eq!(
        set("b").spec.unwrap().template.spec.unwrap().containers[0].image.as_deref(),
        Some("nginx:b")
    );
}
