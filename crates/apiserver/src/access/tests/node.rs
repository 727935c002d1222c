//! What a node may see and write.

use api::{Object, resource};
use client::Identity;
use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, START_S, named, object, pod};
use crate::contract::{Admission, Operation, Write};

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let volumes = json!([
        {"name": "s", "secret": {"secretName": "in-volume"}},
        {"name": "m", "configMap": {"name": "in-volume"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "p", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
    ]);
    let containers = json!([{"name": "c",
        "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "in-env", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "in-env-from"}}]}]);
    cluster
        .put(named("Node", "", "n1"))
        .put(pod("web-0", "n1", json!({
            "volumes": volumes, "containers": containers,
            "imagePullSecrets": [{"name": "pull"}],
        })))
        .put(pod("db-0", "n2", json!({
            "serviceAccountName": "db",
            "volumes": [{"name": "s", "secret": {"secretName": "others"}}],
        })))
        .put(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "apps"}, "spec": {"volumeName": "pv1"}}))
        .put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv1"},
            "spec": {"claimRef": {"namespace": "apps", "name": "data"},
                "csi": {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": {"namespace": "vault", "name": "stage"}}}}));
    cluster
}

#[test]
fn a_node_reads_what_its_pods_refer_to() {
    let cluster = cluster();
    let asked = [
        "get secrets apps/in-volume",
        "get secrets apps/in-env",
        "get secrets apps/pull",
        "watch secrets apps/in-volume",
        "get secrets apps/others",
        "get secrets else/in-volume",
        "list secrets apps/",
        "list secrets",
        "update secrets apps/in-volume",
        "get secrets vault/stage",
        "get configmaps apps/in-volume",
        "get configmaps apps/in-env-from",
        "get configmaps apps/kube-root-ca.crt",
        "get configmaps apps/other",
        "get persistentvolumeclaims apps/data",
        "get persistentvolumeclaims apps/other",
        "list persistentvolumeclaims apps/",
        "get persistentvolumes pv1",
        "get persistentvolumes pv2",
        "create serviceaccounts/token apps/web",
        "create serviceaccounts/token apps/db",
        "get pods apps/web-0",
        "get pods apps/db-0",
        "update nodes/status n1",
        "get leases.coordination.k8s.io kube-node-lease/n1",
        "get leases.coordination.k8s.io kube-node-lease/n2",
        "create leases.coordination.k8s.io default/",
        "create subjectaccessreviews.authorization.k8s.io",
        "delete namespaces apps",
    ];
    expect![[r#"
        get secrets apps/in-volume: yes
        get secrets apps/in-env: yes
        get secrets apps/pull: yes
        watch secrets apps/in-volume: yes
        get secrets apps/others: no no relationship found between node 'n1' and this object
        get secrets else/in-volume: no no relationship found between node 'n1' and this object
        list secrets apps/: no No Object name found
        list secrets: no can only read namespaced object of this type
        update secrets apps/in-volume: no can only read resources of this type
        get secrets vault/stage: yes
        get configmaps apps/in-volume: yes
        get configmaps apps/in-env-from: yes
        get configmaps apps/kube-root-ca.crt: yes
        get configmaps apps/other: no no relationship found between node 'n1' and this object
        get persistentvolumeclaims apps/data: yes
        get persistentvolumeclaims apps/other: no no relationship found between node 'n1' and this object
        list persistentvolumeclaims apps/: no can only get individual resources of this type
        get persistentvolumes pv1: yes
        get persistentvolumes pv2: no no relationship found between node 'n1' and this object
        create serviceaccounts/token apps/web: yes
        create serviceaccounts/token apps/db: no no relationship found between node 'n1' and this object
        get pods apps/web-0: yes
        get pods apps/db-0: no no relationship found between node 'n1' and this object
        update nodes/status n1: yes
        get leases.coordination.k8s.io kube-node-lease/n1: yes
        get leases.coordination.k8s.io kube-node-lease/n2: no can only access node lease with the same name as the requesting node
        create leases.coordination.k8s.io default/: no can only access leases in the "kube-node-lease" system namespace
        create subjectaccessreviews.authorization.k8s.io: yes
        delete namespaces apps: no"#]]
    .assert_eq(&cluster.table(&Identity::node("n1"), &asked));
    cluster.remove("/core/pods/apps/web-0");
    let rows =
        ["get secrets apps/in-volume", "get persistentvolumes pv1", "get secrets vault/stage"];
    for row in rows {
        assert!(cluster.may(&Identity::node("n1"), row).starts_with("no"), "{row}");
    }
}

#[test]
fn agents_see_what_they_route_to() {
    let asked =
        ["list nodes", "watch endpointslices.discovery.k8s.io", "list services", "list pods"];
    for row in asked {
        assert!(cluster().may(&Identity::node("n1"), row).starts_with("yes"), "{row}");
    }
}

#[test]
fn a_name_without_the_group_is_no_node() {
    let fake = super::user("system:node:n1", &["system:authenticated"]);
    assert_eq!(cluster().may(&fake, "get secrets apps/in-volume"), "no");
}

fn write(
    operation: Operation,
    subresource: &str,
    old: Option<Value>,
    new: Option<Value>,
) -> String {
    let cluster = cluster();
    let node = Identity::node("n1");
    let old = old.map(object);
    let mut new = new.map(object);
    let shown: &dyn Object = new.as_deref().or(old.as_deref()).unwrap();
    let group = shown.api_version().split_once('/').map_or("", |(group, _version)| group);
    let meta = shown.meta().clone();
    let write = Write {
        operation,
        user: &node,
        resource: resource::by_kind(group, shown.kind()).unwrap(),
        subresource,
        namespace: meta.namespace.as_deref().unwrap_or_default(),
        name: meta.name.as_deref().unwrap_or_default(),
        old: old.as_deref(),
        dry_run: false,
        now: jiff::Timestamp::from_second(START_S).unwrap(),
    };
    match cluster.access.admit(&write, new.as_mut(), &mut Vec::new()) {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_node_writes_about_its_own_pods() {
    use Operation::{Create, Delete, Update};
    let own = || pod("web-0", "n1", json!({}));
    let other = || pod("db-0", "n2", json!({}));
    let labelled = || {
        let mut pod = own();
        pod["metadata"]["labels"] = json!({"a": "b"});
        pod
    };
    let mirror = |owner: &str| {
        let mut pod = pod("static-n1", "n1", json!({"serviceAccountName": ""}));
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node",
            "name": owner, "uid": "uid-n1", "controller": true}]);
        pod
    };
    let texts = [
        write(Update, "status", Some(own()), Some(own())),
        write(Update, "status", Some(other()), Some(other())),
        write(Update, "status", Some(own()), Some(labelled())),
        write(Update, "", Some(own()), Some(own())),
        write(Delete, "", Some(own()), None),
        write(Delete, "", Some(other()), None),
        write(Create, "", None, Some(own())),
        write(Create, "", None, Some(mirror("n1"))),
        write(Create, "", None, Some(mirror("n2"))),
    ];
    expect![[r#"
        ok
        pods "db-0" is forbidden: node "n1" can only update pod status for pods with spec.nodeName set to itself
        pods "web-0" is forbidden: node "n1" cannot update labels through pod status
        pods "web-0" is forbidden: unexpected operation "UPDATE", node "n1" can only create and delete mirror pods
        ok
        pods "db-0" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself
        pods "web-0" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods
        ok
        pods "static-n1" is forbidden: node "n1" can only create pods with an owner reference set to itself"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn a_node_writes_about_itself() {
    use Operation::{Create, Update};
    let node = |name: &str, labels: Value, taints: Value| {
        let mut node = named("Node", "", name);
        node["metadata"]["labels"] = labels;
        node["spec"] = json!({"taints": taints});
        node
    };
    let plain = || node("n1", json!({"kubernetes.io/hostname": "n1", "mine": "x"}), json!([]));
    let secret = || {
        node("n1", json!({"node-restriction.kubernetes.io/zone": "dmz", "k8s.io/x": ""}), json!([]))
    };
    let tainted = || node("n1", json!({}), json!([{"key": "k", "effect": "NoSchedule"}]));
    let claim = |capacity: &str, finalizer: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "apps", "finalizers": [finalizer]},
        "status": {"capacity": {"storage": capacity}}})
    };
    let lease = |name: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"}})
    };
    let texts = [
        write(Create, "", None, Some(plain())),
        write(Create, "", None, Some(secret())),
        write(Create, "", None, Some(node("n2", json!({}), json!([])))),
        write(Update, "status", Some(plain()), Some(plain())),
        write(
            Update,
            "",
            Some(plain()),
            Some(node("n1", json!({"mine": "y", "x.k8s.io/y": "z"}), json!([]))),
        ),
        write(Update, "", Some(node("n1", json!({}), json!([]))), Some(tainted())),
        write(Update, "status", Some(claim("1Gi", "a")), Some(claim("2Gi", "a"))),
        write(Update, "status", Some(claim("1Gi", "a")), Some(claim("2Gi", "b"))),
        write(Create, "", None, Some(lease("n1"))),
        write(Create, "", None, Some(lease("n2"))),
        write(Create, "", None, Some(named("ConfigMap", "apps", "c"))),
    ];
    expect![[r#"
        ok
        nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: k8s.io/x, node-restriction.kubernetes.io/zone
        nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"
        ok
        nodes "n1" is forbidden: is not allowed to modify labels: x.k8s.io/y
        nodes "n1" is forbidden: node "n1" is not allowed to modify taints
        ok
        persistentvolumeclaims "data" is forbidden: node "n1" is not allowed to update fields other than status.capacity and status.conditions
        ok
        leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same name as the requesting node
        ok"#]]
    .assert_eq(&texts.join("\n"));
}
