//! Rows: what goes in, who asks, and what comes out.

use std::collections::BTreeMap;

use api::{
    k8s::{
        api::{
            core::v1::{LimitRange, ServiceAccount},
            scheduling::v1::PriorityClass,
            storage::v1::StorageClass,
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    resource,
};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// A namespace `n` with the accounts `default` and `quiet`, two priority and two storage classes.
struct World;

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

impl Lookup for World {
    fn service_account(&self, namespace: &str, name: &str) -> Option<ServiceAccount> {
        let known = ["n", "ranged"].contains(&namespace) && ["default", "quiet"].contains(&name);
        known.then(|| ServiceAccount {
            metadata: named(name),
            automount_service_account_token: (name == "quiet").then_some(false),
            ..ServiceAccount::default()
        })
    }

    fn priority_class(&self, name: &str) -> Option<PriorityClass> {
        self.priority_classes()
            .into_iter()
            .find(|class| class.metadata.name.as_deref() == Some(name))
    }

    fn priority_classes(&self) -> Vec<PriorityClass> {
        let class = |name: &str, value, default| PriorityClass {
            metadata: named(name),
            value: Some(value),
            global_default: Some(default),
            ..PriorityClass::default()
        };
        vec![class("high", 1000, false), class("usual", 7, true)]
    }

    fn storage_class(&self, name: &str) -> Option<StorageClass> {
        self.storage_classes()
            .into_iter()
            .find(|class| class.metadata.name.as_deref() == Some(name))
    }

    fn limit_ranges(&self, namespace: &str) -> Vec<LimitRange> {
        let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
            {"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"},
             "max": {"memory": "2Gi"}, "min": {"cpu": "50m"}, "maxLimitRequestRatio": {"cpu": "6"}},
            {"type": "Pod", "max": {"memory": "3Gi"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "9Gi"}}]}});
        let range = serde_json::from_value(range).unwrap();
        if namespace == "ranged" { vec![range] } else { Vec::new() }
    }

    fn storage_classes(&self) -> Vec<StorageClass> {
        let mut local = StorageClass { metadata: named("local"), ..StorageClass::default() };
        let default = ("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
        local.metadata.annotations = Some(BTreeMap::from([default]));
        local.allow_volume_expansion = Some(true);
        vec![local, StorageClass { metadata: named("rigid"), ..StorageClass::default() }]
    }
}

struct Case<'a> {
    operation: Operation,
    subresource: &'a str,
    old: Option<Value>,
}

const CREATE: Case<'static> = Case { operation: Operation::Create, subresource: "", old: None };

#[track_caller]
fn check(case: Case<'_>, kind: (&str, &str), object: Value, look: &str, expected: Expect) {
    let resource = resource::by_kind(kind.0, kind.1).unwrap();
    let decode = |value: Value| resource.decode(&value).unwrap();
    let mut new = decode(object);
    let old = case.old.map(decode);
    let name = new.meta().name.clone().unwrap_or_default();
    let namespace = new.meta().namespace.clone().unwrap_or_default();
    let request = Request {
        operation: case.operation,
        resource,
        subresource: case.subresource,
        namespace: &namespace,
        name: &name,
        old: old.as_deref(),
        chance: [0, 1, 2, 3, 4],
    };
    let object = (case.operation != Operation::Delete).then_some(&mut *new);
    let result = match admit(&request, object, &World) {
        Ok(()) => new.to_value().pointer(look).cloned().unwrap_or_default().to_string(),
        Err(error) => error.message,
    };
    expected.assert_eq(&result);
}

fn pod(spec: Value) -> Value {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "image": "i"}]);
    json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})
}

const POD: (&str, &str) = ("", "Pod");
const CLAIM: (&str, &str) = ("", "PersistentVolumeClaim");
const NODE: (&str, &str) = ("", "Node");

