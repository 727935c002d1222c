//! Rows: an object, and what `kubectl get -o wide` prints of it.

#![expect(clippy::too_many_lines, reason = "rows are a table")]

use expect_test::{Expect, expect};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::human;
use crate::resource;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn cells(group: &str, kind: &str, object: Value) -> Vec<Value> {
    let resource = resource::by_kind(group, kind).unwrap();
    let object = resource.decode(&object).unwrap();
    let row = resource.row(object.as_ref(), now());
    assert_eq!(row.len(), resource.columns().len(), "a cell for each column of {kind}");
    row
}

fn check(group: &str, kind: &str, object: Value, want: Expect) {
    let row: Vec<String> = cells(group, kind, object)
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    want.assert_eq(&row.join(" | "));
}

fn check_pod(spec: Value, status: Value, want: &str) {
    let meta = json!({"name": "p", "creationTimestamp": "2026-01-01T11:59:55Z"});
    let row = cells("", "Pod", json!({"metadata": meta, "spec": spec, "status": status}));
    let shown: Vec<&str> = row[1..4].iter().map(|cell| cell.as_str().unwrap()).collect();
    assert_eq!(shown.join(" "), want);
}

#[test]
fn ages() {
    for (seconds, want) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60 + 59, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 120, "3h2m"),
        (8 * 3600, "8h"),
        (45 * 3600, "45h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (700 * 86400, "700d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (3000 * 86400, "8y"),
    ] {
        assert_eq!(human(seconds), want, "{seconds}");
    }
}

#[test]
fn pods() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let init =
        json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let side = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i", "restartPolicy": "Always"}]});
    let c = |name: &str, ready: bool, restarts: i32, state: Value| json!({"name": name, "ready": ready, "restartCount": restarts, "state": state, "image": "", "imageID": ""});
    let run = json!({"running": {}});
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    check_pod(two.clone(), json!({"phase": "Pending"}), "0/2 Pending 0");
    check_pod(
        two.clone(),
        json!({"phase": "Running", "containerStatuses": [c("a", true, 1, run.clone()), c("b", true, 0, run.clone())]}),
        "2/2 Running 1",
    );
    let mut crashed = c("a", false, 3, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    crashed["lastState"] =
        json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:55:00Z"}});
    check_pod(
        two.clone(),
        json!({"phase": "Running", "containerStatuses": [crashed]}),
        "0/2 CrashLoopBackOff 3 (5m ago)",
    );
    check_pod(
        two.clone(),
        json!({"phase": "Succeeded", "containerStatuses": [c("a", false, 0, done.clone()), c("b", false, 0, done.clone())]}),
        "0/2 Completed 0",
    );
    check_pod(
        two.clone(),
        json!({"phase": "Running", "containerStatuses": [c("a", false, 0, done.clone()), c("b", true, 0, run.clone())]}),
        "1/2 NotReady 0",
    );
    check_pod(
        two.clone(),
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [c("a", false, 0, done.clone()), c("b", true, 0, run.clone())]}),
        "1/2 Running 0",
    );
    check_pod(two.clone(), json!({"phase": "Failed", "reason": "Evicted"}), "0/2 Evicted 0");
    check_pod(
        two.clone(),
        json!({"phase": "Failed", "containerStatuses": [c("a", false, 0, json!({"terminated": {"exitCode": 3}}))]}),
        "0/2 ExitCode:3 0",
    );
    check_pod(
        two.clone(),
        json!({"phase": "Failed", "containerStatuses": [c("a", false, 0, json!({"terminated": {"exitCode": 3, "signal": 9}}))]}),
        "0/2 Signal:9 0",
    );
    check_pod(
        two,
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        "0/2 SchedulingGated 0",
    );
    check_pod(
        init.clone(),
        json!({"phase": "Pending", "initContainerStatuses": [c("i", true, 0, done.clone()), c("j", false, 0, json!({"waiting": {"reason": "PodInitializing"}}))]}),
        "0/1 Init:1/2 0",
    );
    check_pod(
        init.clone(),
        json!({"phase": "Pending", "initContainerStatuses": [c("i", false, 2, json!({"waiting": {"reason": "ImagePullBackOff"}}))]}),
        "0/1 Init:ImagePullBackOff 2",
    );
    check_pod(
        init,
        json!({"phase": "Pending", "initContainerStatuses": [c("i", false, 2, json!({"terminated": {"exitCode": 7}}))]}),
        "0/1 Init:ExitCode:7 2",
    );
    let mut started = c("i", true, 1, run.clone());
    started["started"] = json!(true);
    check_pod(
        side,
        json!({"phase": "Running", "initContainerStatuses": [started], "containerStatuses": [c("a", true, 0, run)]}),
        "2/2 Running 1",
    );
}

