//! Where a validator is, and what it found; paths become text only when something is wrong.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    field::{Cause, Path},
    names::Faults,
};

/// A place in an object, as a chain on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    pub(super) const fn new(field: &'a str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    pub(super) const fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn path(&self) -> Path {
        let parent = self.parent.map(At::path).unwrap_or_default();
        match self.step {
            Step::Field(name) => parent.child(name),
            Step::Index(index) => parent.index(index),
            Step::Key(key) => parent.key(key),
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    causes: Vec<Cause>,
}

impl Report {
    pub(super) fn into_causes(self) -> Vec<Cause> {
        self.causes
    }

    pub(super) fn len(&self) -> usize {
        self.causes.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.causes.truncate(len);
    }

    pub(super) fn required(&mut self, at: At<'_>, detail: &str) {
        self.causes.push(Cause::required(at.path(), detail));
    }

    pub(super) fn invalid(&mut self, at: At<'_>, value: impl Into<Value>, detail: &str) {
        self.causes.push(Cause::invalid(at.path(), value, detail));
    }

    /// `invalid` of a whole structure, printed as its JSON.
    pub(super) fn invalid_object(&mut self, at: At<'_>, value: &impl Serialize, detail: &str) {
        self.invalid(at, serde_json::to_value(value).unwrap_or(Value::Null), detail);
    }

    pub(super) fn not_supported(&mut self, at: At<'_>, value: &str, supported: &[&str]) {
        self.causes.push(Cause::not_supported(at.path(), value, supported));
    }

    pub(super) fn forbidden(&mut self, at: At<'_>, detail: &str) {
        self.causes.push(Cause::forbidden(at.path(), detail));
    }

    pub(super) fn duplicate(&mut self, at: At<'_>, value: impl Into<Value>) {
        self.causes.push(Cause::duplicate(at.path(), value));
    }

    pub(super) fn not_found(&mut self, at: At<'_>, value: &str) {
        self.causes.push(Cause::not_found(at.path(), value));
    }

    pub(super) fn too_long(&mut self, at: At<'_>, max_bytes: usize) {
        self.causes.push(Cause::too_long(at.path(), max_bytes));
    }

    pub(super) fn too_many(&mut self, at: At<'_>, actual: usize, max: usize) {
        self.causes.push(Cause::too_many(at.path(), actual, max));
    }

    /// `Invalid value` once for each fault of this text.
    pub(super) fn faults(&mut self, at: At<'_>, value: &str, faults: Faults) {
        for fault in faults {
            self.invalid(at, value, &fault);
        }
    }

    /// `Required value` when empty, `Unsupported value` when not among these.
    pub(super) fn choice(&mut self, at: At<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(at, "");
        } else {
            self.known(at, value, supported);
        }
    }

    /// `Unsupported value` when not among these.
    pub(super) fn known(&mut self, at: At<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }

    /// `must be greater than or equal to 0`
    pub(super) fn not_negative(&mut self, at: At<'_>, value: i64) {
        if value < 0 {
            self.invalid(at, value, "must be greater than or equal to 0");
        }
    }

    /// `Invalid value: NEW: field is immutable`
    pub(super) fn immutable<T: PartialEq + Serialize>(&mut self, at: At<'_>, new: &T, old: &T) {
        if new != old {
            self.invalid_object(at, new, "field is immutable");
        }
    }
}

/// The items of a list that may be absent.
pub(super) fn items<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// A text that may be absent; empty then.
pub(super) fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// The entries of a map that may be absent.
pub(super) fn entries<V>(map: &Option<BTreeMap<String, V>>) -> impl Iterator<Item = (&str, &V)> {
    map.iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// What differs between two structures, a line a field, in the manner of upstream's messages.
pub(super) fn difference(kind: &str, old: &impl Serialize, new: &impl Serialize) -> String {
    let as_map = |value| match value {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let old = as_map(serde_json::to_value(old));
    let new = as_map(serde_json::to_value(new));
    let mut lines = format!("  {kind}{{\n");
    let mut same = 0;
    let fields: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for field in fields {
        let (before, after) = (old.get(field), new.get(field));
        if before == after {
            same += 1;
            continue;
        }
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                lines.push_str(&format!("{sign} \t{field}: {value},\n"));
            }
        }
    }
    if same > 0 {
        lines.push_str(&format!("  \t... // {same} identical fields\n"));
    }
    lines.push_str("  }\n");
    lines
}
