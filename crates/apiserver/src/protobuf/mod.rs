//! Request bodies in protobuf, made into the JSON that says the same.
//!
//! kubectl sends them for `create NOUN`, `autoscale`, `auth can-i` and `create token`, and does not
//! ask again in JSON. Answers are always JSON, which all these clients read.
//!
//! ```text
//! k8s\0 ── runtime.Unknown { typeMeta { apiVersion, kind }, raw } ── fields.txt ──▶ JSON
//! ```
//!
//! `fields.txt` has the numbers and JSON names of every field of the messages that can be sent.
//!
//! Source: kubernetes v1.36 `generated.proto` of each API group (numbers and names only).

#[cfg(test)]
mod tests;
mod wire;

use std::{collections::HashMap, sync::LazyLock};

use api::{ApiError, facts};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use self::wire::{Datum, Malformed, read};

/// The content type of these bodies.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The first bytes of each.
const MAGIC: &[u8] = b"k8s\0";
/// Messages nest no deeper; JSON's parser has a limit of its own (128).
const DEPTH_MAX: usize = 100;
const META: &str = "apimachinery.pkg.apis.meta.v1.";

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Integer,
    Bytes,
    Message(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    List,
    Map,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    /// `-`: its fields are its parent's; `-items`: it is its parent's list.
    name: &'static str,
    many: Many,
    kind: Kind,
}

type Message = HashMap<u32, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> =
    LazyLock::new(|| parse_table(include_str!("fields.txt")));

