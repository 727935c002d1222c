//! Rows: what is kept of an object that a client sent.

use serde_json::{Value, json};

use super::Gates;
use crate::resource::{self, Part};

/// The object as it would be judged and stored.
fn prepared(group: &str, plural: &str, new: Value, old: Option<Value>, part: Part) -> Value {
    let entry = resource::by_plural(group, plural).unwrap();
    let decode = |value| {
        let mut object = entry.decode(&value).unwrap();
        entry.apply_defaults(object.as_mut());
        object
    };
    let (mut new, old) = (decode(new), old.map(decode));
    entry.prepare(new.as_mut(), old.as_deref(), part);
    new.to_value()
}

fn set(replicas: i32, generation: i64, status: Value) -> Value {
    json!({
        "metadata": {"name": "web", "generation": generation, "uid": "u"},
        "spec": {
            "replicas": replicas,
            "selector": {},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}},
            "template": {"spec": {"containers": []}},
        },
        "status": status,
    })
}

#[test]
fn s2_s3_w1_g1_sets() {
    let (group, plural) = ("apps", "statefulsets");
    let made = prepared(group, plural, set(1, 7, json!({"replicas": 3})), None, Part::Main);
    assert_eq!(made["status"], json!({"replicas": 0, "availableReplicas": 0}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}));

    let old = prepared(group, plural, set(1, 1, json!({"replicas": 0})), None, Part::Main);
    for (replicas, part, generation, kept) in [
        (1, Part::Main, 1, json!({"replicas": 0, "availableReplicas": 0})),
        (2, Part::Main, 2, json!({"replicas": 0, "availableReplicas": 0})),
        (2, Part::Status, 1, json!({"replicas": 9, "availableReplicas": 0})),
    ] {
        let sent = set(replicas, 99, json!({"replicas": 9}));
        let made = prepared(group, plural, sent, Some(old.clone()), part);
        assert_eq!(made["metadata"]["generation"], generation, "{replicas} {part:?}");
        assert_eq!(made["status"], kept, "{replicas} {part:?}");
        let spec = if part == Part::Main { replicas } else { 1 };
        assert_eq!(made["spec"]["replicas"], spec);
    }
}

/// With the gate open: kept, defaulted, and no change where only the default is filled in.
#[test]
fn g1_d5_sets_with_the_gate_open() {
    let entry = resource::by_plural("apps", "statefulsets").unwrap();
    let open = Gates { max_unavailable_stateful_set: true };
    let prepared = |gates: Gates, new: Value, old: Option<Value>| {
        let decode = |value| {
            let mut object = entry.decode(&value).unwrap();
            entry.apply_defaults(object.as_mut());
            object
        };
        let (mut new, old) = (decode(new), old.map(decode));
        gates.prepare(entry, new.as_mut(), old.as_deref(), Part::Main);
        new.to_value()
    };
    let strategy = |made: &Value| made["spec"]["updateStrategy"]["rollingUpdate"].clone();
    let made = prepared(open, set(1, 1, json!({})), None);
    assert_eq!(strategy(&made), json!({"partition": 0, "maxUnavailable": 2}));
    let mut plain = set(1, 1, json!({"replicas": 0}));
    plain["spec"]["updateStrategy"] = Value::Null;
    let made = prepared(open, plain.clone(), None);
    assert_eq!(strategy(&made), json!({"partition": 0, "maxUnavailable": 1}));
    // Stored while the gate was closed, written again as it is.
    let stored = prepared(Gates::default(), plain.clone(), None);
    assert_eq!(strategy(&stored), json!({"partition": 0}));
    let made = prepared(open, stored.clone(), Some(stored.clone()));
    assert_eq!(
        (&made["metadata"]["generation"], &strategy(&made)["maxUnavailable"]),
        (&json!(1), &json!(1))
    );
    // A struct that is not there stays so (D6).
    let mut bare = plain;
    bare["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    assert_eq!(strategy(&prepared(open, bare, None)), Value::Null);
    // Closed again: what is stored stays.
    let kept = prepared(Gates::default(), made.clone(), Some(made));
    assert_eq!(strategy(&kept)["maxUnavailable"], 1);
}

#[test]
fn pods() {
    let pod = |resources: Value| {
        json!({
            "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "c", "resources": resources}]},
            "status": {"phase": "Running"},
        })
    };
    let both = json!({"cpu": "1", "memory": "1Gi"});
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": both}), "Guaranteed"),
        (json!({"limits": both, "requests": {"cpu": "500m"}}), "Burstable"),
        (json!({"limits": {"cpu": "1"}}), "Burstable"),
    ] {
        let made = prepared("", "pods", pod(resources), None, Part::Main);
        assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": class}));
        assert_eq!(made["metadata"], json!({"name": "p", "generation": 1}));
    }
}

#[test]
fn namespaces_keep_their_finalizers() {
    let made = prepared("", "namespaces", json!({"metadata": {"name": "n"}}), None, Part::Main);
    assert_eq!(made["spec"], json!({"finalizers": ["kubernetes"]}));
    let sent = json!({"metadata": {"name": "n"}, "spec": {"finalizers": []}});
    let made = prepared("", "namespaces", sent, Some(made), Part::Main);
    assert_eq!(made["spec"], json!({"finalizers": ["kubernetes"]}));
}

#[test]
fn services_keep_what_they_were_given() {
    let old = json!({"spec": {
        "type": "NodePort",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "nodePort": 30001}],
    }});
    for (sent, ip, node_port) in [
        (json!({"type": "NodePort", "ports": [{"port": 80}]}), json!("10.0.0.1"), json!(30001)),
        (json!({"type": "NodePort", "ports": [{"port": 81}]}), json!("10.0.0.1"), Value::Null),
        (json!({"type": "ClusterIP", "ports": [{"port": 80}]}), json!("10.0.0.1"), Value::Null),
        (
            json!({
                "type": "ExternalName",
                "externalName": "x",
                "clusterIP": "10.0.0.1",
                "clusterIPs": ["10.0.0.1"],
                "ports": [{"port": 80, "nodePort": 30001}],
            }),
            Value::Null,
            Value::Null,
        ),
    ] {
        let made = prepared("", "services", json!({"spec": sent}), Some(old.clone()), Part::Main);
        assert_eq!(made["spec"]["clusterIP"], ip);
        assert_eq!(made["spec"]["ports"][0]["nodePort"], node_port);
    }
    let made = prepared("", "services", json!({"spec": {"clusterIP": "None"}}), None, Part::Main);
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
}

#[test]
fn policies() {
    let (group, plural) = ("stead.io", "statefulsetpolicies");
    let policy = |paused: bool, from: &str| {
        json!({
            "metadata": {"name": "web", "generation": 4, "uid": "u"},
            "spec": {"statefulSetName": "web", "paused": paused},
            "status": {"returnedFrom": from},
        })
    };
    let made = prepared(group, plural, policy(false, "a"), None, Part::Main);
    assert_eq!((&made["status"], &made["metadata"]["generation"]), (&Value::Null, &json!(1)));
    let old = Some(policy(false, "a"));
    let changed = prepared(group, plural, policy(true, "b"), old.clone(), Part::Main);
    assert_eq!(changed["metadata"]["generation"], 5);
    assert_eq!(changed["status"]["returnedFrom"], "a");
    let told = prepared(group, plural, policy(true, "b"), old, Part::Status);
    assert_eq!(told["metadata"]["generation"], 4);
    assert_eq!(
        (&told["spec"]["paused"], &told["status"]["returnedFrom"]),
        (&json!(false), &json!("b"))
    );
}
