//! Rows: a quota, what it has counted, a write, and what comes of it.

use api::resource;
use serde_json::{Value, json};

use super::*;

fn quota(hard: &Value, used: &Value, more: Value) -> ResourceQuota {
    let mut quota = json!({"metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard},
        "status": {"hard": hard, "used": used}});
    if let (Value::Object(spec), Value::Object(more)) = (&mut quota["spec"], more) {
        spec.extend(more);
    }
    serde_json::from_value(quota).unwrap()
}

fn object(kind: (&str, &str), object: &Value) -> Box<dyn Object> {
    resource::by_kind(kind.0, kind.1).unwrap().decode(object).unwrap()
}

/// What is said, or `used` afterwards; `-` when nothing changes.
fn after(
    quota: &ResourceQuota,
    kind: (&str, &str),
    old: Option<&Value>,
    new: Option<&Value>,
) -> String {
    let (old, new) = (old.map(|old| object(kind, old)), new.map(|new| object(kind, new)));
    let write = Charge {
        resource: resource::by_kind(kind.0, kind.1).unwrap(),
        subresource: "",
        name: "x",
        old: old.as_deref(),
        new: new.as_deref(),
    };
    let changed = match charge(&write, std::slice::from_ref(quota)) {
        Err(error) => return error.message,
        Ok(changed) => changed,
    };
    let Some(quota) = changed.first() else { return "-".to_owned() };
    let used = quota.status.as_ref().unwrap().used.clone().unwrap();
    let used: Vec<String> = used.iter().map(|(name, used)| format!("{name}={}", used.0)).collect();
    used.join(" ")
}

const POD: (&str, &str) = ("", "Pod");
const CLAIM: (&str, &str) = ("", "PersistentVolumeClaim");

