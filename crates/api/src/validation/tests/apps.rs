//! Rows of the `apps` group, named by the ids of the StatefulSet specification.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{check, check_update, faults, set, with};
use crate::resource::Part;

fn created(changes: &[(&str, Value)], wanted: &Expect) {
    check("apps", "statefulsets", &with(&set(), changes), wanted);
}

fn updated(changes: &[(&str, Value)], wanted: &Expect) {
    check_update("apps", "statefulsets", &with(&set(), changes), &set(), wanted);
}

fn claim() -> Value {
    json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    })
}

#[test]
fn a_plain_set_is_fine() {
    created(&[], &expect![""]);
    updated(&[], &expect![""]);
}

#[test]
fn v1_name() {
    created(
        &[("/metadata/name", json!("a.b"))],
        &expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
    "#]],
    );
    created(
        &[("/metadata/name", json!("a".repeat(64)))],
        &expect![[r#"
        metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 63 bytes
    "#]],
    );
    created(
        &[("/metadata/name", json!("Web"))],
        &expect![[r#"
        metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    let dotted = with(&set(), &[("/metadata/name", json!("a.b"))]);
    check_update("apps", "statefulsets", &dotted, &dotted, &expect![""]);
}

#[test]
fn v2_pod_management_policy() {
    created(
        &[("/spec/podManagementPolicy", json!("Serial"))],
        &expect![[r#"
        spec.podManagementPolicy: Invalid value: "Serial": must be 'OrderedReady' or 'Parallel'
    "#]],
    );
}

/// Defaults fill these in before anyone is judged; a caller of the rules alone sees them.
#[test]
fn v2_v3_what_is_empty_is_required() {
    let entry = crate::resource::by_plural("apps", "statefulsets").unwrap();
    let bare = with(
        &set(),
        &[
            ("/spec/podManagementPolicy", json!("")),
            ("/spec/updateStrategy", json!({"type": ""})),
            ("/spec/template/spec/restartPolicy", json!("Always")),
        ],
    );
    let bare = entry.decode(&bare).unwrap();
    let causes = entry.validate(bare.as_ref(), None, Part::Main);
    let lines: Vec<String> = causes.iter().map(|cause| cause.to_string()).collect();
    assert!(lines.contains(&"spec.podManagementPolicy: Required value".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"spec.updateStrategy: Required value".to_owned()), "{lines:#?}");
}

/// V4: whoever switches by a merge patch must null the struct; the status keeps its own part.
#[test]
fn v4_switching_to_on_delete_needs_the_struct_gone() {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    let rolling = with(&set(), &[("/spec/updateStrategy", strategy)]);
    let half = with(&rolling, &[("/spec/updateStrategy/type", json!("OnDelete"))]);
    check_update(
        "apps",
        "statefulsets",
        &half,
        &rolling,
        &expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"partition":0}: only allowed for updateStrategy 'RollingUpdate'
    "#]],
    );
    let whole = with(&half, &[("/spec/updateStrategy/rollingUpdate", Value::Null)]);
    check_update("apps", "statefulsets", &whole, &rolling, &expect![""]);
}

#[test]
fn v3_v4_v5_update_strategy() {
    created(
        &[("/spec/updateStrategy", json!({"type": "Recreate"}))],
        &expect![[r#"
        spec.updateStrategy: Invalid value: {"type":"Recreate"}: must be 'RollingUpdate' or 'OnDelete'
    "#]],
    );
    let strategy = json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}});
    created(
        &[("/spec/updateStrategy", strategy)],
        &expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
    "#]],
    );
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": -1}});
    created(
        &[
            ("/spec/updateStrategy", strategy),
            ("/spec/replicas", json!(-1)),
            ("/spec/minReadySeconds", json!(-1)),
            ("/spec/ordinals", json!({"start": -1})),
        ],
        &expect![[r#"
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
}

/// Preparation drops the field while its gate is closed; what is left of it is judged.
#[test]
fn v6_max_unavailable() {
    let strategy =
        |max: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max}});
    for (max, wanted) in [
        (json!(7), expect![""]),
        (json!("100%"), expect![""]),
        (
            json!(0),
            expect![[r#"
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
            "#]],
        ),
        (
            json!("0%"),
            expect![[r#"
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "0%": cannot be 0
            "#]],
        ),
        (
            json!("101%"),
            expect![[r#"
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%
            "#]],
        ),
        (
            json!(-1),
            expect![[r#"
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
            "#]],
        ),
        (
            json!("2"),
            expect![[r#"
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "2": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
                spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "2": cannot be 0
            "#]],
        ),
    ] {
        created(&[("/spec/updateStrategy", strategy(max))], &wanted);
    }
}

#[test]
fn v7_retention_policy() {
    let policy = json!({"whenDeleted": "Keep", "whenScaled": "Delete"});
    created(
        &[("/spec/persistentVolumeClaimRetentionPolicy", policy)],
        &expect![[r#"
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values: "Retain", "Delete"
    "#]],
    );
}

#[test]
fn v8_service_name() {
    created(
        &[("/spec/serviceName", json!("a.b"))],
        &expect![[r#"
        spec.serviceName: Invalid value: "a.b": must not contain dots
    "#]],
    );
    created(&[("/spec/serviceName", json!(""))], &expect![""]);
    let dotted = with(&set(), &[("/spec/serviceName", json!("a.b"))]);
    check_update("apps", "statefulsets", &dotted, &dotted, &expect![""]);
}

#[test]
fn v9_selector() {
    created(
        &[("/spec/selector", Value::Null)],
        &expect![[r#"
            spec.selector: Required value
            spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
        "#]],
    );
    created(
        &[("/spec/selector", json!({"matchLabels": {}}))],
        &expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{}}: empty selector is invalid for statefulset
    "#]],
    );
    created(
        &[("/spec/selector", json!({"matchLabels": {"app": "db"}}))],
        &expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
    "#]],
    );
    let expressions = json!([{"key": "app", "operator": "In"}, {"key": "app", "operator": "Is"}]);
    created(
        &[("/spec/selector/matchExpressions", expressions)],
        &expect![[r#"
        spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.selector.matchExpressions[1].operator: Invalid value: "Is": not a valid selector operator
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
    "#]],
    );
}

#[test]
fn v10_v13_template_and_claims() {
    let mounts = json!([{"name": "data", "mountPath": "/d"}]);
    let mounted = ("/spec/template/spec/containers/0/volumeMounts", mounts);
    created(
        std::slice::from_ref(&mounted),
        &expect![[r#"
        spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"
    "#]],
    );
    let claims = ("/spec/volumeClaimTemplates", json!([claim()]));
    created(&[mounted, claims], &expect![""]);
    created(&[("/spec/template/spec/hostname", json!("No_Host"))], &expect![""]);
    created(&[("/spec/template/spec/subdomain", json!("No_Domain"))], &expect![""]);
    // A claim takes the place of a volume of its name; two of one name are accepted, as upstream.
    let volume = json!([{"name": "data", "emptyDir": {}}]);
    created(
        &[
            ("/spec/template/spec/volumes", volume),
            ("/spec/volumeClaimTemplates", json!([claim(), claim()])),
        ],
        &expect![""],
    );
    let claim = json!({"metadata": {"name": "a_b"}, "spec": {}});
    created(
        &[("/spec/volumeClaimTemplates", json!([claim]))],
        &expect![[r#"
        spec.template.spec.volumes[0].name: Invalid value: "a_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
    "#]],
    );
}

#[test]
fn v11_v12_restart_policy_and_deadline() {
    created(
        &[
            ("/spec/template/spec/restartPolicy", json!("Never")),
            ("/spec/template/spec/activeDeadlineSeconds", json!(5)),
        ],
        &expect![[r#"
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
        "#]],
    );
}

#[test]
fn v14_update() {
    let fixed = expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]];
    updated(&[("/spec/serviceName", json!("other"))], &fixed);
    updated(&[("/spec/podManagementPolicy", json!("Parallel"))], &fixed);
    updated(&[("/spec/volumeClaimTemplates", json!([claim()]))], &fixed);
    updated(
        &[
            ("/spec/replicas", json!(5)),
            ("/spec/ordinals", json!({"start": 3})),
            ("/spec/updateStrategy", json!({"type": "OnDelete"})),
            ("/spec/minReadySeconds", json!(3)),
            ("/spec/revisionHistoryLimit", json!(3)),
            ("/spec/persistentVolumeClaimRetentionPolicy", json!({"whenScaled": "Delete"})),
            ("/spec/template/spec/containers/0/image", json!("nginx:2")),
        ],
        &expect![""],
    );
    updated(
        &[("/spec/replicas", json!(-1)), ("/spec/serviceName", json!("x"))],
        &expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
}

#[test]
fn d9_the_same_claims_again_are_no_change() {
    let claims = ("/spec/volumeClaimTemplates", json!([claim()]));
    let old = with(&set(), &[claims]);
    let mut full = claim();
    full["apiVersion"] = json!("v1");
    full["kind"] = json!("PersistentVolumeClaim");
    full["spec"]["resources"]["requests"]["storage"] = json!("1024Mi");
    let new = with(&set(), &[("/spec/volumeClaimTemplates", json!([full]))]);
    check_update("apps", "statefulsets", &new, &old, &expect![""]);
}

#[test]
fn v15_a_template_that_was_invalid_may_stay_so() {
    let bad = with(&set(), &[("/spec/template/spec/containers/0/name", json!("No"))]);
    let new = with(&bad, &[("/spec/replicas", json!(3))]);
    check_update("apps", "statefulsets", &new, &bad, &expect![""]);
    updated(
        &[("/spec/template/spec/containers/0/name", json!("a.b"))],
        &expect![[r#"
        spec.template.spec.containers[0].name: Invalid value: "a.b": must not contain dots
    "#]],
    );
}

#[test]
fn v16_status() {
    let with_status = |status| with(&set(), &[("/status", status)]);
    let old = with_status(json!({"replicas": 1, "collisionCount": 2}));
    let status = |status, wanted: &Expect| {
        let new = with_status(status);
        let found = faults("apps", "statefulsets", &new, Some(&old), Part::Status);
        wanted.assert_eq(&found);
    };
    status(json!({"replicas": 1, "readyReplicas": 1, "collisionCount": 2}), &expect![""]);
    status(
        json!({
            "replicas": 1,
            "readyReplicas": 2,
            "currentReplicas": -1,
            "availableReplicas": 3,
            "collisionCount": 1,
        }),
        &expect![[r#"
            status.currentReplicas: Invalid value: -1: must be greater than or equal to 0
            status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
            status.collisionCount: Invalid value: 1: cannot be decremented
        "#]],
    );
    status(
        json!({"replicas": 1, "currentReplicas": 2, "updatedReplicas": 3, "collisionCount": 3}),
        &expect![[r#"
            status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas
            status.updatedReplicas: Invalid value: 3: cannot be greater than status.replicas
        "#]],
    );
    status(
        json!({
            "replicas": -1,
            "readyReplicas": -1,
            "updatedReplicas": -1,
            "availableReplicas": -1,
            "observedGeneration": -1,
            "collisionCount": -1,
        }),
        &expect![[r#"
            status.replicas: Invalid value: -1: must be greater than or equal to 0
            status.readyReplicas: Invalid value: -1: must be greater than or equal to 0
            status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0
            status.availableReplicas: Invalid value: -1: must be greater than or equal to 0
            status.observedGeneration: Invalid value: -1: must be greater than or equal to 0
            status.collisionCount: Invalid value: -1: must be greater than or equal to 0
            status.currentReplicas: Invalid value: 0: cannot be greater than status.replicas
            status.collisionCount: Invalid value: -1: cannot be decremented
        "#]],
    );
}

#[test]
fn v17_controller_revision() {
    let meta = json!({"name": "web-1", "namespace": "default", "resourceVersion": "1"});
    let revision = |data| json!({"metadata": meta, "revision": 1, "data": data});
    let kind = ("apps", "controllerrevisions");
    check(kind.0, kind.1, &revision(json!({"a": 1})), &expect![""]);
    let none = json!({"metadata": meta, "revision": -1});
    check(
        kind.0,
        kind.1,
        &none,
        &expect![[r#"
        data: Required value: data is mandatory
        revision: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check(
        kind.0,
        kind.1,
        &revision(json!([1])),
        &expect![[r#"
        data: Invalid value: [1]: data must be a valid JSON object
    "#]],
    );
    let (new, old) = (revision(json!({"a": 2})), revision(json!({"a": 1})));
    check_update(
        kind.0,
        kind.1,
        &new,
        &old,
        &expect![[r#"
        data: Invalid value: {"a":2}: field is immutable
    "#]],
    );
    // Its number may change: a rollback raises it.
    let raised = with(&old, &[("/revision", json!(7))]);
    check_update(kind.0, kind.1, &raised, &old, &expect![""]);
    let named = with(&old, &[("/metadata/name", json!("A_b"))]);
    check(
        kind.0,
        kind.1,
        &named,
        &expect![[r#"
        metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
}

/// Section 18, V18: upstream accepts these names, makes claims, and can never make a pod.
#[test]
fn v18_fix_a_name_too_long_for_its_pods_is_refused() {
    let named = |length: usize| with(&set(), &[("/metadata/name", json!("a".repeat(length)))]);
    check("apps", "statefulsets", &named(52), &expect![""]);
    for length in [53, 60, 63] {
        let name = "a".repeat(length);
        let wanted = format!(
            "metadata.name: Invalid value: \"{name}\": must be no more than 52 bytes: each pod of the \
             set has a label that is this name, a dash and a hash of up to 10 characters, and a \
             label must be no more than 63 bytes\n"
        );
        assert_eq!(faults("apps", "statefulsets", &named(length), None, Part::Main), wanted);
        // What is stored already may be changed.
        let larger = with(&named(length), &[("/spec/replicas", json!(3))]);
        check_update("apps", "statefulsets", &larger, &named(length), &expect![""]);
    }
}
