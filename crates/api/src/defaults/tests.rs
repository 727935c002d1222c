//! Rows: a template as sent, and as upstream's own server returned it.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use serde_json::{Value, json};

use crate::resource;

/// Pairs that a Kubernetes 1.36.2 control plane made; the file says how.
const REVISIONS: &str = include_str!("../../tests/fixtures/revisions.md");

fn defaulted<T: crate::object::Typed>(value: Value) -> Value {
    let entry = resource::of::<T>();
    let mut object = entry.decode(&value).unwrap();
    entry.apply_defaults(object.as_mut());
    let once = object.to_value();
    entry.apply_defaults(object.as_mut());
    assert_eq!(object.to_value(), once, "defaults are idempotent");
    once
}

fn set(spec: Value) -> Value {
    let mut value = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {}, "template": {"spec": {"containers": []}}},
    });
    value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    defaulted::<StatefulSet>(value)["spec"].take()
}

#[test]
fn templates_equal_upstreams_byte_for_byte() {
    let blocks: Vec<&str> = REVISIONS
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .collect();
    assert_eq!(blocks.len(), 16);
    for pair in blocks.chunks(2) {
        let sent: Value = serde_json::from_str(pair[0]).unwrap();
        let mut data: Value = serde_json::from_str(pair[1]).unwrap();
        let mut wanted = data["spec"]["template"].take();
        wanted.as_object_mut().unwrap().remove("$patch");
        let made = set(json!({"template": sent}))["template"].take();
        assert_eq!(made.to_string(), wanted.to_string());
    }
}

#[test]
fn d1_to_d7_stateful_set() {
    let spec = set(json!({}));
    for (field, wanted) in [
        ("replicas", json!(1)),
        ("revisionHistoryLimit", json!(10)),
        ("podManagementPolicy", json!("OrderedReady")),
        ("updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})),
        (
            "persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        ),
        ("serviceName", json!("")),
    ] {
        assert_eq!(spec[field], wanted, "{field}");
    }
}

#[test]
fn d4_to_d7_update_strategy_and_halves() {
    for (sent, wanted) in [
        (json!({"type": ""}), json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})),
        (json!({"type": "RollingUpdate"}), json!({"type": "RollingUpdate"})),
        (
            json!({"type": "RollingUpdate", "rollingUpdate": {}}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        ),
        (
            json!({"rollingUpdate": {"partition": 2}}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
        ),
        (json!({"type": "OnDelete"}), json!({"type": "OnDelete"})),
    ] {
        assert_eq!(set(json!({"updateStrategy": sent}))["updateStrategy"], wanted);
    }
    let half = set(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}));
    assert_eq!(
        half["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Delete"})
    );
}

#[test]
fn d8_d9_claim_templates() {
    let sent = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    });
    let wanted = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    });
    assert_eq!(
        set(json!({"volumeClaimTemplates": [sent]}))["volumeClaimTemplates"],
        json!([wanted])
    );
}

#[test]
fn a_pod_gets_what_a_template_does_not() {
    let pod = defaulted::<Pod>(json!({
        "metadata": {"name": "p", "labels": {}},
        "spec": {
            "hostNetwork": true,
            "hostPID": false,
            "serviceAccount": "old",
            "tolerations": [],
            "containers": [{
                "name": "c",
                "image": "nginx",
                "ports": [{"containerPort": 80, "hostPort": 0}],
                "resources": {"limits": {"cpu": 1, "memory": "0.5Gi"}, "requests": {"cpu": "0.1"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": false, "subPath": ""}],
                "env": [
                    {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "M", "value": "", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ],
            }],
            "volumes": [{"name": "v"}, {"name": "h", "hostPath": {"path": "/"}}],
        },
    }));
    assert_eq!(pod["metadata"], json!({"name": "p"}));
    assert_eq!(
        pod["spec"],
        json!({
            "hostNetwork": true,
            "serviceAccount": "old",
            "serviceAccountName": "old",
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
            "enableServiceLinks": true,
            "containers": [{
                "name": "c",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
                "resources": {
                    "limits": {"cpu": "1", "memory": "512Mi"},
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                },
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "env": [
                    {"name": "N", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                    {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                ],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/", "type": ""}}],
        })
    );
}

/// Group, plural, what is sent, and what it becomes.
type Row = (&'static str, &'static str, Value, Value);

fn core_rows() -> Vec<Row> {
    vec![
        (
            "",
            "services",
            json!({"spec": {"selector": {}, "ports": [{"port": 80}]}}),
            json!({
                "metadata": {},
                "spec": {
                    "type": "ClusterIP",
                    "sessionAffinity": "None",
                    "internalTrafficPolicy": "Cluster",
                    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                },
                "status": {"loadBalancer": {}},
            }),
        ),
        (
            "",
            "namespaces",
            json!({"metadata": {"name": "n"}}),
            json!({
                "metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
                "spec": {},
                "status": {"phase": "Active"},
            }),
        ),
        (
            "",
            "secrets",
            json!({"data": {"a": "YQ=="}, "stringData": {"a": "b", "c": "d"}}),
            json!({"metadata": {}, "type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}),
        ),
        (
            "",
            "persistentvolumes",
            json!({"spec": {"capacity": {"storage": "0.5Gi"}, "hostPath": {"path": "/d"}}}),
            json!({
                "metadata": {},
                "spec": {
                    "capacity": {"storage": "512Mi"},
                    "hostPath": {"path": "/d", "type": ""},
                    "persistentVolumeReclaimPolicy": "Retain",
                    "volumeMode": "Filesystem",
                },
                "status": {"phase": "Pending"},
            }),
        ),
    ]
}

fn other_rows() -> Vec<Row> {
    vec![
        (
            "storage.k8s.io",
            "storageclasses",
            json!({"provisioner": "p"}),
            json!({
                "metadata": {},
                "provisioner": "p",
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
            }),
        ),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            json!({
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
            }),
            json!({
                "metadata": {},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"},
                    {"kind": "ServiceAccount", "name": "s"},
                ],
            }),
        ),
    ]
}

#[test]
fn every_kind_keeps_its_defaults() {
    for (group, plural, sent, wanted) in core_rows().into_iter().chain(other_rows()) {
        let entry = resource::by_plural(group, plural).unwrap();
        let mut object = entry.decode(&sent).unwrap();
        entry.apply_defaults(object.as_mut());
        let mut made = object.to_value();
        let fields = made.as_object_mut().unwrap();
        fields.remove("apiVersion");
        fields.remove("kind");
        assert_eq!(made, wanted, "{plural}");
    }
}

#[test]
fn policies() {
    let spec = |spec: Value| {
        let value = json!({"metadata": {"name": "web"}, "spec": spec});
        defaulted::<crate::policy::StatefulSetPolicy>(value)["spec"].take()
    };
    assert_eq!(spec(json!({"statefulSetName": "web"})), json!({"statefulSetName": "web"}));
    assert_eq!(
        spec(json!({"statefulSetName": "web", "rollout": {}, "ordinals": {"reserved": []}})),
        json!({
            "statefulSetName": "web",
            "rollout": {"creation": "Ordered", "onDeadline": "None"},
            "ordinals": {"claims": "Retain"},
        })
    );
}