#[test]
fn deleted_pods() {
    for (phase, reason, want) in [
        ("Running", "", "Terminating"),
        ("Running", "NodeLost", "Unknown"),
        ("Succeeded", "", "Succeeded"),
        ("Failed", "Evicted", "Evicted"),
    ] {
        let meta = json!({"name": "p", "deletionTimestamp": "2026-01-01T11:59:55Z"});
        let row = cells(
            "",
            "Pod",
            json!({"metadata": meta, "spec": {"containers": []}, "status": {"phase": phase, "reason": reason}}),
        );
        assert_eq!(row[2], want);
    }
}

#[test]
fn one_of_each() {
    let meta = json!({"name": "x", "creationTimestamp": "2026-01-01T11:58:00Z"});
    check(
        "",
        "Pod",
        json!({"metadata": meta, "spec": {"containers": [{"name": "c"}], "nodeName": "n1", "readinessGates": [{"conditionType": "g"}]}, "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}),
        expect!["x | 0/1 | Running | 0 | 2m | 10.0.0.1 | n1 | <none> | 0/1"],
    );
    check(
        "apps",
        "StatefulSet",
        json!({"metadata": meta, "spec": {"replicas": 3, "selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}}}, "status": {"replicas": 3, "readyReplicas": 2}}),
        expect!["x | 2/3 | 2m | a,b | i:1,j"],
    );
    check(
        "apps",
        "ControllerRevision",
        json!({"metadata": {"name": "web-1", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]}, "revision": 2}),
        expect!["web-1 | statefulset.apps/web | 2 | <unknown>"],
    );
    check(
        "",
        "Service",
        json!({"metadata": meta, "spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"a": "b", "c": "d"}}}),
        expect!["x | NodePort | 10.96.0.1 | <none> | 80:30080/TCP,53/UDP | 2m | a=b,c=d"],
    );
    check(
        "",
        "Service",
        json!({"metadata": meta, "spec": {"type": "LoadBalancer", "clusterIP": "None", "clusterIPs": ["None"]}}),
        expect!["x | LoadBalancer | None | <pending> | <none> | 2m | <none>"],
    );
    check(
        "",
        "Service",
        json!({"metadata": meta, "spec": {"type": "ExternalName", "externalName": "e.org"}}),
        expect!["x | ExternalName | <none> | e.org | <none> | 2m | <none>"],
    );
    check(
        "",
        "Node",
        json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "w"}}, "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}], "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6", "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "systemUUID": ""}}}),
        expect![
            "n | Ready,SchedulingDisabled | control-plane,w | <unknown> | v1 | 1.2.3.4 | <none> | Debian | 6 | <unknown>"
        ],
    );
    check(
        "",
        "PersistentVolumeClaim",
        json!({"metadata": meta, "spec": {"volumeName": "pv1", "storageClassName": "fast", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}}),
        expect!["x | Bound | pv1 | 1Gi | RWO,RWX | fast | <unset> | 2m | Filesystem"],
    );
    check(
        "",
        "PersistentVolumeClaim",
        json!({"metadata": meta, "spec": {}, "status": {"phase": "Pending"}}),
        expect!["x | Pending |  |  |  |  | <unset> | 2m | <unset>"],
    );
    check(
        "",
        "PersistentVolume",
        json!({"metadata": meta, "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "local", "claimRef": {"namespace": "default", "name": "c"}}, "status": {"phase": "Bound"}}),
        expect!["x | 5Gi | RWO | Retain | Bound | default/c | local | <unset> |  | 2m | <unset>"],
    );
    check(
        "storage.k8s.io",
        "StorageClass",
        json!({"metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "stead.io/local"}),
        expect!["std (default) | stead.io/local | Delete | Immediate | false | <unknown>"],
    );
    check(
        "",
        "Event",
        json!({"metadata": {"name": "e.1"}, "involvedObject": {"kind": "StatefulSet", "name": "web"}, "type": "Normal", "reason": "SuccessfulCreate", "message": "create Pod web-0\n", "source": {"component": "statefulset-controller"}, "firstTimestamp": "2026-01-01T11:50:00Z", "lastTimestamp": "2026-01-01T11:59:00Z", "count": 4}),
        expect![
            "60s | Normal | SuccessfulCreate | statefulset/web |  | statefulset-controller | create Pod web-0 | 10m | 4 | e.1"
        ],
    );
    check(
        "events.k8s.io",
        "Event",
        json!({"metadata": {"name": "e.2"}, "regarding": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}, "eventTime": "2026-01-01T11:59:30.000000Z", "type": "Normal", "reason": "Started", "note": "n", "reportingController": "kubelet", "reportingInstance": "n1"}),
        expect![
            "30s | Normal | Started | pod/p | spec.containers{c} | kubelet, n1 | n | 30s | 1 | e.2"
        ],
    );
    check(
        "",
        "Endpoints",
        json!({"metadata": meta, "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        expect!["x | 10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more... | 2m"],
    );
    check("", "Endpoints", json!({"metadata": meta}), expect!["x | <none> | 2m"]);
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []}),
        expect!["x | IPv4 | 80 | <unset> | 2m"],
    );
    check(
        "",
        "Secret",
        json!({"metadata": meta, "type": "Opaque", "data": {"a": "eA=="}}),
        expect!["x | Opaque | 1 | 2m"],
    );
    check(
        "",
        "ConfigMap",
        json!({"metadata": meta, "data": {"a": "1", "b": "2"}}),
        expect!["x | 2 | 2m"],
    );
    check("", "ServiceAccount", json!({"metadata": meta}), expect!["x | 0 | 2m"]);
    check(
        "",
        "Namespace",
        json!({"metadata": meta, "status": {"phase": "Active"}}),
        expect!["x | Active | 2m"],
    );
    check(
        "coordination.k8s.io",
        "Lease",
        json!({"metadata": meta, "spec": {"holderIdentity": "h"}}),
        expect!["x | h | 2m"],
    );
    check(
        "rbac.authorization.k8s.io",
        "Role",
        json!({"metadata": meta, "rules": []}),
        expect!["x | 2026-01-01T11:58:00Z"],
    );
    check(
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        json!({"metadata": meta, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "admin"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}, {"kind": "Group", "name": "g"}]}),
        expect!["x | ClusterRole/admin | 2m | u | g | n/s"],
    );
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({"metadata": meta, "value": 7}),
        expect!["x | 7 | false | 2m | PreemptLowerPriority"],
    );
    check(
        "authentication.k8s.io",
        "TokenReview",
        json!({"metadata": meta, "spec": {}}),
        expect!["x | 2026-01-01T11:58:00Z"],
    );
}

