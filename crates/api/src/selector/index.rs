//! What selectors need of an object, in a few bytes kept beside its stored value.
//!
//! ```text
//!   count, then per label:  length key length value
//!   count, then per field:  id [length name] length value       id 0: the name follows
//! ```
//!
//! Counts and lengths are LEB128. The ids are on disk: they are never reused or renumbered.

use std::collections::BTreeMap;

use crate::{object::Object, resource::Resource};

/// Fields that need one byte instead of their name; the position is the id, from 1.
const IDS: [&str; 23] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
    "spec.unschedulable",
    "spec.clusterIP",
];

/// The index of an object of the table: its labels, name, namespace and selectable fields.
#[must_use]
pub fn of(resource: &dyn Resource, object: &dyn Object) -> Vec<u8> {
    let meta = object.meta();
    let none = BTreeMap::new();
    let mut fields = resource.fields(object);
    fields.push(("metadata.name", meta.name.clone().unwrap_or_default()));
    if let Some(namespace) = &meta.namespace {
        fields.push(("metadata.namespace", namespace.clone()));
    }
    let fields = fields.iter().map(|(field, value)| (*field, value.as_str()));
    encode(meta.labels.as_ref().unwrap_or(&none), fields)
}

/// The index of these labels and fields. Fields with an empty value are left out: absent reads
/// as empty.
#[must_use]
pub fn encode<'a>(
    labels: &BTreeMap<String, String>,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_length(&mut out, labels.len());
    for (key, value) in labels {
        put_text(&mut out, key);
        put_text(&mut out, value);
    }
    let fields: Vec<(&str, &str)> =
        fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    put_length(&mut out, fields.len());
    for (field, value) in fields {
        match id(field) {
            Some(id) => out.push(id),
            None => {
                out.push(0);
                put_text(&mut out, field);
            }
        }
        put_text(&mut out, value);
    }
    out
}

/// A read index; borrows the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Index<'a> {
    labels: (&'a [u8], usize),
    fields: (&'a [u8], usize),
}

impl<'a> Index<'a> {
    /// Finds its two parts.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Self {
        let (count, rest) = length(bytes).unwrap_or((0, &[]));
        let labels = (rest, count);
        let mut at = rest;
        for _ in 0..count {
            let Some(((_, _), rest)) = pair(at) else {
                return Self { labels, fields: (&[], 0) };
            };
            at = rest;
        }
        let (count, rest) = length(at).unwrap_or((0, &[]));
        Self { labels, fields: (rest, count) }
    }

    /// The value of this label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let (mut at, count) = self.labels;
        for _ in 0..count {
            let ((found, value), rest) = pair(at)?;
            if found == key.as_bytes() {
                return str::from_utf8(value).ok();
            }
            at = rest;
        }
        None
    }

    /// The value of this field; empty when it is not there.
    #[must_use]
    pub fn field(&self, field: &str) -> &'a str {
        self.find_field(field).unwrap_or("")
    }

    /// Every label, in order of keys.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (mut at, count) = self.labels;
        (0..count).map_while(move |_| {
            let ((key, value), rest) = pair(at)?;
            at = rest;
            Some((str::from_utf8(key).ok()?, str::from_utf8(value).ok()?))
        })
    }

    fn find_field(&self, field: &str) -> Option<&'a str> {
        let wanted = id(field);
        let (mut at, count) = self.fields;
        for _ in 0..count {
            let (&found, rest) = at.split_first()?;
            let (is_it, rest) = if found == 0 {
                let (name, rest) = text(rest)?;
                (name == field.as_bytes(), rest)
            } else {
                (Some(found) == wanted, rest)
            };
            let (value, rest) = text(rest)?;
            if is_it {
                return str::from_utf8(value).ok();
            }
            at = rest;
        }
        None
    }
}

fn id(field: &str) -> Option<u8> {
    let at = IDS.iter().position(|known| *known == field)?;
    u8::try_from(at + 1).ok()
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, &bytes[at + 1..]));
        }
    }
    None
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = length(bytes)?;
    rest.split_at_checked(length)
}

type Pair<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn pair(bytes: &[u8]) -> Option<Pair<'_>> {
    let (key, rest) = text(bytes)?;
    let (value, rest) = text(rest)?;
    Some(((key, value), rest))
}
