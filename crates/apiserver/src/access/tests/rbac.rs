//! Rules and who has them.

use client::Identity;
use expect_test::expect;
use serde_json::json;

use super::{Cluster, as_user, jane, user};

#[test]
fn masters_may_everything() {
    let admin = user("kubernetes-admin", &["system:masters", "system:authenticated"]);
    let cluster = Cluster::new();
    expect![[r#"
        delete nodes n1: yes
        get /metrics: yes"#]]
    .assert_eq(&cluster.table(&admin, &["delete nodes n1", "get /metrics"]));
}

#[test]
fn strangers_may_look_at_health_and_version_only() {
    let nobody = user("system:anonymous", &["system:unauthenticated"]);
    let asked = [
        "get /version",
        "get /readyz",
        "get /livez/ping",
        "get /metrics",
        "get /apis",
        "list pods",
    ];
    expect![[r#"
        get /version: yes RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated"
        get /readyz: yes RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated"
        get /livez/ping: no
        get /metrics: no
        get /apis: no
        list pods: no"#]]
    .assert_eq(&Cluster::new().table(&nobody, &asked));
}

#[test]
fn a_user_without_bindings_may_discover_and_ask() {
    let asked = [
        "get /apis/apps/v1",
        "get /openapi/v3",
        "create selfsubjectaccessreviews.authorization.k8s.io",
        "list pods default/",
    ];
    expect![[r#"
        get /apis/apps/v1: yes RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
        get /openapi/v3: yes RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
        create selfsubjectaccessreviews.authorization.k8s.io: yes RBAC: allowed by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated"
        list pods default/: no"#]]
    .assert_eq(&Cluster::new().table(&jane(), &asked));
}

#[test]
fn subresources_names_and_stars() {
    let cluster = Cluster::new();
    cluster
        .role("apps", "some", json!([
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "create"]},
            {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["update"]},
            {"apiGroups": ["batch"], "resources": ["*"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
        ]))
        .bind("apps", "Role", "some", as_user("jane"));
    let asked = [
        "get pods apps/web-0",
        "get pods/log apps/web-0",
        "get pods/exec apps/web-0",
        "get pods other/web-0",
        "get configmaps apps/one",
        "get configmaps apps/two",
        "create configmaps apps/",
        "update statefulsets/scale.apps apps/web",
        "update statefulsets.apps apps/web",
        "list jobs.batch apps/",
        "list jobs/status.batch apps/",
        "get nodes n1",
    ];
    expect![[r#"
        get pods apps/web-0: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        get pods/log apps/web-0: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        get pods/exec apps/web-0: no
        get pods other/web-0: no
        get configmaps apps/one: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        get configmaps apps/two: no
        create configmaps apps/: no
        update statefulsets/scale.apps apps/web: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        update statefulsets.apps apps/web: no
        list jobs.batch apps/: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        list jobs/status.batch apps/: yes RBAC: allowed by RoleBinding "b-some/apps" of Role "some" to User "jane"
        get nodes n1: no"#]]
    .assert_eq(&cluster.table(&jane(), &asked));
}

#[test]
fn groups_and_service_accounts() {
    let cluster = Cluster::new();
    cluster.bind("apps", "ClusterRole", "view", json!({"kind": "Group", "name": "devs"})).bind(
        "apps",
        "ClusterRole",
        "edit",
        json!({"kind": "ServiceAccount", "name": "bot"}),
    );
    let bot = Identity { user: "system:serviceaccount:apps:bot".to_owned(), ..Identity::default() };
    let other =
        Identity { user: "system:serviceaccount:else:bot".to_owned(), ..Identity::default() };
    let asked = ["list pods apps/", "create pods apps/", "list secrets apps/"];
    expect![[r#"
        list pods apps/: yes RBAC: allowed by RoleBinding "b-view/apps" of ClusterRole "view" to Group "devs"
        create pods apps/: no
        list secrets apps/: no"#]]
    .assert_eq(&cluster.table(&jane(), &asked));
    expect![[r#"
        list pods apps/: yes RBAC: allowed by RoleBinding "b-edit/apps" of ClusterRole "edit" to ServiceAccount "bot/apps"
        create pods apps/: yes RBAC: allowed by RoleBinding "b-edit/apps" of ClusterRole "edit" to ServiceAccount "bot/apps"
        list secrets apps/: yes RBAC: allowed by RoleBinding "b-edit/apps" of ClusterRole "edit" to ServiceAccount "bot/apps""#]]
    .assert_eq(&cluster.table(&bot, &asked));
    expect![[r#"
        list pods apps/: no
        create pods apps/: no
        list secrets apps/: no"#]]
    .assert_eq(&cluster.table(&other, &asked));
}

#[test]
fn a_new_role_with_the_label_joins_the_aggregate_and_leaves_with_it() {
    let cluster = Cluster::new();
    cluster.bind("apps", "ClusterRole", "view", as_user("jane"));
    assert_eq!(cluster.may(&jane(), "list gadgets.example.com apps/"), "no");
    cluster.put(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "gadgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": ["gadgets"], "verbs": ["list"]}],
    }));
    assert!(cluster.may(&jane(), "list gadgets.example.com apps/").starts_with("yes"));
    cluster.remove("/rbac.authorization.k8s.io/clusterroles/gadgets");
    assert_eq!(cluster.may(&jane(), "list gadgets.example.com apps/"), "no");
}

#[test]
fn a_binding_without_its_role_is_told() {
    let cluster = Cluster::new();
    cluster.bind("apps", "Role", "gone", as_user("jane")).bind(
        "",
        "ClusterRole",
        "lost",
        as_user("jane"),
    );
    expect![[r#"no RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, role.rbac.authorization.k8s.io "gone" not found]"#]]
        .assert_eq(&cluster.may(&jane(), "list pods apps/"));
    expect![[r#"no RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found"#]]
        .assert_eq(&cluster.may(&jane(), "list pods"));
    cluster.remove("/rbac.authorization.k8s.io/clusterrolebindings/b-lost");
    assert_eq!(cluster.may(&jane(), "list nodes"), "no");
}

#[test]
fn each_controller_has_its_own_rights_and_no_more() {
    let cluster = Cluster::new();
    let asked = [
        "create pods apps/",
        "update statefulsets/status.apps apps/web",
        "delete nodes n1",
        "update persistentvolumes pv1",
        "update nodes n1",
    ];
    let table = |name: &str| {
        let yes =
            |one: &&&str| cluster.may(&Identity::service_account(name), one).starts_with("yes");
        asked.iter().filter(yes).copied().collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        table("statefulset-controller"),
        "create pods apps/, update statefulsets/status.apps apps/web"
    );
    assert_eq!(table("node-controller"), "delete nodes n1, update nodes n1");
    assert_eq!(
        table("persistent-volume-binder"),
        "create pods apps/, update persistentvolumes pv1"
    );
    assert_eq!(table("pod-garbage-collector"), "");
    cluster.remove(
        "/rbac.authorization.k8s.io/clusterrolebindings/system:controller:statefulset-controller",
    );
    assert_eq!(table("statefulset-controller"), "");
}

/// Section 16: what upstream's StatefulSet controller may, and one thing beside: to update a set,
/// with which a policy's set goes back to its last completed revision.
#[test]
fn section_16_what_the_statefulset_controller_may() {
    let cluster = Cluster::new();
    let me = Identity::service_account("statefulset-controller");
    let every = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let table = [
        ("pods", "get list watch create update patch delete"),
        ("pods/finalizers", "update"),
        ("pods/status", ""),
        ("pods/binding", ""),
        ("statefulsets.apps", "get list watch update"),
        ("statefulsets/status.apps", "update"),
        ("statefulsets/finalizers.apps", "update"),
        ("statefulsets/scale.apps", ""),
        ("controllerrevisions.apps", "get list watch create update patch delete"),
        ("persistentvolumeclaims", "get list watch create update delete"),
        ("persistentvolumes", ""),
        ("events", "create update patch"),
        ("secrets", ""),
        ("services", ""),
    ];
    for (resource, wanted) in table {
        let may = |verb: &&&str| {
            let place = if ["list", "watch", "create"].contains(verb) { "d/" } else { "d/x" };
            cluster.may(&me, &format!("{verb} {resource} {place}")).starts_with("yes")
        };
        let found: Vec<&str> = every.iter().filter(may).copied().collect();
        let mut wanted: Vec<&str> = wanted.split_whitespace().collect();
        wanted.sort_by_key(|verb| every.iter().position(|one| one == verb));
        assert_eq!(found, wanted, "{resource}");
    }
}