/// Q1 of the StatefulSet specification: the narrow columns, and those of `-o wide`.
#[test]
fn q1_columns_of_sets_and_revisions() {
    let named = |group: &str, plural: &str, wide: bool| {
        let entry = resource::by_plural(group, plural).unwrap();
        let shown = entry.columns().iter().filter(|column| wide || column.priority == 0);
        shown.map(|column| column.name.to_uppercase()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(named("apps", "statefulsets", false), "NAME READY AGE");
    assert_eq!(named("apps", "statefulsets", true), "NAME READY AGE CONTAINERS IMAGES");
    assert_eq!(named("apps", "controllerrevisions", false), "NAME CONTROLLER REVISION AGE");
    let ready = |replicas: Value, status: Value| {
        let set = json!({"metadata": {"name": "x"}, "spec": {"replicas": replicas, "selector": {},
            "template": {"spec": {"containers": []}}}, "status": status});
        cells("apps", "StatefulSet", set)[1].clone()
    };
    assert_eq!(ready(json!(3), json!({"replicas": 3})), "0/3");
    assert_eq!(ready(json!(0), json!({"replicas": 1, "readyReplicas": 1})), "1/0");
    let revision = json!({"metadata": {"name": "web-1"}, "revision": 7});
    assert_eq!(cells("apps", "ControllerRevision", revision)[1], "<none>");
}

#[test]
fn every_kind_has_a_name_column() {
    for resource in resource::all() {
        let names = resource.columns().iter().filter(|column| column.format == "name").count();
        assert_eq!(names, 1, "{}", resource.names().kind);
    }
}

#[test]
fn policies() {
    let meta = json!({"name": "web", "creationTimestamp": "2026-01-01T11:58:00Z"});
    check(
        "stead.io",
        "StatefulSetPolicy",
        json!({"metadata": meta, "spec": {"statefulSetName": "web"}}),
        expect!["web | web | false | <none> | <none> | Unknown | 2m"],
    );
    let condition = json!({"type": "Accepted", "status": "False", "reason": "SetNotFound", "message": "",
        "lastTransitionTime": "2026-01-01T11:58:00Z"});
    check(
        "stead.io",
        "StatefulSetPolicy",
        json!({"metadata": meta, "spec": {"statefulSetName": "db", "paused": true,
            "rollout": {"maxUnavailable": "30%"}, "ordinals": {"reserved": ["1", "3-5"]}},
            "status": {"conditions": [condition]}}),
        expect!["web | db | true | 30% | 1,3-5 | False | 2m"],
    );
}

#[test]
fn quotas_show_what_is_used() {
    let meta = json!({"name": "q", "creationTimestamp": "2026-01-01T11:59:55Z"});
    let quota = json!({"metadata": meta, "status": {
        "hard": {"pods": "2", "limits.cpu": "4", "requests.memory": "1Gi"},
        "used": {"pods": "1", "limits.cpu": "500m"}}});
    check(
        "",
        "ResourceQuota",
        quota,
        expect!["q | pods: 1/2, requests.memory: 0/1Gi | limits.cpu: 500m/4 | 5s"],
    );
    check(
        "",
        "LimitRange",
        json!({"metadata": meta, "spec": {"limits": []}}),
        expect!["q | 2026-01-01T11:59:55Z"],
    );
}
