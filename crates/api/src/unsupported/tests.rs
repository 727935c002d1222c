//! Objects, and the fields that are told.

use serde_json::{Value, json};

use super::{concerns, fields};
use crate::kinds::{apps, core, rbac, storage};
use crate::resource::Resource;

fn check(resource: &dyn Resource, object: Value, told: &[&str]) {
    assert!(concerns(resource));
    assert_eq!(fields(resource, &object), told, "{object}");
}

#[test]
fn what_is_used_is_told() {
    check(&core::POD, json!({"spec": {"containers": [{"name": "a"}]}}), &[]);
    check(&core::POD, json!({"spec": {"runtimeClassName": "kata"}}), &["spec.runtimeClassName"]);
    check(
        &core::POD,
        json!({"spec": {"containers": [{}, {"resizePolicy": [{"resourceName": "cpu"}]}],
            "volumes": [{"name": "a", "nfs": {"server": "s"}}, {"name": "b", "emptyDir": {}}]}}),
        &["spec.containers[1].resizePolicy", "spec.volumes[0].nfs"],
    );
    check(
        &apps::STATEFUL_SET,
        json!({"spec": {"template": {"spec": {"securityContext": {"seLinuxOptions": {"level": "s0"}}}},
            "volumeClaimTemplates": [{"spec": {"dataSource": {"name": "x"}}}]}}),
        &[
            "spec.template.spec.securityContext.seLinuxOptions",
            "spec.volumeClaimTemplates[0].spec.dataSource",
        ],
    );
    check(
        &storage::STORAGE_CLASS,
        json!({"provisioner": "a", "parameters": {"a": "b"}}),
        &["parameters"],
    );
}

#[test]
fn what_is_empty_or_happens_anyway_is_not_told() {
    for spec in [
        json!({"runtimeClassName": null}),
        json!({"securityContext": {"seLinuxOptions": {}}}),
        json!({"hostUsers": true, "os": {"name": "linux"}}),
        json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
        json!({"containers": "no list"}),
    ] {
        check(&core::POD, json!({"spec": spec}), &[]);
    }
    check(&core::POD, json!({"spec": {"hostUsers": false}}), &["spec.hostUsers"]);
}

#[test]
fn most_kinds_have_no_such_field() {
    assert!(!concerns(&core::CONFIG_MAP));
    assert!(!concerns(&rbac::ROLE));
}

#[test]
fn no_more_than_twenty_are_told() {
    let volumes: Vec<Value> = (0..100).map(|_| json!({"nfs": {"server": "s"}})).collect();
    assert_eq!(fields(&core::POD, &json!({"spec": {"volumes": volumes}})).len(), 20);
}
