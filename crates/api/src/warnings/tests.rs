//! Rows: what a `Warning` header says.

use expect_test::expect;
use serde_json::{Value, json};

use crate::resource;

fn said(group: &str, plural: &str, new: &Value, old: Option<&Value>) -> String {
    let entry = resource::by_plural(group, plural).unwrap();
    let decode = |value: &Value| {
        let mut object = entry.decode(value).unwrap();
        entry.apply_defaults(object.as_mut());
        object
    };
    let old = old.map(decode);
    let warnings = entry.warnings(decode(new).as_ref(), old.as_deref());
    warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

#[test]
fn s6_sets() {
    let set = json!({"spec": {
        "selector": {},
        "revisionHistoryLimit": -1,
        "template": {"spec": {
            "terminationGracePeriodSeconds": -1,
            "containers": [{"name": "c"}],
        }},
        "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1500m"}}}}],
    }});
    expect![[r#"
        spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1
        spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer
        spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
    "#]]
    .assert_eq(&said("apps", "statefulsets", &set, None));
    expect![[r#"
        spec.volumeClaimTemplates[0].Spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer
        spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
    "#]]
    .assert_eq(&said("apps", "statefulsets", &set, Some(&set)));
}

/// Upstream accepts both, and uses the last, without a word.
#[test]
fn v13_fix_claim_templates_of_one_name_are_told() {
    let claim = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    let set = json!({"spec": {
        "selector": {},
        "template": {"spec": {"containers": [{"name": "c"}]}},
        "volumeClaimTemplates": [claim("data"), claim("log"), claim("data")],
    }});
    expect![[r#"
        spec.volumeClaimTemplates[2].metadata.name: duplicate name "data": the last template of a name is used
    "#]]
    .assert_eq(&said("apps", "statefulsets", &set, None));
}

#[test]
fn pods() {
    let pod = json!({
        "metadata": {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}],
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}],
            "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}],
            "containers": [
                {
                    "name": "c",
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "A", "value": "$(A)2"},
                        {"name": "A", "value": "3"},
                    ],
                    "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"memory": "100m"}, "requests": {"memory": "0"}},
                },
                {"name": "d", "ports": [{"containerPort": 80}, {"containerPort": 80, "hostPort": 1}]},
            ],
        },
    });
    expect![[r#"
        spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
        metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
        spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
        spec.hostAliases[1].ip: duplicate ip "1.1.1.1"
        spec.imagePullSecrets[1].name: duplicate name "a"
        spec.imagePullSecrets[2].name: invalid empty name ""
        spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer
        spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply
        spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]
        spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[0]
        spec.containers[1].ports[1]: overlapping port definition with spec.containers[1].ports[0]
    "#]]
    .assert_eq(&said("", "pods", &pod, None));
    assert_eq!(said("", "pods", &pod, Some(&pod)), "");
}
