//! Nobody grants what they do not have.

use api::resource;
use client::Identity;
use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, START_S, as_user, jane, object, user};
use crate::contract::{Admission, Operation, Write};

const RBAC: &str = "rbac.authorization.k8s.io";

fn attempt(cluster: &Cluster, who: &Identity, old: Option<Value>, new: Value) -> String {
    let old = old.map(object);
    let mut new = object(new);
    let meta = new.meta().clone();
    let write = Write {
        operation: if old.is_some() { Operation::Update } else { Operation::Create },
        user: who,
        resource: resource::by_kind(RBAC, new.kind()).unwrap(),
        subresource: "",
        namespace: meta.namespace.as_deref().unwrap_or_default(),
        name: meta.name.as_deref().unwrap_or_default(),
        old: old.as_deref(),
        dry_run: false,
        now: jiff::Timestamp::from_second(START_S).unwrap(),
    };
    match cluster.access.admit(&write, Some(&mut new), &mut Vec::new()) {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{} {error}", error.reason.code()),
    }
}

fn role(kind: &str, rules: Value) -> Value {
    let namespace = if kind == "Role" { "apps" } else { "" };
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": "new", "namespace": namespace}, "rules": rules})
}

fn binding(kind: &str, role_kind: &str, role: &str) -> Value {
    let namespace = if kind == "RoleBinding" { "apps" } else { "" };
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": "new", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"kind": "User", "name": "friend"}]})
}

/// Jane administers one namespace.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster.bind("apps", "ClusterRole", "admin", as_user("jane"));
    cluster
}

#[test]
fn roles() {
    let cluster = cluster();
    let held =
        json!([{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}]);
    let more = json!([
        {"apiGroups": ["", "apps"], "resources": ["nodes"], "verbs": ["list", "get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "fly"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]);
    let names = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]}]);
    let admin = user("kubernetes-admin", &["system:masters"]);
    let texts = [
        attempt(&cluster, &jane(), None, role("Role", held.clone())),
        attempt(&cluster, &jane(), None, role("Role", names)),
        attempt(&cluster, &jane(), None, role("Role", more.clone())),
        attempt(&cluster, &jane(), None, role("ClusterRole", held)),
        attempt(&cluster, &admin, None, role("ClusterRole", more)),
    ];
    expect![[r#"
        ok
        ok
        403 roles.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["nodes"], Verbs:["list" "get"]}
        {APIGroups:[""], Resources:["pods"], Verbs:["fly"]}
        {APIGroups:["apps"], Resources:["nodes"], Verbs:["list" "get"]}
        {NonResourceURLs:["/metrics"], Verbs:["get"]}
        403 clusterroles.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
        {APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}
        ok"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn bindings() {
    let cluster = cluster();
    cluster.role(
        "apps",
        "mine",
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
    );
    cluster.role(
        "",
        "nodes",
        json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]),
    );
    let try_it =
        |kind, role_kind, name| attempt(&cluster, &jane(), None, binding(kind, role_kind, name));
    let texts = [
        try_it("RoleBinding", "Role", "mine"),
        try_it("RoleBinding", "ClusterRole", "view"),
        try_it("RoleBinding", "ClusterRole", "nodes"),
        try_it("RoleBinding", "Role", "missing"),
        try_it("ClusterRoleBinding", "ClusterRole", "nodes"),
    ];
    expect![[r#"
        ok
        ok
        403 rolebindings.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["nodes"], Verbs:["get"]}
        404 roles.rbac.authorization.k8s.io "missing" not found
        403 clusterrolebindings.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["nodes"], Verbs:["get"]}"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn the_verbs_bind_and_escalate_allow_it() {
    let cluster = cluster();
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    cluster
        .role("", "nodes", nodes.clone())
        .role("apps", "binder", json!([
            {"apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["nodes"], "verbs": ["bind"]},
            {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["escalate"]},
        ]))
        .bind("apps", "Role", "binder", as_user("jane"));
    assert_eq!(
        attempt(&cluster, &jane(), None, binding("RoleBinding", "ClusterRole", "nodes")),
        "ok"
    );
    assert_eq!(attempt(&cluster, &jane(), None, role("Role", nodes)), "ok");
    let refused =
        attempt(&cluster, &jane(), None, binding("RoleBinding", "ClusterRole", "cluster-admin"));
    assert!(refused.starts_with("403"), "{refused}");
}

#[test]
fn aggregation_needs_everything() {
    let cluster = cluster();
    cluster
        .role("", "writer", json!([{"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["create", "update"]}]))
        .bind("", "ClusterRole", "writer", as_user("jane"))
        .bind("", "ClusterRole", "cluster-admin", as_user("root"));
    let gathers = || {
        let mut role = role("ClusterRole", json!([]));
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        role
    };
    let root = user("root", &["system:authenticated"]);
    let text = r#"403 clusterroles.rbac.authorization.k8s.io "new" is forbidden: must have cluster-admin privileges to use an aggregationRule"#;
    assert_eq!(attempt(&cluster, &jane(), None, gathers()), text);
    assert_eq!(attempt(&cluster, &jane(), Some(gathers()), role("ClusterRole", json!([]))), text);
    assert_eq!(attempt(&cluster, &root, None, gathers()), "ok");
}

#[test]
fn garbage_collection_goes_on() {
    let cluster = cluster();
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    let mut freed = role("Role", nodes.clone());
    freed["metadata"]["finalizers"] = json!([]);
    let mut held = role("Role", nodes.clone());
    held["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    assert_eq!(attempt(&cluster, &jane(), Some(held.clone()), freed), "ok");
    let mut relabelled = role("Role", nodes);
    relabelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(attempt(&cluster, &jane(), Some(held), relabelled).starts_with("403"));
}
