//! Rows of the kinds that are not pods or sets of them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{check, check_update, with};

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "default", "resourceVersion": "1"})
}

fn cluster_meta(name: &str) -> Value {
    json!({"name": name, "resourceVersion": "1"})
}

fn service(spec: Value) -> Value {
    json!({"metadata": meta("s"), "spec": spec})
}

#[test]
fn services() {
    let created = |spec, wanted: &Expect| check("", "services", &service(spec), wanted);
    created(json!({"ports": [{"port": 80}]}), &expect![""]);
    created(json!({"clusterIP": "None", "clusterIPs": ["None"]}), &expect![""]);
    created(
        json!({}),
        &expect![[r#"
        spec.ports: Required value
    "#]],
    );
    created(
        json!({
            "type": "ClusterIP",
            "clusterIP": "10.0.0.1",
            "clusterIPs": ["10.0.0.1"],
            "ipFamilies": ["IPv6"],
            "sessionAffinity": "Sticky",
            "externalTrafficPolicy": "Local",
            "ports": [
                {"port": 80, "nodePort": 30000},
                {"port": 80, "name": "a", "targetPort": "UP"},
            ],
        }),
        &expect![[r#"
            spec.ports[0].name: Required value
            spec.ports[1].targetPort: Invalid value: "UP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ports[1].targetPort: Invalid value: "UP": must contain at least one letter (a-z)
            spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"
            spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`
            spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}
            spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
        "#]],
    );
    created(
        json!({"type": "ExternalName"}),
        &expect![[r#"
        spec.externalName: Required value
    "#]],
    );
    check(
        "",
        "services",
        &json!({"metadata": meta("1a"), "spec": {"ports": [{"port": 1}]}}),
        &expect![[r#"
        metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    let old = json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]});
    let new = json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]});
    check_update(
        "",
        "services",
        &service(new),
        &service(old),
        &expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set
    "#]],
    );
}

fn claim() -> Value {
    json!({
        "metadata": meta("data"),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": "pv1",
        },
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    })
}

#[test]
fn w12_claims() {
    let size = "/spec/resources/requests/storage";
    let changed = |changes: &[(&str, Value)], wanted: &Expect| {
        let new = with(&claim(), changes);
        check_update("", "persistentvolumeclaims", &new, &claim(), wanted);
    };
    changed(&[(size, json!("2Gi"))], &expect![""]);
    changed(
        &[(size, json!("512Mi"))],
        &expect![[r#"
        spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
    "#]],
    );
    changed(&[("/spec/storageClassName", json!("fast"))], &expect![""]);
    changed(
        &[("/spec/volumeName", json!("pv2"))],
        &expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
          core.PersistentVolumeClaimSpec{
        - 	volumeName: "pv1",
        + 	volumeName: "pv2",
          	... // 3 identical fields
          }

    "#]],
    );
    let pending = with(&claim(), &[("/status/phase", json!("Pending"))]);
    let grown = with(&pending, &[(size, json!("2Gi"))]);
    check_update(
        "",
        "persistentvolumeclaims",
        &grown,
        &pending,
        &expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
          core.PersistentVolumeClaimSpec{
        - 	resources: {"requests":{"storage":"1Gi"}},
        + 	resources: {"requests":{"storage":"2Gi"}},
          	... // 3 identical fields
          }

    "#]],
    );
    let bad = json!({"accessModes": ["ReadWriteOncePod", "Write", "ReadWriteOnce"], "resources": {"requests": {"storage": "x"}}});
    check(
        "",
        "persistentvolumeclaims",
        &with(&claim(), &[("/spec", bad)]),
        &expect![[r#"
        spec.accessModes: Unsupported value: "Write": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
        spec.resources[storage]: Invalid value: "x": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
    "#]],
    );
}

#[test]
fn persistent_volumes() {
    let volume = |spec| json!({"metadata": cluster_meta("pv1"), "spec": spec});
    let fine = json!({
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/d"},
    });
    check("", "persistentvolumes", &volume(fine.clone()), &expect![""]);
    check(
        "",
        "persistentvolumes",
        &volume(json!({"local": {"path": ""}})),
        &expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Required value
        spec.capacity: Unsupported value: "{}": supported values: "storage"
        spec.local.path: Required value
        spec.nodeAffinity: Required value: Local volume requires node affinity
    "#]],
    );
    let moved = with(&fine, &[("/hostPath", json!({"path": "/e"}))]);
    check_update(
        "",
        "persistentvolumes",
        &volume(moved),
        &volume(fine),
        &expect![[r#"
        spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
          core.PersistentVolumeSource{
        - 	hostPath: {"path":"/d","type":""},
        + 	hostPath: {"path":"/e","type":""},
          }

    "#]],
    );
}

#[test]
fn config_maps_and_secrets() {
    let map = json!({"metadata": meta("m"), "data": {"a b": "", "c": ""}, "binaryData": {"c": ""}});
    check(
        "",
        "configmaps",
        &map,
        &expect![[r#"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[c]: Invalid value: "c": duplicate of key present in binaryData
    "#]],
    );
    let old = json!({"metadata": meta("m"), "data": {"a": "1"}, "immutable": true});
    let new = json!({"metadata": meta("m"), "data": {"a": "2"}});
    check_update(
        "",
        "configmaps",
        &new,
        &old,
        &expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    let secret = |kind: &str| json!({"metadata": meta("s"), "type": kind});
    for (kind, wanted) in [
        ("Opaque", expect![""]),
        (
            "kubernetes.io/tls",
            expect![[r#"
            data[tls.crt]: Required value
            data[tls.key]: Required value
        "#]],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            expect![[r#"
            data[.dockerconfigjson]: Required value
        "#]],
        ),
        (
            "kubernetes.io/service-account-token",
            expect![[r#"
            metadata.annotations[kubernetes.io/service-account.name]: Required value
        "#]],
        ),
    ] {
        check("", "secrets", &secret(kind), &wanted);
    }
    check_update(
        "",
        "secrets",
        &secret("a"),
        &secret("b"),
        &expect![[r#"
        type: Invalid value: "a": field is immutable
    "#]],
    );
}

#[test]
fn nodes_namespaces_and_endpoints() {
    let node = json!({"metadata": cluster_meta("n"), "spec": {
        "podCIDRs": ["10.0.0.0/33"],
        "taints": [{"key": "k", "effect": "Never"}],
    }});
    check(
        "",
        "nodes",
        &node,
        &expect![[r#"
        metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        spec.podCIDRs[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
    "#]],
    );
    check(
        "",
        "namespaces",
        &json!({"metadata": {"name": "a.b"}}),
        &expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
    "#]],
    );
    let endpoints = json!({"metadata": meta("e"), "subsets": [
        {},
        {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 1}, {"port": 0, "name": "a"}]},
    ]});
    check(
        "",
        "endpoints",
        &endpoints,
        &expect![[r#"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        subsets[1].ports[0].name: Required value
        subsets[1].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive
    "#]],
    );
    let slice = json!({"metadata": meta("e"), "addressType": "IPv4", "endpoints": [
        {"addresses": []}, {"addresses": ["::1"]},
    ]});
    check(
        "discovery.k8s.io",
        "endpointslices",
        &slice,
        &expect![[r#"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses[0]: Invalid value: "::1": must be a valid IPv4 address
    "#]],
    );
}

#[test]
fn rbac() {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"metadata": meta("a/b"), "rules": [
        {"verbs": []},
        {"verbs": ["get"], "nonResourceURLs": ["/x"]},
    ]});
    check(
        group,
        "roles",
        &role,
        &expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
    "#]],
    );
    let binding = |name: &str| {
        json!({
            "metadata": cluster_meta("b"),
            "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "Robot", "name": "r"}],
        })
    };
    check_update(
        group,
        "clusterrolebindings",
        &binding("x"),
        &binding("y"),
        &expect![[r#"
        roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"x"}: cannot change roleRef
        subjects[0].namespace: Required value
        subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
    "#]],
    );
}

#[test]
fn leases_classes_events_and_reviews() {
    let mut lease = json!({"metadata": meta("l"), "spec": {"leaseDurationSeconds": 0}});
    check(
        "coordination.k8s.io",
        "leases",
        &lease,
        &expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
    "#]],
    );
    let old = lease.clone();
    lease["metadata"]["resourceVersion"] = json!("");
    lease["spec"]["leaseDurationSeconds"] = json!(1);
    check_update("coordination.k8s.io", "leases", &lease, &old, &expect![""]);
    let class = json!({"metadata": cluster_meta("system-mine"), "value": 1});
    check(
        "scheduling.k8s.io",
        "priorityclasses",
        &class,
        &expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class
    "#]],
    );
    let class = |parameters| json!({"metadata": cluster_meta("c"), "provisioner": "p", "parameters": parameters});
    let (new, old) = (class(json!({"a": "b"})), class(json!({})));
    check_update(
        "storage.k8s.io",
        "storageclasses",
        &new,
        &old,
        &expect![[r#"
        parameters: Forbidden: updates to parameters are forbidden.
    "#]],
    );
    let event = json!({"metadata": meta("e"), "involvedObject": {"namespace": "other"}});
    check(
        "",
        "events",
        &event,
        &expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
    "#]],
    );
    let review = json!({"metadata": {"name": "x"}, "spec": {}});
    check(
        "authorization.k8s.io",
        "subjectaccessreviews",
        &review,
        &expect![[r#"
        spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified
        spec.user: Invalid value: "": at least one of user or group must be specified
        metadata: Invalid value: {"name":"x"}: must be empty
    "#]],
    );
}

#[test]
fn quotas_limit_what_can_be_counted() {
    let quota = |hard: Value, more: Value| {
        let mut quota =
            json!({"metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": hard}});
        if let (Value::Object(spec), Value::Object(more)) = (&mut quota["spec"], more) {
            spec.extend(more);
        }
        quota
    };
    let good = json!({"pods": "2", "requests.cpu": "1500m", "count/statefulsets.apps": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "services.nodeports": "0"});
    check("", "resourcequotas", &quota(good, json!({})), &expect![""]);
    check(
        "",
        "resourcequotas",
        &quota(json!({"pods": "1.5", "apples": "1", "limits.memory": "-1"}), json!({})),
        &expect![[r#"
            spec.hard[apples]: Invalid value: "apples": must be a standard resource type or fully qualified
            spec.hard[apples]: Invalid value: "apples": must be a standard resource for quota
            spec.hard[limits.memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.hard[pods]: Invalid value: "1500m": must be an integer
        "#]],
    );
    check(
        "",
        "resourcequotas",
        &quota(json!({"services": "1"}), json!({"scopes": ["BestEffort", "NotBestEffort", "Odd"]})),
        &expect![[r#"
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: conflicting scopes
        "#]],
    );
    let rule = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    let pods = || json!({"pods": "1"});
    check("", "resourcequotas", &quota(pods(), rule("In", json!(["a"]))), &expect![""]);
    check(
        "",
        "resourcequotas",
        &quota(pods(), rule("In", json!([]))),
        &expect![[r#"
            spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
        "#]],
    );
    check_update(
        "",
        "resourcequotas",
        &quota(pods(), json!({"scopes": ["BestEffort"]})),
        &quota(pods(), json!({})),
        &expect![[r#"
            spec.scopes: Invalid value: ["BestEffort"]: field is immutable
        "#]],
    );
}

#[test]
fn limit_ranges_do_not_contradict_themselves() {
    let range = |limit: Value| json!({"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": [limit]}});
    let good = json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}});
    check("", "limitranges", &range(good), &expect![""]);
    check(
        "",
        "limitranges",
        &range(json!({"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}})),
        &expect![[r#"
            spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2
            spec.limits[0].defaultRequest[cpu]: Invalid value: "2": min value 3 is greater than default request value 2
            spec.limits[0].default[cpu]: Invalid value: "3": min value 3 is greater than default value 2
        "#]],
    );
    check(
        "",
        "limitranges",
        &range(
            json!({"type": "Pod", "default": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "500m"}}),
        ),
        &expect![[r#"
            spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'
            spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
        "#]],
    );
    check(
        "",
        "limitranges",
        &range(json!({"type": "PersistentVolumeClaim"})),
        &expect![[r#"
            spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided
        "#]],
    );
}
