//! Rows named by the spec: writes and applies, and who owns what afterwards.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ApplyError, Writer, apply, manager_name, update};
use crate::{
    resource::{self, Names},
    status::ApiError,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn names(kind: &str) -> &'static Names {
    resource::all().iter().map(|one| one.names()).find(|names| names.kind == kind).unwrap()
}

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer { manager, subresource: "", now: at(second) }
}

fn written(kind: &str, live: Option<&Value>, mut new: Value, writer: &Writer<'_>) -> Value {
    update(names(kind), live, &mut new, writer);
    new
}

/// `manager operation[/subresource] second fields`, an entry a line.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let line = |entry: &Value| {
        assert_eq!(entry["fieldsType"], "FieldsV1");
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let time: Timestamp = text("time").parse().unwrap();
        let sub = text("subresource");
        let slash = if sub.is_empty() { "" } else { "/" };
        let second = time.as_second() - at(0).as_second();
        format!(
            "{} {}{slash}{sub} {second} {}",
            text("manager"),
            text("operation"),
            entry["fieldsV1"]
        )
    };
    entries.iter().map(line).collect()
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

#[test]
fn s1_create_owns_all_that_is_set() {
    let map = written(
        "ConfigMap",
        None,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "u", "labels": {"a": "1"}}, "data": {"k": "v"}}),
        &writer("kubectl-create", 0),
    );
    assert_eq!(
        owners(&map),
        [
            r#"kubectl-create Update 0 {"f:data":{".":{},"f:k":{}},"f:metadata":{"f:labels":{".":{},"f:a":{}}}}"#
        ]
    );
    let pod = written(
        "Pod",
        None,
        json!({"metadata": {"name": "p", "ownerReferences": [{"uid": "u1", "name": "web"}], "finalizers": ["a/b"]}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}, "ports": [{"containerPort": 80}], "args": ["x"]}], "nodeSelector": {"a": "b"}}, "status": {"phase": "Pending"}}),
        &writer("m", 0),
    );
    assert_eq!(
        owners(&pod),
        [concat!(
            r#"m Update 0 {"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"u1\"}":{}}},"#,
            r#""f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{}}},"f:nodeSelector":{}}}"#
        )]
    );
}