#[test]
fn a_pod_gets_its_account_and_token() {
    check(CREATE, POD, pod(json!({})), "/spec/serviceAccountName", expect![[r#""default""#]]);
    check(
        CREATE,
        POD,
        pod(json!({})),
        "/spec/containers/0/volumeMounts",
        expect![[
            r#"[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-bcdfg","readOnly":true}]"#
        ]],
    );
    check(
        CREATE,
        POD,
        pod(json!({})),
        "/spec/volumes/0/projected/sources/0",
        expect![[r#"{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}"#]],
    );
    let quiet = json!({"serviceAccountName": "quiet"});
    check(CREATE, POD, pod(quiet), "/spec/volumes", expect!["null"]);
    let absent = json!({"serviceAccountName": "absent"});
    check(
        CREATE,
        POD,
        pod(absent),
        "",
        expect![[
            r#"pods "p" is forbidden: error looking up service account n/absent: serviceaccount "absent" not found"#
        ]],
    );
}

#[test]
fn a_pod_gets_its_priority() {
    check(CREATE, POD, pod(json!({})), "/spec/priority", expect!["7"]);
    let high = json!({"priorityClassName": "high"});
    check(CREATE, POD, pod(high), "/spec/priority", expect!["1000"]);
    let none = json!({"priorityClassName": "none"});
    check(
        CREATE,
        POD,
        pod(none),
        "",
        expect![[r#"pods "p" is forbidden: no PriorityClass with name none was found"#]],
    );
    let own = json!({"priority": 5});
    check(
        CREATE,
        POD,
        pod(own),
        "",
        expect![[
            r#"pods "p" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name"#
        ]],
    );
}

#[test]
fn a_pod_stays_a_while_on_a_silent_node() {
    check(
        CREATE,
        POD,
        pod(json!({})),
        "/spec/tolerations/1",
        expect![[
            r#"{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}"#
        ]],
    );
    let all = json!({"tolerations": [{"operator": "Exists"}]});
    check(CREATE, POD, pod(all), "/spec/tolerations", expect![[r#"[{"operator":"Exists"}]"#]]);
}

fn claim(class: Value, size: &str) -> Value {
    let requests = json!({"requests": {"storage": size}});
    json!({
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {"storageClassName": class, "resources": requests},
        "status": {"phase": "Bound"},
    })
}

#[test]
fn a_claim_gets_its_class_and_protection() {
    check(
        CREATE,
        CLAIM,
        claim(Value::Null, "1Gi"),
        "/spec/storageClassName",
        expect![[r#""local""#]],
    );
    check(CREATE, CLAIM, claim(json!(""), "1Gi"), "/spec/storageClassName", expect![[r#""""#]]);
    check(
        CREATE,
        CLAIM,
        claim(json!(""), "1Gi"),
        "/metadata/finalizers",
        expect![[r#"["kubernetes.io/pvc-protection"]"#]],
    );
}

#[test]
fn a_claim_grows_where_its_class_says_so() {
    let update = |class: &str| Case {
        operation: Operation::Update,
        old: Some(claim(json!(class), "1Gi")),
        ..CREATE
    };
    check(
        update("local"),
        CLAIM,
        claim(json!("local"), "2Gi"),
        "/spec/resources/requests/storage",
        expect![[r#""2Gi""#]],
    );
    check(
        update("rigid"),
        CLAIM,
        claim(json!("rigid"), "2Gi"),
        "",
        expect![[
            r#"persistentvolumeclaims "d" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"#
        ]],
    );
}

#[test]
fn a_new_node_waits_until_it_is_ready() {
    let node = json!({"metadata": {"name": "m"}});
    check(CREATE, NODE, node, "/spec/taints/0/key", expect![[r#""node.kubernetes.io/not-ready""#]]);
}

#[test]
fn some_namespaces_stay() {
    let delete = Case { operation: Operation::Delete, ..CREATE };
    let namespace = json!({"metadata": {"name": "kube-system"}});
    check(
        delete,
        ("", "Namespace"),
        namespace,
        "",
        expect![[r#"namespaces "kube-system" is forbidden: this namespace may not be deleted"#]],
    );
}

#[test]
fn limit_ranges_fill_in_and_refuse() {
    let pod = |resources: Value| {
        json!({"metadata": {"name": "p", "namespace": "ranged"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
    };
    let container = "/spec/containers/0/resources";
    check(
        CREATE,
        POD,
        pod(json!({})),
        container,
        expect![[r#"{"limits":{"cpu":"500m","memory":"1Gi"},"requests":{"cpu":"100m"}}"#]],
    );
    check(
        CREATE,
        POD,
        pod(json!({})),
        "/metadata/annotations/kubernetes.io~1limit-ranger",
        expect![[
            r#""LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c""#
        ]],
    );
    check(
        CREATE,
        POD,
        pod(
            json!({"requests": {"cpu": "10m", "memory": "3Gi"}, "limits": {"cpu": "20m", "memory": "4Gi"}}),
        ),
        container,
        expect![[
            r#"pods "p" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, maximum memory usage per Container is 2Gi, but limit is 4Gi, maximum memory usage per Pod is 3Gi, but limit is 4Gi]"#
        ]],
    );
    check(
        CREATE,
        POD,
        pod(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}})),
        container,
        expect![[
            r#"pods "p" is forbidden: cpu max limit to request ratio per Container is 6, but provided ratio is 20.000000"#
        ]],
    );
    let claim = |size: &str| {
        json!({"metadata": {"name": "c", "namespace": "ranged"}, "spec": {"storageClassName": "",
            "resources": {"requests": {"storage": size}}}})
    };
    for (size, said) in [
        (
            "512Mi",
            expect![[
                r#"persistentvolumeclaims "c" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"#
            ]],
        ),
        (
            "10Gi",
            expect![[
                r#"persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 9Gi, but request is 10Gi"#
            ]],
        ),
        ("9Gi", expect![[r#""9Gi""#]]),
    ] {
        check(CREATE, CLAIM, claim(size), "/spec/resources/requests/storage", said);
    }
}
