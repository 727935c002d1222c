//! Rows of the `core` group.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{check, check_update, faults, pod, with};
use crate::resource::Part;

fn created(changes: &[(&str, Value)], wanted: &Expect) {
    check("", "pods", &with(&pod(), changes), wanted);
}

#[test]
fn metadata_of_any_kind() {
    created(
        &[("/metadata/name", Value::Null), ("/metadata/namespace", Value::Null)],
        &expect![[r#"
        metadata.name: Required value: name or generateName is required
        metadata.namespace: Required value
    "#]],
    );
    created(
        &[
            ("/metadata/labels", json!({"a b": "-"})),
            ("/metadata/finalizers", json!(["short"])),
            (
                "/metadata/ownerReferences",
                json!([
                    {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": true},
                    {"apiVersion": "v1", "kind": "B", "name": "b", "uid": "", "controller": true},
                ]),
            ),
        ],
        &expect![[r#"
            metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.labels: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.ownerReferences.uid: Invalid value: "": must not be empty
            metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"A","name":"a","uid":"1"},{"apiVersion":"v1","controller":true,"kind":"B","name":"b","uid":""}]: Only one reference can have Controller set to true. Found "true" in references for A/a and B/b
            metadata.finalizers[0]: Invalid value: "short": name is neither a standard finalizer name nor is it fully qualified
        "#]],
    );
    let old = with(&pod(), &[("/metadata/uid", json!("1")), ("/metadata/generation", json!(2))]);
    let changes = [("/metadata/uid", json!("2")), ("/metadata/generation", json!(1))];
    check_update(
        "",
        "pods",
        &with(&pod(), &changes),
        &old,
        &expect![[r#"
        metadata.generation: Invalid value: 1: must not be decremented
        metadata.uid: Invalid value: "2": field is immutable
    "#]],
    );
    let ending = [("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))];
    let old = with(&pod(), &ending);
    let new = with(&old, &[("/metadata/finalizers", json!(["a.b/c"]))]);
    check_update(
        "",
        "pods",
        &new,
        &old,
        &expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.b/c"}
    "#]],
    );
}

#[test]
fn containers() {
    created(
        &[("/spec/containers", json!([]))],
        &expect![[r#"
        spec.containers: Required value
    "#]],
    );
    created(
        &[(
            "/spec/containers",
            json!([
                {"name": "", "image": ""},
                {"name": "a", "image": "i ", "imagePullPolicy": "Sometimes", "terminationMessagePolicy": "X"},
                {"name": "a", "image": "i"},
            ]),
        )],
        &expect![[r#"
            spec.containers[0].name: Required value
            spec.containers[0].image: Required value
            spec.containers[1].terminationMessagePolicy: Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"
            spec.containers[1].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
            spec.containers[2].name: Duplicate value: "a"
            spec.containers[1].image: Invalid value: "i ": must not have leading or trailing whitespace
        "#]],
    );
    created(
        &[(
            "/spec/containers/0/ports",
            json!([
                {"containerPort": 0},
                {"containerPort": 80, "hostPort": 80, "name": "http", "protocol": "ICMP"},
                {"containerPort": 70000, "hostPort": 80, "name": "http"},
            ]),
        )],
        &expect![[r#"
            spec.containers[0].ports[0].containerPort: Required value
            spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            spec.containers[0].ports[2].name: Duplicate value: "http"
            spec.containers[0].ports[2].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        "#]],
    );
}

#[test]
fn environment() {
    created(
        &[(
            "/spec/containers/0/env",
            json!([
                {"name": ""},
                {"name": "A=B"},
                {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.dnsPolicy"}}},
                {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}},
                {"name": "E", "valueFrom": {"configMapKeyRef": {"name": "m", "key": ""}}},
            ]),
        )],
        &expect![[r#"
            spec.containers[0].env[0].name: Required value
            spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
            spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.dnsPolicy": error converting fieldPath: field label not supported: spec.dnsPolicy
            spec.containers[0].env[5].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.disk": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
            spec.containers[0].env[6].valueFrom.configMapKeyRef.key: Required value
        "#]],
    );
}

#[test]
fn mounts_and_volumes() {
    created(
        &[
            (
                "/spec/volumes",
                json!([
                    {"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}},
                    {"name": "b", "hostPath": {"path": "/x/../y", "type": "Folder"}},
                    {"name": "c", "emptyDir": {}},
                    {"name": "c", "configMap": {"name": "", "items": [{"key": "k", "path": "../x"}]}},
                ]),
            ),
            (
                "/spec/containers/0/volumeMounts",
                json!([
                    {"name": "c", "mountPath": "/c", "subPath": "../x"},
                    {"name": "c", "mountPath": "/c", "mountPropagation": "Bidirectional"},
                    {"name": "z", "mountPath": ""},
                ]),
            ),
        ],
        &expect![[r#"
            spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
            spec.volumes[1].hostPath.path: Invalid value: "/x/../y": must not contain '..'
            spec.volumes[1].hostPath.type: Unsupported value: "Folder": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
            spec.volumes[3].configMap.name: Required value
            spec.volumes[3].configMap.items[0].path: Invalid value: "../x": must not contain '..'
            spec.volumes[3].name: Duplicate value: "c"
            spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'
            spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/c": must be unique
            spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
            spec.containers[0].volumeMounts[2].name: Not found: "z"
            spec.containers[0].volumeMounts[2].mountPath: Required value
        "#]],
    );
}

#[test]
fn probes_hooks_and_resources() {
    created(
        &[
            (
                "/spec/containers/0/livenessProbe",
                json!({
                    "exec": {"command": []}, "tcpSocket": {"port": 0}, "successThreshold": 2,
                }),
            ),
            (
                "/spec/containers/0/readinessProbe",
                json!({
                    "httpGet": {"port": "HTTP", "scheme": "FTP"}, "terminationGracePeriodSeconds": 1,
                }),
            ),
            ("/spec/containers/0/startupProbe", json!({"periodSeconds": -1})),
            ("/spec/containers/0/lifecycle", json!({"preStop": {"sleep": {"seconds": 31}}})),
            (
                "/spec/containers/0/resources",
                json!({
                    "requests": {"cpu": "2", "memory": "-1", "gpu": "1"},
                    "limits": {"cpu": "1", "vendor.example/gpu": "1500m"},
                }),
            ),
        ],
        &expect![[r#"
            spec.containers[0].resources.limits[vendor.example/gpu]: Invalid value: "1500m": must be an integer
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified
            spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers
            spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.containers[0].resources.requests[vendor.example/gpu]: Invalid value: "1500m": must be an integer
            spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)
            spec.containers[0].livenessProbe.exec.command: Required value
            spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
            spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec.containers[0].readinessProbe.httpGet.port: Invalid value: "HTTP": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].readinessProbe.httpGet.port: Invalid value: "HTTP": must contain at least one letter (a-z)
            spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
            spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes
            spec.containers[0].startupProbe: Required value: must specify a handler type
            spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
}

#[test]
fn init_and_ephemeral_containers() {
    created(
        &[
            (
                "/spec/initContainers",
                json!([
                    {"name": "c", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}},
                    {"name": "s", "image": "i", "restartPolicy": "Always",
                     "readinessProbe": {"exec": {"command": ["x"]}}},
                ]),
            ),
            (
                "/spec/ephemeralContainers",
                json!([{"name": "e", "image": "i", "targetContainerName": "x"}]),
            ),
        ],
        &expect![[r#"
            spec.initContainers[0].name: Duplicate value: "c"
            spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.ephemeralContainers[0].targetContainerName: Not found: "x"
            spec.ephemeralContainers: Forbidden: cannot be set on create
        "#]],
    );
}

#[test]
fn the_rest_of_a_pods_spec() {
    created(
        &[
            ("/spec/restartPolicy", json!("Sometimes")),
            ("/spec/dnsPolicy", json!("None")),
            ("/spec/hostname", json!("A")),
            ("/spec/nodeName", json!("A")),
            ("/spec/activeDeadlineSeconds", json!(0)),
            ("/spec/hostAliases", json!([{"ip": "x", "hostnames": ["ok", "No"]}])),
            (
                "/spec/securityContext",
                json!({
                    "runAsUser": -1,
                    "sysctls": [{"name": "A", "value": ""}],
                    "seccompProfile": {"type": "Localhost"},
                }),
            ),
            (
                "/spec/containers/0/securityContext",
                json!({
                    "privileged": true, "allowPrivilegeEscalation": false,
                }),
            ),
        ],
        &expect![[r#"
            spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
            spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive
            spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
            spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
            spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
            spec.nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.hostAliases[0].hostnames[1]: Invalid value: "No": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
}

#[test]
fn placement() {
    created(
        &[
            (
                "/spec/tolerations",
                json!([
                    {"operator": "Equal", "value": "x"},
                    {"key": "k", "operator": "Exists", "value": "x", "effect": "NoSchedule", "tolerationSeconds": 1},
                ]),
            ),
            (
                "/spec/affinity",
                json!({
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 0, "podAffinityTerm": {"topologyKey": "a/b"}},
                    ]},
                }),
            ),
            (
                "/spec/topologySpreadConstraints",
                json!([
                    {"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Never"},
                ]),
            ),
        ],
        &expect![[r#"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
            spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
            spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"
            spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[1].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec.tolerations[1].operator: Invalid value: "x": value must be empty when `operator` is 'Exists'
        "#]],
    );
}

#[test]
fn a_pods_update() {
    let update = |changes: &[(&str, Value)], wanted: &Expect| {
        check_update("", "pods", &with(&pod(), changes), &pod(), wanted);
    };
    update(
        &[
            ("/spec/containers/0/image", json!("nginx:2")),
            ("/spec/activeDeadlineSeconds", json!(9)),
        ],
        &expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
          core.PodSpec{
        - 	containers: [{"image":"nginx","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],
        + 	containers: [{"image":"nginx","imagePullPolicy":"IfNotPresent","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],
          	... // 6 identical fields
          }

    "#]],
    );
    let kept = [
        ("/spec/containers/0/image", json!("nginx:2")),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/tolerations", json!([{"key": "k", "operator": "Exists"}])),
    ];
    update(&kept, &expect![""]);
    update(
        &[("/spec/containers", json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]))],
        &expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    let old = with(&pod(), &[("/spec/tolerations", json!([{"key": "k", "operator": "Exists"}]))]);
    check_update(
        "",
        "pods",
        &pod(),
        &old,
        &expect![[r#"
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
}

#[test]
fn a_pods_status() {
    let with_status =
        |status| with(&pod(), &[("/status", status), ("/spec/restartPolicy", json!("Never"))]);
    let state = |state| {
        json!([{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }])
    };
    let ended = state(json!({"terminated": {"exitCode": 0}}));
    let running = state(json!({"running": {}}));
    let old = with_status(json!({"containerStatuses": ended, "qosClass": "BestEffort"}));
    let new = with_status(
        json!({"containerStatuses": running, "qosClass": "Burstable", "podIPs": [{"ip": "x"}]}),
    );
    expect![[r#"
        status.qosClass: Invalid value: "Burstable": field is immutable
        status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
        status.podIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
    "#]]
    .assert_eq(&faults("", "pods", &new, Some(&old), Part::Status));
}