fn parse_table(text: &'static str) -> HashMap<&'static str, Message> {
    let mut messages: HashMap<&'static str, Message> = HashMap::new();
    let mut name = "";
    for line in text.lines() {
        let Some(field) = line.strip_prefix(' ') else {
            name = line;
            messages.entry(name).or_default();
            continue;
        };
        let mut words = field.split(' ');
        let (Some(number), Some(json), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let (many, kind) = match kind.as_bytes().first() {
            Some(b'*') => (Many::List, &kind[1..]),
            Some(b'%') => (Many::Map, &kind[1..]),
            _ => (Many::One, kind),
        };
        let kind = match kind {
            "s" => Kind::Text,
            "b" => Kind::Bool,
            "i" => Kind::Integer,
            "x" => Kind::Bytes,
            message => Kind::Message(message),
        };
        messages.entry(name).or_default().insert(number, Field { name: json, many, kind });
    }
    messages
}

/// The JSON of a protobuf body.
///
/// # Errors
///
/// 400 when it is malformed or of a kind that this server does not know.
pub(crate) fn to_json(bytes: &[u8]) -> Result<Bytes, ApiError> {
    if bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let value = decode(bytes).map_err(|why| {
        ApiError::bad_request(format!("the object provided is unrecognized: {why}"))
    })?;
    serde_json::to_vec(&value).map(Into::into).map_err(ApiError::internal)
}

fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(Malformed::NotKubernetes)?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, datum) in read(envelope)? {
        match (number, datum) {
            (1, Datum::Bytes(meta)) => {
                for (number, datum) in read(meta)? {
                    match (number, datum) {
                        (1, Datum::Bytes(bytes)) => version = text(bytes)?,
                        (2, Datum::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Datum::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_of(&version, &kind);
    let name = name.ok_or_else(|| Malformed::UnknownKind(version.clone(), kind.clone()))?;
    let mut map = message(name, raw, 0)?;
    map.insert("apiVersion".to_owned(), version.into());
    map.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(map))
}

/// The message of a kind; options are of every group.
fn message_of(version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let schema = facts::schema_name(group, version, kind);
    let wanted = schema.strip_prefix("io.k8s.").unwrap_or(&schema);
    let found = MESSAGES.get_key_value(wanted);
    let found = found.or_else(|| MESSAGES.get_key_value(format!("{META}{kind}").as_str()));
    found.map(|(name, _)| *name)
}

fn message(
    name: &'static str,
    bytes: &[u8],
    depth: usize,
) -> Result<Map<String, Value>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TooDeep);
    }
    let mut map = Map::new();
    let Some(fields) = MESSAGES.get(name) else { return Ok(map) };
    for (number, datum) in read(bytes)? {
        let Some(field) = fields.get(&number) else { continue };
        match field.many {
            Many::Map => {
                let (key, value) = entry(field.kind, datum, depth)?;
                if let Value::Object(entries) = slot(&mut map, field, || Map::new().into()) {
                    entries.insert(key, value);
                }
            }
            Many::List => {
                let item = value(field.kind, datum, depth)?;
                if let Value::Array(items) = slot(&mut map, field, || Value::Array(Vec::new())) {
                    items.push(item);
                }
            }
            Many::One => {
                let found = value(field.kind, datum, depth)?;
                match (field.name, found) {
                    ("-", Value::Object(inner)) => map.extend(inner),
                    (name, found) if says_something(name, &found) => {
                        map.insert(name.to_owned(), found);
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(map)
}

fn slot<'a>(
    map: &'a mut Map<String, Value>,
    field: &Field,
    empty: impl FnOnce() -> Value,
) -> &'a mut Value {
    map.entry(field.name).or_insert_with(empty)
}

fn entry(kind: Kind, datum: Datum<'_>, depth: usize) -> Result<(String, Value), Malformed> {
    let Datum::Bytes(bytes) = datum else { return Err(Malformed::WireType) };
    let mut key = String::new();
    let mut found = match kind {
        Kind::Text | Kind::Bytes => Value::String(String::new()),
        Kind::Bool => Value::Bool(false),
        Kind::Integer => Value::from(0),
        Kind::Message(_) => value(kind, Datum::Bytes(&[]), depth)?,
    };
    for (number, datum) in read(bytes)? {
        match (number, datum) {
            (1, Datum::Bytes(bytes)) => key = text(bytes)?,
            (2, datum) => found = value(kind, datum, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(kind: Kind, datum: Datum<'_>, depth: usize) -> Result<Value, Malformed> {
    match (kind, datum) {
        (Kind::Text, Datum::Bytes(bytes)) => text(bytes).map(Value::String),
        (Kind::Bytes, Datum::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
        (Kind::Bool, Datum::Integer(number)) => Ok((number != 0).into()),
        (Kind::Integer, Datum::Integer(number)) => Ok(number.cast_signed().into()),
        (Kind::Message(name), Datum::Bytes(bytes)) => special(name, bytes, depth),
        _ => Err(Malformed::WireType),
    }
}

/// Messages whose JSON is no map of their fields.
fn special(name: &'static str, bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    match name.rsplit('.').next().unwrap_or_default() {
        "Time" => Ok(moment(bytes, false)?),
        "MicroTime" => Ok(moment(bytes, true)?),
        "Quantity" => first_text(bytes),
        "IntOrString" => int_or_string(bytes),
        "RawExtension" | "FieldsV1" => {
            let raw = read(bytes)?.into_iter().find_map(|(number, datum)| match (number, datum) {
                (1, Datum::Bytes(bytes)) => Some(bytes),
                _ => None,
            });
            match raw {
                None | Some([]) => Ok(Value::Null),
                Some(raw) => serde_json::from_slice(raw).map_err(|_| Malformed::RawJson),
            }
        }
        "ExtraValue" => {
            let mut items = Vec::new();
            for (_, datum) in read(bytes)? {
                items.push(value(Kind::Text, datum, depth)?);
            }
            Ok(Value::Array(items))
        }
        _ => message(name, bytes, depth + 1).map(Value::Object),
    }
}

/// An absent time is null.
fn moment(bytes: &[u8], micro: bool) -> Result<Value, Malformed> {
    let (mut seconds, mut nanos, mut given) = (0_i64, 0_i64, false);
    for (number, datum) in read(bytes)? {
        match (number, datum) {
            (1, Datum::Integer(number)) => (seconds, given) = (number.cast_signed(), true),
            (2, Datum::Integer(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    if !given {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| Malformed::Time)?;
    let time = Timestamp::new(seconds, if micro { nanos } else { 0 });
    let time = time.map_err(|_| Malformed::Time)?;
    Ok(if micro { format!("{time:.6}") } else { time.to_string() }.into())
}

fn first_text(bytes: &[u8]) -> Result<Value, Malformed> {
    for (number, datum) in read(bytes)? {
        if let (1, Datum::Bytes(bytes)) = (number, datum) {
            return text(bytes).map(Value::String);
        }
    }
    Ok("0".into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_text, mut number, mut word) = (false, 0, String::new());
    for (field, datum) in read(bytes)? {
        match (field, datum) {
            (1, Datum::Integer(kind)) => is_text = kind == 1,
            (2, Datum::Integer(found)) => number = found.cast_signed(),
            (3, Datum::Bytes(bytes)) => word = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { word.into() } else { number.into() })
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Text)
}

/// Go's encoder writes zero values that were never set; JSON leaves them out. Kept are those of
/// fields where the zero value is one that somebody chose.
fn says_something(name: &str, value: &Value) -> bool {
    let zero = match value {
        Value::Null => return false,
        Value::String(text) => text.is_empty(),
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(_) | Value::Object(_) => false,
    };
    !zero || CHOSEN_ZEROS.contains(&name)
}

/// Optional fields (pointers in Go) whose zero value differs from an absent one.
const CHOSEN_ZEROS: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "allowVolumeExpansion",
    "automountServiceAccountToken",
    "blockOwnerDeletion",
    "controller",
    "defaultMode",
    "enableServiceLinks",
    "expirationSeconds",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "mode",
    "nodePort",
    "optional",
    "orphanDependents",
    "partition",
    "priority",
    "privileged",
    "readOnlyRootFilesystem",
    "ready",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "storageClassName",
    "terminating",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
    "tolerationSeconds",
    "value",
];
