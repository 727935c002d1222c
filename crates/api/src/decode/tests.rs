//! Rows: a body, and what strict validation or the decoder says of it.

use serde_json::json;

use super::{Format, object, parse, strict_error};
use crate::resource;

fn strict(group: &str, kind: &str, body: &str) -> Vec<String> {
    let resource = resource::by_kind(group, kind).unwrap();
    object(resource, body.as_bytes(), Format::Json).unwrap().strict
}

fn refused(group: &str, kind: &str, body: &str) -> String {
    let resource = resource::by_kind(group, kind).unwrap();
    let error = object(resource, body.as_bytes(), Format::Json).unwrap_err();
    assert_eq!(error.reason.code(), 400);
    error.message
}

#[test]
fn unknown_and_duplicate_fields() {
    for (group, kind, body, want) in [
        (
            "",
            "Pod",
            r#"{"metadata":{"name":"a","labels":{"any":"x"},"annotations":{"q.io/r":"{}"}}}"#,
            vec![],
        ),
        ("", "Pod", r#"{"foo":1}"#, vec![r#"unknown field "foo""#]),
        ("", "Pod", r#"{"ownerReferences":[]}"#, vec![r#"unknown field "ownerReferences""#]),
        (
            "apps",
            "StatefulSet",
            r#"{"spec":{"foo":1,"template":{"spec":{"containers":[{"name":"a","imag":"x"},{"ports":[{"containerPort":1,"x":2}]}]}}}}"#,
            vec![
                r#"unknown field "spec.foo""#,
                r#"unknown field "spec.template.spec.containers[0].imag""#,
                r#"unknown field "spec.template.spec.containers[1].ports[0].x""#,
            ],
        ),
        (
            "apps",
            "StatefulSet",
            r#"{"spec":{"replicas":1,"replicas":2}}"#,
            vec![r#"duplicate field "spec.replicas""#],
        ),
        (
            "",
            "Pod",
            r#"{"spec":{"containers":[{"name":"a"},{"image":"x","image":"y"}]},"kind":"Pod","kind":"Pod"}"#,
            vec![r#"duplicate field "spec.containers[1].image""#, r#"duplicate field "kind""#],
        ),
        ("", "ConfigMap", r#"{"data":{"a":"1","a":"2"}}"#, vec![r#"duplicate field "data.a""#]),
        (
            "apps",
            "ControllerRevision",
            r#"{"data":{"spec":{"what":["ever"]}},"revision":1}"#,
            vec![],
        ),
    ] {
        assert_eq!(strict(group, kind, body), want, "{body}");
    }
}

#[test]
fn strict_findings_make_one_error() {
    let names = resource::by_kind("apps", "StatefulSet").unwrap().names();
    let found = strict("apps", "StatefulSet", r#"{"spec":{"a":1,"b":2}}"#);
    assert_eq!(
        strict_error(names, &found).message,
        r#"StatefulSet in version "v1" cannot be handled as a StatefulSet: strict decoding error: unknown field "spec.a", unknown field "spec.b""#
    );
}

#[test]
fn wrong_types() {
    let start = r#"in version "v1" cannot be handled as a"#;
    for (group, kind, body, want) in [
        (
            "apps",
            "StatefulSet",
            r#"{"spec":{"replicas":"2"}}"#,
            "json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32",
        ),
        (
            "apps",
            "StatefulSet",
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field StatefulSetSpec.spec.replicas of type int32",
        ),
        (
            "apps",
            "StatefulSet",
            r#"{"spec":"x"}"#,
            "json: cannot unmarshal string into Go struct field StatefulSet.spec of type v1.StatefulSetSpec",
        ),
        (
            "",
            "Pod",
            r#"{"spec":{"containers":{"name":"a"}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "",
            "Pod",
            r#"{"spec":{"containers":[{"env":[{"name":"A","value":1}]}]}}"#,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            "",
            "Pod",
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            "",
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "",
            "Pod",
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            r#"parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006""#,
        ),
        ("", "Secret", r#"{"data":{"a":"no!!"}}"#, "illegal base64 data at input byte 2"),
    ] {
        assert_eq!(refused(group, kind, body), format!("{kind} {start} {kind}: {want}"), "{body}");
    }
}

#[test]
fn malformed_bodies() {
    for (body, want) in [
        (
            "",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)",
        ),
        (
            r#"{"a":"#,
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"a":)"#,
        ),
        (
            r#"{"a" 1}"#,
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character '1' after object key ({"a" 1})"#,
        ),
        (
            "abc",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: invalid character 'a' looking for beginning of value (616263)",
        ),
        (
            r#"{"apiVersion":"v2","kind":"Pod"}"#,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            r#"{"apiVersion":"v1","kind":"Service"}"#,
            r#"Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion"#,
        ),
    ] {
        assert_eq!(refused("", "Pod", body), want, "{body}");
    }
}

#[test]
fn absent_kinds_are_added() {
    let resource = resource::by_kind("apps", "StatefulSet").unwrap();
    let decoded = object(resource, br#"{"metadata":{"name":"a"}}"#, Format::Json).unwrap();
    assert_eq!(
        decoded.value,
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"}})
    );
}

#[test]
fn yaml_bodies() {
    let body = "kind: Pod\nmetadata:\n  name: a\n  labels: {n: \"1\"}\nspec:\n  containers:\n  - name: c\n    args: [a, 'b']\n";
    let read = parse(body.as_bytes(), Format::Yaml).unwrap();
    assert_eq!(
        read.value,
        json!({"kind": "Pod", "metadata": {"name": "a", "labels": {"n": "1"}}, "spec": {"containers": [{"name": "c", "args": ["a", "b"]}]}})
    );
    assert!(read.duplicates.is_empty());
    let twice = parse(b"a: 1\nb: 2\na: 3\n", Format::Yaml).unwrap();
    assert_eq!(twice.value, json!({"a": 3, "b": 2}));
    assert_eq!(
        twice.duplicates,
        ["yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"]
    );
    assert_eq!(parse(br#"{"a": 1}"#, Format::Yaml).unwrap().value, json!({"a": 1}));
    assert!(parse(b"a: [1\nb: 2", Format::Yaml).is_err());
}
