//! Questions about access that are objects.

use api::resource;
use client::Identity;
use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, as_user, jane, named, object};
use crate::contract::Access;

fn ask(cluster: &Cluster, who: &Identity, group: &str, kind: &str, spec: Value) -> String {
    let group = format!("{group}.k8s.io");
    let value = json!({"apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": {}, "spec": spec});
    let entry = resource::by_kind(&group, kind).unwrap();
    match cluster.access.review(who, entry, "apps", object(value)) {
        Ok(object) => object.to_value()["status"].to_string(),
        Err(error) => format!("{} {error}", error.reason.code()),
    }
}

#[test]
fn who_am_i() {
    let mut who = jane();
    who.extra.push(("scopes".to_owned(), vec!["x".to_owned()]));
    expect![[r#"{"userInfo":{"extra":{"scopes":["x"]},"groups":["devs","system:authenticated"],"username":"jane"}}"#]]
        .assert_eq(&ask(&Cluster::new(), &who, "authentication", "SelfSubjectReview", json!({})));
}

#[test]
fn may_i() {
    let cluster = Cluster::new();
    cluster.bind("apps", "ClusterRole", "view", as_user("jane"));
    let ask = |spec| ask(&cluster, &jane(), "authorization", "SelfSubjectAccessReview", spec);
    let pods = |verb: &str| json!({"resourceAttributes": {"namespace": "apps", "verb": verb, "resource": "pods"}});
    let texts = [
        ask(pods("list")),
        ask(pods("create")),
        ask(json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}})),
        ask(json!({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}})),
        ask(json!({})),
        ask(
            json!({"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/x"}}),
        ),
    ];
    expect![[r#"
        {"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b-view/apps\" of ClusterRole \"view\" to User \"jane\""}
        {"allowed":false}
        {"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""}
        {"allowed":false}
        422 SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified
        422 SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"path":"/x"}: cannot be specified in combination with resourceAttributes"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn may_they() {
    let cluster = Cluster::new();
    cluster.bind("apps", "ClusterRole", "view", json!({"kind": "Group", "name": "devs"}));
    let admin = super::user("kubernetes-admin", &["system:masters"]);
    let pods = json!({"namespace": "apps", "verb": "list", "resource": "pods"});
    let elsewhere = json!({"namespace": "else", "verb": "list", "resource": "pods"});
    let ask = |kind, spec| ask(&cluster, &admin, "authorization", kind, spec);
    let texts = [
        ask(
            "SubjectAccessReview",
            json!({"user": "x", "groups": ["devs"], "resourceAttributes": pods}),
        ),
        ask("SubjectAccessReview", json!({"user": "x", "resourceAttributes": pods})),
        ask("SubjectAccessReview", json!({"resourceAttributes": pods})),
        ask(
            "SubjectAccessReview",
            json!({"groups": ["system:masters"], "resourceAttributes": elsewhere}),
        ),
        ask("LocalSubjectAccessReview", json!({"groups": ["devs"], "resourceAttributes": pods})),
        ask(
            "LocalSubjectAccessReview",
            json!({"groups": ["devs"], "resourceAttributes": elsewhere}),
        ),
    ];
    expect![[r#"
        {"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b-view/apps\" of ClusterRole \"view\" to Group \"devs\""}
        {"allowed":false}
        422 SubjectAccessReview.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must be specified
        {"allowed":true}
        {"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b-view/apps\" of ClusterRole \"view\" to Group \"devs\""}
        422 LocalSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "else": must match metadata.namespace"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn what_may_i() {
    let cluster = Cluster::new();
    cluster
        .role("apps", "some", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))
        .bind("apps", "Role", "some", as_user("jane"));
    let ask =
        |who: &Identity, spec| ask(&cluster, who, "authorization", "SelfSubjectRulesReview", spec);
    expect![[r#"{"incomplete":false,"nonResourceRules":[{"nonResourceURLs":["/api","/api/*","/apis","/apis/*","/healthz","/livez","/openapi","/openapi/*","/readyz","/version","/version/"],"verbs":["get"]},{"nonResourceURLs":["/healthz","/livez","/readyz","/version","/version/"],"verbs":["get"]}],"resourceRules":[{"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","selfsubjectrulesreviews"],"verbs":["create"]},{"apiGroups":["authentication.k8s.io"],"resources":["selfsubjectreviews"],"verbs":["create"]},{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}"#]]
        .assert_eq(&ask(&jane(), json!({"namespace": "apps"})));
    assert_eq!(ask(&jane(), json!({})), "400 no namespace on request");
    let node = ask(&Identity::node("n1"), json!({"namespace": "apps"}));
    assert!(
        node.contains(r#""incomplete":true"#) && node.contains("node authorizer does not support")
    );
}

#[test]
fn is_this_token_good() {
    let cluster = Cluster::new();
    cluster.put(named("ServiceAccount", "apps", "web"));
    let account = object(named("ServiceAccount", "apps", "web"));
    let account = account.as_any().downcast_ref().unwrap();
    let token = |audience: &str| {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {}, "spec": {"audiences": [audience]}});
        let request = serde_json::from_value(request).unwrap();
        cluster.access.token(&jane(), account, request).unwrap().status.unwrap().token.unwrap()
    };
    let own = token("https://kubernetes.default.svc.cluster.local");
    let foreign = token("vault");
    let ask = |spec| ask(&cluster, &jane(), "authentication", "TokenReview", spec);
    let texts = [
        ask(json!({"token": own})),
        ask(json!({"token": foreign})),
        ask(json!({"token": foreign, "audiences": ["vault", "x"]})),
        ask(json!({"token": "nonsense"})),
        ask(json!({"token": ""})),
    ];
    expect![[r#"
        {"audiences":["https://kubernetes.default.svc.cluster.local"],"authenticated":true,"user":{"extra":{"authentication.kubernetes.io/credential-id":["JTI=00000000-0000-4000-8000-000000000000"]},"groups":["system:serviceaccounts","system:serviceaccounts:apps","system:authenticated"],"uid":"uid-web","username":"system:serviceaccount:apps:web"}}
        {"error":"token audiences [\"vault\"] is invalid for the target audiences [\"https://kubernetes.default.svc.cluster.local\"]","user":{}}
        {"audiences":["vault"],"authenticated":true,"user":{"extra":{"authentication.kubernetes.io/credential-id":["JTI=01010101-0101-4101-8101-010101010101"]},"groups":["system:serviceaccounts","system:serviceaccounts:apps","system:authenticated"],"uid":"uid-web","username":"system:serviceaccount:apps:web"}}
        {"error":"invalid bearer token","user":{}}
        400 token is required for TokenReview in authentication"#]]
    .assert_eq(&texts.join("\n"));
}
