//! The columns of `kubectl get` and their cells.
//!
//! Cells are what upstream prints with `-o wide`: the server sends all columns, the client
//! leaves those of priority 1 out. Kinds without a printer of their own have `Name` and
//! `Created At`.
//!
//! Source: kubernetes v1.36 `pkg/printers/internalversion/printers.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::resource::Column;

pub mod age;
pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
pub(crate) mod pod;
pub(crate) mod rbac;
pub(crate) mod scheduling;
pub(crate) mod service;
pub(crate) mod stead;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
pub(crate) mod volume;

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
};

const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

const AGE: Column = text("Age", CREATED);

/// The columns of a kind that has no printer of its own.
pub(crate) static DEFAULT: &[Column] =
    &[NAME, Column { kind: "date", ..text("Created At", CREATED) }];

/// Nearly the same, for a kind whose printer says when it was made.
pub(crate) static DEFAULT_AS_TEXT: &[Column] = &[NAME, text("Created At", CREATED)];

/// The cells of a kind that has no printer of its own.
pub(crate) fn default_row(meta: &ObjectMeta) -> Vec<Value> {
    let created = meta.creation_timestamp.as_ref();
    let at = created
        .map_or(Value::Null, |time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    vec![name(meta), at]
}

const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0, description }
}

const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { kind: "integer", ..text(name, description) }
}

const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { kind: "boolean", ..text(name, description) }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..text(name, description) }
}

fn name(meta: &ObjectMeta) -> Value {
    meta.name.clone().unwrap_or_default().into()
}

fn age_of(meta: &ObjectMeta, now: Timestamp) -> Value {
    age::since(meta.creation_timestamp.as_ref().map(|time| time.0), now).into()
}

fn or_empty(word: Option<&String>) -> String {
    word.cloned().unwrap_or_default()
}

fn or<'a>(word: &'a str, otherwise: &'a str) -> &'a str {
    if word.is_empty() { otherwise } else { word }
}

fn count<T>(items: Option<&Vec<T>>) -> Value {
    items.map_or(0, Vec::len).into()
}

/// `a=1,b=2`, or `<none>`.
fn labels(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or(&pairs.join(","), "<none>").to_owned()
}
