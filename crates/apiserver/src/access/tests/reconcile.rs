//! What a newer stead adds to roles and bindings that are there, and what it leaves alone.

use api::{Object, resource};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::access::{Reconciled, bootstrap_objects, reconcile};

fn object(value: &Value) -> Box<dyn Object> {
    let kind = value["kind"].as_str().unwrap();
    let kind = resource::by_kind("rbac.authorization.k8s.io", kind).unwrap();
    let mut object = crate::codec::decode(kind, value.to_string().as_bytes()).unwrap();
    kind.apply_defaults(&mut *object);
    object
}

/// `wanted` as a new cluster has it; `held` as the cluster has it.
fn check(held: &Value, wanted: &Value, expect: &Expect) {
    let text = match reconcile(&*object(held), &*object(wanted)) {
        Reconciled::Same => "same".to_owned(),
        Reconciled::Anew => "anew".to_owned(),
        Reconciled::Update(new) => {
            let new = new.to_value();
            let lists = ["rules", "subjects"].into_iter().filter_map(|list| new[list].as_array());
            let lines = lists.flatten().map(Value::to_string);
            let meta = ["labels", "annotations"].map(|map| new["metadata"][map].to_string());
            meta.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
        }
    };
    expect.assert_eq(&text);
}

fn role(rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules,
        "metadata": {"name": "r", "labels": {"l": "1"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
    })
}

fn binding(role: &str, users: &[&str]) -> Value {
    let group = "rbac.authorization.k8s.io";
    let subjects: Vec<Value> = users
        .iter()
        .map(|user| json!({"kind": "User", "name": user, "apiGroup": group}))
        .chain([json!({"kind": "ServiceAccount", "name": "s", "namespace": "n"})])
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": "n"}, "subjects": subjects,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
    })
}

#[test]
fn rules_are_added_and_never_taken_away() {
    let read = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]});
    let health = json!({"nonResourceURLs": ["/healthz"], "verbs": ["get"]});
    let extra = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
    let less = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let all = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]);
    let wanted = role(&json!([read, health]));
    check(&wanted, &wanted, &expect!["same"]);
    check(&role(&json!([read, health, extra])), &wanted, &expect!["same"]);
    check(&role(&all), &wanted, &expect!["same"]);
    check(
        &role(&json!([less, extra])),
        &wanted,
        &expect![[r#"
            {"l":"1"}
            {"rbac.authorization.kubernetes.io/autoupdate":"true"}
            {"apiGroups":[""],"resources":["pods"],"verbs":["get"]}
            {"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}
            {"apiGroups":[""],"resources":["pods"],"verbs":["list"]}
            {"nonResourceURLs":["/healthz"],"verbs":["get"]}"#]],
    );
    let mut kept = role(&json!([less]));
    kept["metadata"]["annotations"] =
        json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
    check(&kept, &wanted, &expect!["same"]);
    let mut bare = wanted.clone();
    bare["metadata"] = json!({"name": "r", "labels": {"l": "mine", "own": "2"}});
    check(
        &bare,
        &wanted,
        &expect![[r#"
            {"l":"mine","own":"2"}
            {"rbac.authorization.kubernetes.io/autoupdate":"true"}
            {"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}
            {"nonResourceURLs":["/healthz"],"verbs":["get"]}"#]],
    );
}

#[test]
fn subjects_are_added_and_another_role_is_a_new_binding() {
    let wanted = binding("r", &["a", "b"]);
    check(&wanted, &wanted, &expect!["same"]);
    check(&binding("r", &["a", "b", "mine"]), &wanted, &expect!["same"]);
    check(
        &binding("r", &["mine", "a"]),
        &wanted,
        &expect![[r#"
            null
            null
            {"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"mine"}
            {"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"a"}
            {"kind":"ServiceAccount","name":"s","namespace":"n"}
            {"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"b"}"#]],
    );
    let mut other = binding("old", &["a"]);
    check(&other, &wanted, &expect!["anew"]);
    other["metadata"]["annotations"] =
        json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
    check(&other, &wanted, &expect!["same"]);
}

#[test]
fn the_first_objects_have_all_that_they_want() {
    for one in bootstrap_objects() {
        let value = one.to_value();
        assert_eq!(reconcile(&*object(&value), &*object(&value)), Reconciled::Same, "{value}");
    }
}
