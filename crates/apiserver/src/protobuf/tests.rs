//! Rows: bytes as clients send them, the JSON they mean.

use expect_test::{Expect, expect};

use super::{Kind, MAGIC, MESSAGES, to_json};

/// A field of bytes: number, content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
}

fn check(bytes: &[u8], expect: Expect) {
    let text = match to_json(bytes) {
        Ok(json) => String::from_utf8(json.to_vec()).unwrap(),
        Err(error) => error.message,
    };
    expect.assert_eq(&text);
}

#[test]
fn a2_what_kubectl_create_namespace_sends() {
    // Zero values that were never set come along: generateName "", creationTimestamp {}.
    let meta = [field(1, b"foo"), field(2, b""), field(8, b"")].concat();
    let raw = [field(1, &meta), field(2, b""), field(3, b"")].concat();
    check(
        &body("v1", "Namespace", &raw),
        expect![[
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"foo"},"spec":{},"status":{}}"#
        ]],
    );
}

#[test]
fn a2_maps_bytes_and_inlined_messages() {
    let entry = [field(1, b"k"), field(2, b"v")].concat();
    check(
        &body("v1", "Secret", &field(2, &entry)),
        expect![[r#"{"apiVersion":"v1","data":{"k":"dg=="},"kind":"Secret"}"#]],
    );
    let source = field(2, &field(1, b""));
    let volume = [field(1, b"x"), field(2, &source)].concat();
    check(
        &body("v1", "Pod", &field(2, &field(1, &volume))),
        expect![[
            r#"{"apiVersion":"v1","kind":"Pod","spec":{"volumes":[{"emptyDir":{},"name":"x"}]}}"#
        ]],
    );
}

#[test]
fn a2_options_of_any_group() {
    let options = [vec![1 << 3, 0], field(4, b"Background")].concat();
    check(
        &body("policy/v1", "DeleteOptions", &options),
        expect![[
            r#"{"apiVersion":"policy/v1","gracePeriodSeconds":0,"kind":"DeleteOptions","propagationPolicy":"Background"}"#
        ]],
    );
}

#[test]
fn a2_malformed() {
    check(
        b"{}",
        expect![
            "the object provided is unrecognized: provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        ],
    );
    check(
        &body("v1", "Nope", b""),
        expect![[
            r#"the object provided is unrecognized: no kind "Nope" is registered for version "v1""#
        ]],
    );
    check(
        &body("v1", "Pod", &[0x0a, 0x7f]),
        expect!["the object provided is unrecognized: proto: unexpected end of message"],
    );
    check(
        &body("v1", "Pod", &[0x08, 0x01]),
        expect!["the object provided is unrecognized: proto: wrong wire type for a field"],
    );
}

#[test]
fn every_message_of_the_table_is_in_the_table() {
    const OTHERWISE: [&str; 6] =
        ["Time", "MicroTime", "Quantity", "IntOrString", "RawExtension", "FieldsV1"];
    for (message, fields) in MESSAGES.iter() {
        for field in fields.values() {
            let Kind::Message(name) = field.kind else { continue };
            let known =
                MESSAGES.contains_key(name) || OTHERWISE.iter().any(|end| name.ends_with(end));
            assert!(known, "{message}.{}: {name}", field.name);
        }
    }
}

#[test]
fn every_kind_can_be_sent() {
    for resource in api::resource::all() {
        let names = resource.names();
        // Custom resources have no protobuf form upstream either.
        if names.group == "stead.io" {
            continue;
        }
        let found = super::message_of(&names.api_version(), names.kind);
        assert!(found.is_some_and(|found| found.ends_with(names.kind)), "{names:?}");
    }
}