fn pod(requests: &Value, limits: &Value) -> Value {
    json!({"metadata": {"name": "x"}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
}

fn bare() -> Value {
    pod(&json!({}), &json!({}))
}

#[test]
fn a_pod_too_many() {
    let of =
        |hard: &str, used: &str| quota(&json!({"pods": hard}), &json!({"pods": used}), json!({}));
    let (two, full, over) = (of("2", "1"), of("2", "2"), of("1", "3"));
    assert_eq!(after(&two, POD, None, Some(&bare())), "pods=2");
    assert_eq!(
        after(&full, POD, None, Some(&bare())),
        "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    assert_eq!(after(&full, POD, Some(&bare()), None), "pods=1", "one that goes gives it back");
    let mut ended = bare();
    ended["status"] = json!({"phase": "Succeeded"});
    assert_eq!(after(&full, POD, Some(&bare()), Some(&ended)), "pods=1", "so does one that ended");
    assert_eq!(after(&full, POD, Some(&ended), None), "-");
    assert_eq!(after(&full, POD, Some(&bare()), Some(&bare())), "-");
    assert_eq!(after(&full, CLAIM, None, Some(&json!({"metadata": {}}))), "-");
    assert_eq!(after(&over, POD, Some(&bare()), None), "pods=2", "one that is exceeded, too");
}

#[test]
fn compute_is_summed_and_must_be_named() {
    let hard = json!({"requests.cpu": "1", "limits.memory": "1Gi"});
    let had = quota(&hard, &json!({"requests.cpu": "500m", "limits.memory": "0"}), json!({}));
    let fits = pod(&json!({"cpu": "250m"}), &json!({"memory": "512Mi"}));
    assert_eq!(after(&had, POD, None, Some(&fits)), "limits.memory=512Mi requests.cpu=750m");
    let large = pod(&json!({"cpu": "600m"}), &json!({"memory": "2Gi"}));
    assert_eq!(
        after(&had, POD, None, Some(&large)),
        "pods \"x\" is forbidden: exceeded quota: q, requested: limits.memory=2Gi,requests.cpu=600m, used: limits.memory=0,requests.cpu=500m, limited: limits.memory=1Gi,requests.cpu=1"
    );
    assert_eq!(
        after(&had, POD, None, Some(&bare())),
        "pods \"x\" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c"
    );
    let unknown = quota(&hard, &json!({}), json!({}));
    assert_eq!(
        after(&unknown, POD, None, Some(&fits)),
        "pods \"x\" is forbidden: status unknown for quota: q, resources: limits.memory,requests.cpu"
    );
}

#[test]
fn init_containers_count_by_their_peak_and_sidecars_beside() {
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
    let had = quota(&json!({"cpu": "9"}), &json!({"cpu": "0"}), json!({}));
    for (inits, wanted) in [
        (json!([{"name": "i", "resources": cpu("3")}]), "cpu=3"),
        (json!([{"name": "i", "resources": cpu("1")}]), "cpu=2"),
        (json!([{"name": "s", "restartPolicy": "Always", "resources": cpu("1")}]), "cpu=3"),
        (
            json!([{"name": "s", "restartPolicy": "Always", "resources": cpu("1")},
                   {"name": "i", "resources": cpu("4")}]),
            "cpu=5",
        ),
    ] {
        let pod = json!({"metadata": {}, "spec": {"initContainers": inits,
            "containers": [{"name": "c", "resources": cpu("2")}]}});
        assert_eq!(after(&had, POD, None, Some(&pod)), wanted);
    }
}

#[test]
fn claims_and_services_and_any_kind_are_counted() {
    let claim = |size: &str| {
        json!({"metadata": {}, "spec": {"storageClassName": "gold",
            "resources": {"requests": {"storage": size}}}})
    };
    let of_class = "gold.storageclass.storage.k8s.io/requests.storage";
    let hard = json!({"persistentvolumeclaims": "2", "requests.storage": "10Gi", of_class: "5Gi"});
    let used = json!({"persistentvolumeclaims": "1", "requests.storage": "4Gi", of_class: "4Gi"});
    let had = quota(&hard, &used, json!({}));
    assert_eq!(
        after(&had, CLAIM, None, Some(&claim("1Gi"))),
        format!("{of_class}=5Gi persistentvolumeclaims=2 requests.storage=5Gi")
    );
    assert_eq!(
        after(&had, CLAIM, Some(&claim("4Gi")), Some(&claim("6Gi"))),
        format!(
            "persistentvolumeclaims \"x\" is forbidden: exceeded quota: q, requested: {of_class}=2Gi, used: {of_class}=4Gi, limited: {of_class}=5Gi"
        )
    );
    let had =
        quota(&json!({"services.nodeports": "1"}), &json!({"services.nodeports": "0"}), json!({}));
    let service =
        json!({"metadata": {}, "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
    let said = after(&had, ("", "Service"), None, Some(&service));
    assert!(said.contains("requested: services.nodeports=2"), "{said}");
    let hard = json!({"count/statefulsets.apps": "1", "secrets": "0"});
    let had = quota(&hard, &json!({"count/statefulsets.apps": "0", "secrets": "0"}), json!({}));
    let set = json!({"metadata": {}, "spec": {"selector": {}, "template": {}}});
    let said = after(&had, ("apps", "StatefulSet"), None, Some(&set));
    assert!(said.starts_with("count/statefulsets.apps=1"), "{said}");
    let said = after(&had, ("", "Secret"), None, Some(&json!({"metadata": {}})));
    assert!(said.contains("exceeded quota: q, requested: secrets=1"), "{said}");
}

#[test]
fn scopes_choose_pods() {
    let scoped = |spec: Value| quota(&json!({"pods": "9"}), &json!({"pods": "0"}), spec);
    let asking = pod(&json!({"cpu": "1"}), &json!({}));
    let mut classed = bare();
    classed["spec"]["priorityClassName"] = json!("high");
    classed["spec"]["activeDeadlineSeconds"] = json!(5);
    let class = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    for (spec, pod, counted) in [
        (json!({"scopes": ["BestEffort"]}), &bare(), true),
        (json!({"scopes": ["BestEffort"]}), &asking, false),
        (json!({"scopes": ["NotBestEffort"]}), &asking, true),
        (json!({"scopes": ["Terminating"]}), &classed, true),
        (json!({"scopes": ["Terminating"]}), &bare(), false),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), &bare(), true),
        (class("In", json!(["high"])), &classed, true),
        (class("In", json!(["low"])), &classed, false),
        (class("NotIn", json!(["low"])), &bare(), true),
        (class("Exists", json!(null)), &bare(), false),
    ] {
        let found = after(&scoped(spec.clone()), POD, None, Some(pod));
        assert_eq!(found == "pods=1", counted, "{spec}");
    }
}

#[test]
fn a_quota_is_counted_from_what_is_there() {
    let fresh = quota(&json!({"pods": "2", "requests.cpu": "4"}), &json!({}), json!({}));
    let kind = resource::by_kind("", "Pod").unwrap();
    let pods = [object(POD, &pod(&json!({"cpu": "1500m"}), &json!({}))), object(POD, &bare())];
    let status = counted(&fresh, pods.iter().map(|pod| (kind, &**pod)));
    let status = serde_json::to_value(status).unwrap();
    assert_eq!(status["used"], json!({"pods": "2", "requests.cpu": "1500m"}));
    assert_eq!(status["hard"], json!({"pods": "2", "requests.cpu": "4"}));
    for (plural, wanted) in [("pods", true), ("services", false), ("secrets", false)] {
        assert_eq!(counts(&fresh, resource::by_plural("", plural).unwrap()), wanted, "{plural}");
    }
}
