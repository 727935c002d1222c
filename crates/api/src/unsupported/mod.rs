//! Fields that this version accepts and keeps, and that nothing acts on.
//!
//! `fields.txt` names them by type; whoever uses one is told in a `Warning` header. The test in
//! `generate.rs` finds fields of the schemas that no room reads and that are not listed, and writes
//! `docs/unsupported-fields.md`.
//!
//! ```text
//!   io.k8s.api.core.v1.PodSpec     a type
//!    hostUsers true                a field; the one value, if any, that is what happens anyway
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::Value;

use crate::{
    facts::{self, Shape, Type},
    resource::Resource,
};

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;

/// Most fields that one object is told of: the first say enough.
const TOLD_MAX: usize = 20;

/// Whether objects of this kind have such fields at all.
#[must_use]
pub fn concerns(resource: &dyn Resource) -> bool {
    match facts::of_kind(resource.names()) {
        Shape::Struct(id) => LIST.leads.contains(facts::types().get(id).name),
        _ => false,
    }
}

/// Where `object` uses such fields: `spec.template.spec.runtimeClassName` …, at most 20.
///
/// Empty values are not used ones. `status` is the server's and not looked at.
#[must_use]
pub fn fields(resource: &dyn Resource, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Shape::Struct(id) = facts::of_kind(resource.names()) else { return found };
    let kind = facts::types().get(id);
    for (name, value) in object.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "metadata" | "status") {
            look(kind, name, value, name.clone(), &mut found);
        }
    }
    found.truncate(TOLD_MAX);
    found
}

/// What is listed, and which types lead there.
struct List {
    /// By type: field, and the value that needs no word.
    fields: BTreeMap<&'static str, Vec<(&'static str, Option<Value>)>>,
    leads: BTreeSet<&'static str>,
}

static LIST: LazyLock<List> = LazyLock::new(|| {
    let mut fields: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let mut kind = "";
    for line in include_str!("fields.txt").lines() {
        let Some(line) = line.strip_prefix(' ') else {
            kind = line;
            continue;
        };
        let (name, usual) = match line.split_once(' ') {
            Some((name, usual)) => (name, serde_json::from_str(usual).ok()),
            None => (line, None),
        };
        fields.entry(kind).or_default().push((name, usual));
    }
    let mut leads: BTreeSet<&str> = fields.keys().copied().collect();
    loop {
        let before = leads.len();
        for one in facts::types().iter() {
            let inner = one.fields().iter().filter_map(|field| inside(field.shape));
            if inner.into_iter().any(|inner| leads.contains(inner.name)) {
                leads.insert(one.name);
            }
        }
        if leads.len() == before {
            break;
        }
    }
    List { fields, leads }
});

/// The type of a field, or of what its lists and maps hold.
fn inside(mut shape: Shape) -> Option<&'static Type> {
    loop {
        match shape {
            Shape::Struct(id) => return Some(facts::types().get(id)),
            Shape::List(_) | Shape::Map(_) => shape = facts::types().inside(shape),
            _ => return None,
        }
    }
}

fn look(kind: &Type, name: &str, value: &Value, path: String, found: &mut Vec<String>) {
    let is_empty = match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if is_empty {
        return;
    }
    let listed = LIST.fields.get(kind.name).into_iter().flatten().find(|(field, _)| *field == name);
    if let Some((_, usual)) = listed {
        if usual.as_ref() != Some(value) {
            found.push(path);
        }
        return;
    }
    let inner = kind.field(name).and_then(|field| inside(field.shape));
    if let Some(inner) = inner.filter(|inner| LIST.leads.contains(inner.name)) {
        descend(inner, value, path, found);
    }
}

/// Looks into lists and maps as deep as they go.
fn descend(kind: &Type, value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                descend(kind, item, format!("{path}[{at}]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                look(kind, name, value, format!("{path}.{name}"), found);
            }
        }
        _ => {}
    }
}