#[test]
fn s1_updates_take_what_they_change() {
    let one = written("ConfigMap", None, config(json!({"a": "1", "b": "1"})), &writer("x", 0));
    let two =
        written("ConfigMap", Some(&one), config(json!({"a": "2", "b": "1"})), &writer("y", 5));
    assert_eq!(
        owners(&two),
        [r#"x Update 0 {"f:data":{".":{},"f:b":{}}}"#, r#"y Update 5 {"f:data":{"f:a":{}}}"#,]
    );
    // Nothing changes: nothing changes, the time neither.
    let same =
        written("ConfigMap", Some(&two), config(json!({"a": "2", "b": "1"})), &writer("z", 9));
    assert_eq!(same, two);
    // A field that goes, goes from everyone; an empty entry goes too.
    let gone = written("ConfigMap", Some(&two), config(json!({"b": "1"})), &writer("z", 9));
    assert_eq!(owners(&gone), [r#"x Update 0 {"f:data":{".":{},"f:b":{}}}"#]);
    // A value of one's own that changes renews the time, as the field's documentation says.
    let own =
        written("ConfigMap", Some(&two), config(json!({"a": "3", "b": "1"})), &writer("y", 9));
    assert_eq!(owners(&own)[1], r#"y Update 9 {"f:data":{"f:a":{}}}"#);
}

#[test]
fn s1_subresources_have_their_own_entries() {
    let set = json!({"metadata": {"name": "s"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}, "updateStrategy": {"type": "OnDelete"}}});
    let one = written("StatefulSet", None, set, &writer("kubectl", 0));
    assert_eq!(
        owners(&one),
        [
            r#"kubectl Update 0 {"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{".":{},"f:a":{}}}},"f:updateStrategy":{"f:type":{}}}}"#
        ]
    );
    let mut status = one.clone();
    status["status"] = json!({"replicas": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    let status = written(
        "StatefulSet",
        Some(&one),
        status,
        &Writer { subresource: "status", ..writer("kubectl", 3) },
    );
    assert_eq!(
        owners(&status)[1],
        r#"kubectl Update/status 3 {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:status":{},"f:type":{}}},"f:replicas":{}}}"#
    );
    let mut scaled = status.clone();
    scaled["spec"]["replicas"] = json!(3);
    let scaled = written(
        "StatefulSet",
        Some(&status),
        scaled,
        &Writer { subresource: "scale", ..writer("hpa", 4) },
    );
    assert_eq!(owners(&scaled)[2], r#"hpa Update/scale 4 {"f:spec":{"f:replicas":{}}}"#);
    assert!(!owners(&scaled)[0].contains("replicas"));
}

#[test]
fn s7_managed_fields_can_be_cleared_and_not_forgotten() {
    let one = written("ConfigMap", None, config(json!({"a": "1"})), &writer("x", 0));
    let mut cleared = one.clone();
    cleared["metadata"]["managedFields"] = json!([{}]);
    let cleared = written("ConfigMap", Some(&one), cleared, &writer("x", 1));
    assert_eq!(cleared["metadata"].get("managedFields"), None);
    for forgotten in [json!([]), Value::Null, json!([{"manager": "broken"}])] {
        let mut new = one.clone();
        new["metadata"]["managedFields"] = forgotten;
        let new = written("ConfigMap", Some(&one), new, &writer("x", 1));
        assert_eq!(new, one);
    }
}

#[test]
fn s9_updaters_are_folded() {
    let mut object = written("ConfigMap", None, config(json!({"k": "0"})), &writer("m0", 0));
    for at in 1..15 {
        let mut new = object.clone();
        new["data"][format!("k{at}")] = "v".into();
        object = written("ConfigMap", Some(&object), new, &writer(&format!("m{at}"), at));
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    assert!(
        owners[0].starts_with(r#"ancient-changes Update 5 {"f:data":{".":{},"f:k":{},"f:k1":{}"#),
        "{}",
        owners[0]
    );
}

fn applied(live: Option<&Value>, wish: &Value, writer: &Writer<'_>) -> Value {
    apply(names("ConfigMap"), live, wish, false, writer).unwrap()
}

#[test]
fn s2_what_is_no_longer_applied_goes() {
    let one = applied(None, &config(json!({"a": "1", "b": "1"})), &writer("x", 0));
    assert_eq!(owners(&one), [r#"x Apply 0 {"f:data":{"f:a":{},"f:b":{}}}"#]);
    let two = applied(Some(&one), &config(json!({"b": "1", "c": "1"})), &writer("y", 1));
    assert_eq!(two["data"], json!({"a": "1", "b": "1", "c": "1"}));
    let three = applied(Some(&two), &config(json!({"a": "1"})), &writer("x", 2));
    assert_eq!(three["data"], json!({"a": "1", "b": "1", "c": "1"}), "y applies b as well");
    let four = applied(Some(&three), &config(json!({"c": "1"})), &writer("y", 3));
    assert_eq!(four["data"], json!({"a": "1", "c": "1"}));
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let five = applied(Some(&four), &bare, &writer("x", 4));
    assert_eq!(five["data"], json!({"c": "1"}));
    let six = applied(Some(&five), &bare, &writer("y", 5));
    assert_eq!(six.get("data"), None);
    assert_eq!(six["metadata"].get("managedFields"), None);
}

#[test]
fn s3_conflicts_name_fields_and_managers() {
    let one = written("ConfigMap", None, config(json!({"a": "1", "b": "1"})), &writer("x", 0));
    let wish = config(json!({"a": "2"}));
    let refused = apply(names("ConfigMap"), Some(&one), &wish, false, &writer("y", 1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "x" using v1: .data.a"#
    );
    let error = ApiError::from(refused);
    assert_eq!(error.reason.code(), 409);
    let causes = error.details.unwrap().causes.unwrap();
    assert_eq!(causes[0].reason.as_deref(), Some("FieldManagerConflict"));
    assert_eq!(causes[0].message.as_deref(), Some(r#"conflict with "x" using v1"#));
    assert_eq!(causes[0].field.as_deref(), Some(".data.a"));
    let both = config(json!({"a": "2", "b": "2"}));
    let refused = apply(names("ConfigMap"), Some(&one), &both, false, &writer("y", 1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"x\" using v1:\n- .data.a\n- .data.b"
    );
    // The same value is no conflict, and is owned by both.
    let shared = applied(Some(&one), &config(json!({"a": "1"})), &writer("y", 1));
    assert_eq!(owners(&shared)[0], r#"y Apply 1 {"f:data":{"f:a":{}}}"#);
    assert!(owners(&shared)[1].contains("f:a"));
    let forced = apply(names("ConfigMap"), Some(&one), &wish, true, &writer("y", 1)).unwrap();
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    assert_eq!(owners(&forced)[1], r#"x Update 0 {"f:data":{".":{},"f:b":{}}}"#);
}

#[test]
fn s3_paths_of_list_items() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "1", "ports": [{"containerPort": 80, "name": "a"}]}]}});
    let one = written("Pod", None, pod, &writer("x", 0));
    let wish = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "2", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "b"}]}]}});
    let refused = apply(
        names("Pod"),
        Some(&one),
        &wish,
        false,
        &Writer { subresource: "", ..writer("y", 1) },
    )
    .unwrap_err();
    let ApplyError::Conflicts(conflicts) = refused else { panic!("{refused}") };
    let fields: Vec<&str> = conflicts.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            r#".spec.containers[name="c"].image"#,
            r#".spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].name"#,
        ]
    );
}

#[test]
fn s4_lists_by_type() {
    let wish = |containers: Value, finalizers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": finalizers}, "spec": {"containers": containers, "tolerations": [{"key": "t"}]}});
    let pod = names("Pod");
    let one = apply(
        pod,
        None,
        &wish(json!([{"name": "a", "args": ["1", "2"]}, {"name": "b"}]), json!(["x/1"])),
        false,
        &writer("x", 0),
    )
    .unwrap();
    assert_eq!(
        owners(&one),
        [
            r#"x Apply 0 {"f:metadata":{"f:finalizers":{"v:\"x/1\"":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:args":{},"f:name":{}},"k:{\"name\":\"b\"}":{".":{},"f:name":{}}},"f:tolerations":{}}}"#
        ]
    );
    // Someone else adds a container and a finalizer; the defaults of a container are nobody's.
    let mut live = one.clone();
    live["spec"]["containers"][1]["imagePullPolicy"] = "Always".into();
    let two = apply(pod, Some(&live), &json!({"metadata": {"name": "p", "finalizers": ["y/1"]}, "spec": {"containers": [{"name": "side", "image": "s"}]}}), false, &writer("y", 1)).unwrap();
    let list = |object: &Value| {
        object["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&two), ["a", "b", "side"]);
    assert_eq!(two["metadata"]["finalizers"], json!(["x/1", "y/1"]));
    let three = apply(
        pod,
        Some(&two),
        &wish(json!([{"name": "a", "args": ["3"]}]), json!([])),
        false,
        &writer("x", 2),
    )
    .unwrap();
    assert_eq!(list(&three), ["a", "side"]);
    assert_eq!(three["spec"]["containers"][0]["args"], json!(["3"]));
    assert_eq!(three["metadata"]["finalizers"], json!(["y/1"]));
}

#[test]
fn s5_before_first_apply() {
    let mut live = config(json!({"a": "1", "b": "1"}));
    live["metadata"]["resourceVersion"] = "5".into();
    let refused =
        apply(names("ConfigMap"), Some(&live), &config(json!({"a": "2"})), false, &writer("y", 1))
            .unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a"#
    );
    let one = applied(Some(&live), &config(json!({"a": "1"})), &writer("y", 1));
    assert_eq!(
        owners(&one),
        [
            r#"y Apply 1 {"f:data":{"f:a":{}}}"#,
            r#"before-first-apply Update 1 {"f:data":{".":{},"f:a":{},"f:b":{}}}"#,
        ]
    );
}

#[test]
fn s5_an_updater_takes_from_an_applier() {
    let one = applied(None, &config(json!({"a": "1", "b": "1"})), &writer("x", 0));
    let two = written(
        "ConfigMap",
        Some(&one),
        config(json!({"a": "2", "b": "1"})),
        &writer("kubectl-edit", 1),
    );
    assert_eq!(
        owners(&two),
        [r#"x Apply 0 {"f:data":{"f:b":{}}}"#, r#"kubectl-edit Update 1 {"f:data":{"f:a":{}}}"#,]
    );
    let refused = apply(
        names("ConfigMap"),
        Some(&two),
        &config(json!({"a": "1", "b": "1"})),
        false,
        &writer("x", 2),
    )
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.a"#
    );
}

#[test]
fn s6_managed_fields_in_a_wish() {
    let mut wish = config(json!({}));
    wish["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let refused = apply(names("ConfigMap"), None, &wish, false, &writer("y", 1)).unwrap_err();
    assert_eq!(refused, ApplyError::ManagedFieldsSet);
    assert_eq!(ApiError::from(refused).message, "metadata.managedFields must be nil");
}

#[test]
fn s8_versions_of_a_wish() {
    let one = applied(None, &config(json!({"a": "1"})), &writer("x", 0));
    let mut old = one.clone();
    old["metadata"]["managedFields"][0]["apiVersion"] = "v1beta1".into();
    let two = applied(Some(&old), &config(json!({"b": "1"})), &writer("x", 1));
    assert_eq!(two["data"], json!({"b": "1"}), "an applier is the same over versions");
    assert_eq!(two["metadata"]["managedFields"][0]["apiVersion"], "v1");
}

#[test]
fn s9_an_unchanged_apply_is_no_write() {
    let wish = config(json!({"a": "1"}));
    let mut one = applied(None, &wish, &writer("x", 0));
    one["metadata"]["resourceVersion"] = "7".into();
    one["metadata"]["uid"] = "u".into();
    assert_eq!(applied(Some(&one), &wish, &writer("x", 60)), one);
}

#[test]
fn managers() {
    assert_eq!(manager_name(Some("me"), "kubectl/v1.32"), "me");
    assert_eq!(manager_name(Some(""), "kubectl/v1.32 (linux/amd64)"), "kubectl");
    assert_eq!(manager_name(None, &"x".repeat(300)).len(), 128);
}

#[test]
fn n1_a_pod_and_its_kubelet() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web", "apps.kubernetes.io/pod-index": "0"}, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"containers": [{"name": "nginx", "image": "nginx", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 80, "name": "web", "protocol": "TCP"}], "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "volumeMounts": [{"mountPath": "/usr/share/nginx/html", "name": "www"}]}], "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 10, "volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}]}});
    let created = written("Pod", None, pod, &writer("stead", 0));
    let mut running = created.clone();
    running["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]});
    let kubelet = Writer { subresource: "status", ..writer("kubelet", 1) };
    let first = written("Pod", Some(&created), running, &kubelet);
    assert_eq!(owners(&first).len(), 2);
    let again = written("Pod", Some(&first), first.clone(), &kubelet);
    assert_eq!(again, first);
}
