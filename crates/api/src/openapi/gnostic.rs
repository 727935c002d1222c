//! The OpenAPI v2 document in protobuf, which is the only form in which kubectl reads v2.
//!
//! The messages are gnostic's `openapi.v2`; field numbers are from its `OpenAPIv2.proto`. Vendor
//! extensions go as JSON text, which is YAML. Parts that no client reads (contact, tags, security,
//! examples) have no place in our document.

use serde_json::{Map, Value};

/// The media type under which clients ask for it.
pub const ASKED_TYPE: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The media type of the answer: Go's parser of media types takes no `@`.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A message as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: Self) {
        self.bytes(field, &message.0);
    }

    /// A string, unless it is absent.
    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten() {
            self.text(field, Some(text));
        }
    }

    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    /// `x-…` members, as `NamedAny`.
    fn extensions(&mut self, field: u64, object: &Map<String, Value>) {
        for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.message(field, named(name, any));
        }
    }
}

/// A `Named…` message: name and value.
fn named(name: &str, value: Message) -> Message {
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    message.message(2, value);
    message
}

/// The whole document; members of the wrong shape are left out.
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document.pointer("/info/title"));
    info.text(2, document.pointer("/info/version"));
    message.message(2, info);
    let mut paths = Message::default();
    for (path, item) in members(document.get("paths")) {
        paths.message(2, named(path, path_item(item)));
    }
    message.message(8, paths);
    let mut definitions = Message::default();
    for (name, item) in members(document.get("definitions")) {
        definitions.message(1, named(name, schema(item)));
    }
    message.message(9, definitions);
    message.0
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn path_item(item: &Value) -> Message {
    const VERBS: &[(&str, u64)] = &[
        ("get", 2),
        ("put", 3),
        ("post", 4),
        ("delete", 5),
        ("options", 6),
        ("head", 7),
        ("patch", 8),
    ];
    let mut message = Message::default();
    for (verb, field) in VERBS {
        if let Some(found) = item.get(verb) {
            message.message(*field, operation(found));
        }
    }
    parameters(&mut message, 9, item.get("parameters"));
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, operation.get("description"));
    message.text(5, operation.get("operationId"));
    message.texts(6, operation.get("produces"));
    message.texts(7, operation.get("consumes"));
    parameters(&mut message, 8, operation.get("parameters"));
    let mut responses = Message::default();
    for (code, found) in members(operation.get("responses")) {
        let mut response = Message::default();
        response.text(1, found.get("description"));
        if let Some(found) = found.get("schema") {
            let mut item = Message::default();
            item.message(1, schema(found));
            response.message(2, item);
        }
        let mut value = Message::default();
        value.message(1, response);
        responses.message(1, named(code, value));
    }
    message.message(9, responses);
    if let Some(object) = operation.as_object() {
        message.extensions(13, object);
    }
    message
}

/// `ParametersItem`s: each a `Parameter`, in the body or elsewhere.
fn parameters(message: &mut Message, field: u64, list: Option<&Value>) {
    for found in list.and_then(Value::as_array).into_iter().flatten() {
        let mut inner = Message::default();
        let mut parameter = Message::default();
        match found.get("in").and_then(Value::as_str) {
            Some("body") => {
                inner.text(1, found.get("description"));
                inner.text(2, found.get("name"));
                inner.text(3, found.get("in"));
                inner.flag(4, found.get("required"));
                if let Some(found) = found.get("schema") {
                    inner.message(5, schema(found));
                }
                parameter.message(1, inner);
            }
            place => {
                // A query parameter has one field more before its type than a path parameter.
                let (kind, shift) = if place == Some("path") { (4, 0) } else { (3, 1) };
                inner.flag(1, found.get("required"));
                inner.text(2, found.get("in"));
                inner.text(3, found.get("description"));
                inner.text(4, found.get("name"));
                inner.text(5 + shift, found.get("type"));
                let mut elsewhere = Message::default();
                elsewhere.message(kind, inner);
                parameter.message(2, elsewhere);
            }
        }
        let mut item = Message::default();
        item.message(1, parameter);
        message.message(field, item);
    }
}

fn schema(schema_value: &Value) -> Message {
    let mut message = Message::default();
    let Some(object) = schema_value.as_object() else { return message };
    message.text(1, object.get("$ref"));
    message.text(2, object.get("format"));
    message.text(4, object.get("description"));
    if let Some(default) = object.get("default") {
        let mut any = Message::default();
        any.bytes(2, default.to_string().as_bytes());
        message.message(5, any);
    }
    message.texts(19, object.get("required"));
    match object.get("additionalProperties") {
        Some(Value::Bool(allowed)) => {
            let mut item = Message::default();
            item.varint(2 << 3);
            item.varint(u64::from(*allowed));
            message.message(21, item);
        }
        Some(found) => {
            let mut item = Message::default();
            item.message(1, schema(found));
            message.message(21, item);
        }
        None => (),
    }
    if let Some(kind) = object.get("type") {
        let mut item = Message::default();
        item.text(1, Some(kind));
        message.message(22, item);
    }
    if let Some(items) = object.get("items") {
        let mut item = Message::default();
        item.message(1, schema(items));
        message.message(23, item);
    }
    for found in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        message.message(24, schema(found));
    }
    if let Some(properties) = object.get("properties") {
        let mut item = Message::default();
        for (name, found) in members(Some(properties)) {
            item.message(1, named(name, schema(found)));
        }
        message.message(25, item);
    }
    message.extensions(31, object);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_as_gnostic_writes_them() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "t", "version": "v"},
            "paths": {},
            "definitions": {"A": {"type": "string", "x-k": [1]}},
        });
        let schema = b"\xb2\x01\x08\x0a\x06string\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]";
        let mut wanted = b"\x0a\x032.0\x12\x06\x0a\x01t\x12\x01v\x42\x00\x4a".to_vec();
        let entry =
            [b"\x0a\x01A\x12".as_slice(), &[u8::try_from(schema.len()).unwrap()], schema].concat();
        let length = u8::try_from(entry.len()).unwrap();
        wanted.extend([length + 2, 0x0a, length]);
        wanted.extend(entry);
        assert_eq!(encode(&document), wanted);
    }
}
