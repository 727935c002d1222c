//! The entries of `managedFields`: a set for each manager, operation, version and subresource.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::{
    UPDATERS_MAX, Writer,
    set::{self, Set},
};

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By server-side apply.
    Apply,
    /// By create, update or patch.
    Update,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) version: String,
    pub(super) subresource: String,
    /// RFC 3339; empty where unknown.
    pub(super) time: String,
    pub(super) fields: Set,
}

impl Entry {
    /// Takes these members away.
    pub(super) fn lose(&mut self, fields: &Set) {
        if !fields.is_empty() {
            set::difference(&mut self.fields, fields);
        }
    }

    /// Whether it is this writer's by this operation. Appliers keep theirs over versions.
    pub(super) fn is_of(&self, operation: Operation, writer: &Writer<'_>, version: &str) -> bool {
        self.operation == operation
            && self.manager == writer.manager
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.version == version)
    }

    /// As conflicts name it: `"kubectl" with subresource "status" using apps/v1`.
    pub(super) fn shown(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            out.push_str(&format!(" using {}", self.version));
        }
        out
    }

    fn read(value: Value) -> Option<Self> {
        let Value::Object(mut map) = value else { return None };
        let Some(Value::Object(fields)) = map.remove("fieldsV1") else { return None };
        let mut text = |key: &str| match map.remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("fieldsType") != "FieldsV1" || !is_well_formed(&fields) {
            return None;
        }
        Some(Self {
            manager: text("manager"),
            operation,
            version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields,
        })
    }

    fn write(self) -> Value {
        let mut out = Map::new();
        out.insert("apiVersion".to_owned(), self.version.into());
        out.insert("fieldsType".to_owned(), "FieldsV1".into());
        out.insert("fieldsV1".to_owned(), Value::Object(self.fields));
        out.insert("manager".to_owned(), self.manager.into());
        out.insert("operation".to_owned(), self.operation.word().into());
        if !self.subresource.is_empty() {
            out.insert("subresource".to_owned(), self.subresource.into());
        }
        if !self.time.is_empty() {
            out.insert("time".to_owned(), self.time.into());
        }
        Value::Object(out)
    }
}

/// All entries of an object.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: Vec<Entry>,
}

impl Entries {
    /// What a request says, where it can be read; else what is stored. `[{}]` clears.
    pub(super) fn read_either(said: Option<Value>, stored: Option<Value>) -> Self {
        if said.as_ref().is_some_and(|said| *said == json!([{}])) {
            return Self::default();
        }
        match Self::read(said) {
            Some(read) if !read.entries.is_empty() => read,
            _ => Self::read(stored).unwrap_or_default(),
        }
    }

    fn read(value: Option<Value>) -> Option<Self> {
        let Some(Value::Array(list)) = value else { return None };
        let entries: Option<Vec<Entry>> = list.into_iter().map(Entry::read).collect();
        Some(Self { entries: entries? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// Takes out this writer's entry.
    pub(super) fn take(
        &mut self,
        operation: Operation,
        writer: &Writer<'_>,
        version: &str,
    ) -> Option<Entry> {
        let at = self.entries.iter().position(|one| one.is_of(operation, writer, version))?;
        Some(self.entries.remove(at))
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Gives these fields to the writer, now.
    pub(super) fn add(
        &mut self,
        operation: Operation,
        writer: &Writer<'_>,
        version: &str,
        fields: Set,
    ) {
        let mut entry = self.take(operation, writer, version).unwrap_or_else(|| Entry {
            manager: writer.manager.to_owned(),
            operation,
            version: version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: String::new(),
            fields: Set::new(),
        });
        set::union(&mut entry.fields, fields);
        entry.time = time(writer);
        self.push(entry);
    }

    /// Folds the oldest updaters into one entry, so that the list cannot grow without end.
    pub(super) fn cap_updaters(&mut self, version: &str) {
        const BUCKET: &str = "ancient-changes";
        self.entries.retain(|entry| !entry.fields.is_empty());
        let updaters = |entries: &[Entry]| {
            entries.iter().filter(|entry| entry.operation == Operation::Update).count()
        };
        while updaters(&self.entries) > UPDATERS_MAX {
            let candidates = self.entries.iter().enumerate();
            let oldest = candidates
                .filter(|(_, entry)| {
                    entry.operation == Operation::Update && entry.manager != BUCKET
                })
                .min_by(|(_, a), (_, b)| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)))
                .map(|(at, _)| at);
            let Some(oldest) = oldest else { return };
            let old = self.entries.remove(oldest);
            let bucket = self.entries.iter().position(|entry| entry.manager == BUCKET);
            match bucket.and_then(|at| self.entries.get_mut(at)) {
                Some(bucket) => {
                    set::union(&mut bucket.fields, old.fields);
                    bucket.time = old.time;
                }
                None => self.entries.push(Entry {
                    manager: BUCKET.to_owned(),
                    version: version.to_owned(),
                    subresource: String::new(),
                    ..old
                }),
            }
        }
    }

    /// The list as stored: appliers first, then by time and name. `None` when there is no entry.
    pub(super) fn write(mut self) -> Option<Value> {
        self.entries.retain(|entry| !entry.fields.is_empty());
        if self.entries.is_empty() {
            return None;
        }
        self.entries.sort_by(order);
        Some(Value::Array(self.entries.into_iter().map(Entry::write).collect()))
    }
}

/// Now, as entries say it.
pub(super) fn time(writer: &Writer<'_>) -> String {
    writer.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn order(a: &Entry, b: &Entry) -> Ordering {
    fn key(entry: &Entry) -> (Operation, [&str; 4]) {
        let Entry { operation, time, manager, version, subresource, .. } = entry;
        (*operation, [time, manager, version, subresource])
    }
    key(a).cmp(&key(b))
}

fn is_well_formed(fields: &Set) -> bool {
    fields.iter().all(|(key, child)| {
        let named =
            key == "." || ["f:", "k:", "v:", "i:"].iter().any(|start| key.starts_with(start));
        named && child.as_object().is_some_and(is_well_formed)
    })
}
