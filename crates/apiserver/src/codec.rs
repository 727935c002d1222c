//! Between stored bytes and objects: one canonical JSON, made once per write.
//!
//! Kinds that share another's storage (both Event groups) are renamed at this edge: stored bytes
//! always have the form of the kind that stores.

use std::sync::Arc;

use api::{ApiError, Object, Resource, resource};
use bytes::Bytes;
use client::GoText;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use store::{Row, Stamp};

const MANAGED: &str = "managedFields";

/// The bytes of an object as this kind shows them: the stored ones, but for aliases.
pub(crate) fn shown(resource: &'static dyn Resource, bytes: &Bytes) -> Result<Bytes, ApiError> {
    if resource.alias().is_none() {
        return Ok(bytes.clone());
    }
    let value = shown_value(resource, bytes)?;
    serde_json::to_vec(&value).map(Into::into).map_err(ApiError::internal)
}

/// The same, as a value.
pub(crate) fn shown_value(
    resource: &'static dyn Resource,
    bytes: &[u8],
) -> Result<Value, ApiError> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    if let (Some(alias), Value::Object(map)) = (resource.alias(), &mut value) {
        rename(map, alias.renames.iter().map(|(here, there)| (*there, *here)));
        map.insert("apiVersion".to_owned(), resource.names().api_version().into());
    }
    Ok(value)
}

/// The typed object behind stored bytes, without its managed fields.
pub(crate) fn decode(
    resource: &'static dyn Resource,
    bytes: &[u8],
) -> Result<Box<dyn Object>, ApiError> {
    let mut value = shown_value(resource, bytes)?;
    // Half of many an object, and nobody reads them typed.
    take_managed(&mut value);
    resource.decode(&value).map_err(ApiError::internal)
}

fn take_managed(value: &mut Value) -> Option<Value> {
    value.get_mut("metadata")?.as_object_mut()?.remove(MANAGED)
}

fn put_managed(value: &mut Value, managed: Option<Value>) {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(managed), Some(metadata)) = (managed, metadata) {
        metadata.insert(MANAGED.to_owned(), managed);
    }
}

/// The canonical JSON of an object that is given as a value, with a hole where its version stands.
/// `managed` are its managed fields, unless it carries them itself.
pub(crate) fn encode(
    resource: &'static dyn Resource,
    mut value: Value,
    managed: Option<Value>,
) -> Result<Stamp, ApiError> {
    put_managed(&mut value, managed);
    let Value::Object(map) = &mut value else {
        return Err(ApiError::internal("an object is no JSON map"));
    };
    if let Some(alias) = resource.alias() {
        rename(map, alias.renames.iter().copied());
        if let Some(stored) = resource::by_plural(alias.group, alias.plural) {
            map.insert("apiVersion".to_owned(), stored.names().api_version().into());
        }
    }
    write_stamp(map).map_err(ApiError::internal)
}

fn rename<'a>(map: &mut Map<String, Value>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

fn write_stamp(map: &Map<String, Value>) -> Result<Stamp, serde_json::Error> {
    let mut out = Vec::with_capacity(4096);
    let mut hole = None;
    out.push(b'{');
    for (at, (key, value)) in map.iter().enumerate() {
        separate(&mut out, at);
        write_key(&mut out, key)?;
        match (key.as_str(), value) {
            ("metadata", Value::Object(metadata)) => {
                hole = Some(write_metadata(&mut out, metadata)?)
            }
            (_, value) => write_value(&mut out, value)?,
        }
    }
    out.push(b'}');
    let whole = Bytes::from(out);
    let hole = hole.unwrap_or(whole.len());
    Ok(Stamp { before: whole.slice(..hole), after: whole.slice(hole..) })
}

/// Writes metadata in order of keys, leaving out what is empty; gives the place of the hole.
fn write_metadata(
    out: &mut Vec<u8>,
    metadata: &Map<String, Value>,
) -> Result<usize, serde_json::Error> {
    const VERSION: &str = "resourceVersion";
    let mut hole = None;
    let mut written = 0;
    out.push(b'{');
    let kept = metadata.iter().filter(|(key, value)| *key != VERSION && !is_empty(value));
    for (key, value) in kept {
        if hole.is_none() && key.as_str() > VERSION {
            hole = Some(write_hole(out, written)?);
            written += 1;
        }
        separate(out, written);
        write_key(out, key)?;
        write_value(out, value)?;
        written += 1;
    }
    let hole = match hole {
        Some(hole) => hole,
        None => write_hole(out, written)?,
    };
    out.push(b'}');
    Ok(hole)
}

fn write_hole(out: &mut Vec<u8>, written: usize) -> Result<usize, serde_json::Error> {
    separate(out, written);
    write_key(out, "resourceVersion")?;
    out.extend_from_slice(b"\"\"");
    Ok(out.len() - 1)
}

fn write_key(out: &mut Vec<u8>, key: &str) -> Result<(), serde_json::Error> {
    write_value(out, &key)?;
    out.push(b':');
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, GoText))
}

fn separate(out: &mut Vec<u8>, written: usize) {
    if written > 0 {
        out.push(b',');
    }
}

/// Upstream omits these in metadata, so that equal objects have equal bytes.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The bytes of a stamp at a revision, as the store will write them.
pub(crate) fn filled(stamp: &Stamp, revision: u64) -> Bytes {
    let digits = revision.to_string();
    let length = stamp.before.len() + digits.len() + stamp.after.len();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&stamp.before);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(&stamp.after);
    out.into()
}

/// Whether this row already has exactly these bytes.
pub(crate) fn unchanged(row: &Row, stamp: &Stamp) -> bool {
    let digits = row.revision.to_string();
    let (before, after) = (&stamp.before, &stamp.after);
    row.value.len() == before.len() + digits.len() + after.len()
        && row.value.starts_with(before)
        && row.value.ends_with(after)
}

/// The bytes of an answer that was not stored (dry-run): without a version where none is known.
pub(crate) fn unstored(stamp: &Stamp, revision: Option<u64>) -> Result<Bytes, ApiError> {
    if let Some(revision) = revision {
        return Ok(filled(stamp, revision));
    }
    let bytes = filled(stamp, 0);
    let mut value: Value = serde_json::from_slice(&bytes).map_err(ApiError::internal)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    serde_json::to_vec(&value).map(Into::into).map_err(ApiError::internal)
}

/// The metadata of stored bytes, without reading the rest of the object into memory.
pub(crate) fn metadata(bytes: &[u8]) -> Result<&RawValue, ApiError> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let head: Head<'_> = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    Ok(head.metadata)
}

/// Stored bytes with another version in their metadata.
pub(crate) fn at_revision(bytes: &Bytes, revision: u64) -> Result<Bytes, ApiError> {
    Ok(filled(&stamp_of(bytes)?, revision))
}

/// Stored bytes with a hole where their version stands.
pub(crate) fn stamp_of(bytes: &Bytes) -> Result<Stamp, ApiError> {
    const KEY: &str = "\"resourceVersion\":\"";
    let metadata = metadata(bytes)?.get();
    let none = || ApiError::internal("a stored object has no version");
    let start = metadata.find(KEY).ok_or_else(none)? + KEY.len();
    let end = start + metadata[start..].find('"').ok_or_else(none)?;
    // The raw value is a slice of the bytes, so its place in them is known.
    let offset = metadata.as_ptr() as usize - bytes.as_ptr() as usize;
    Ok(Stamp { before: bytes.slice(..offset + start), after: bytes.slice(offset + end..) })
}

/// A row and the object in it, read once for all that a write looks at.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The row.
    pub(crate) row: Arc<Row>,
    /// What it holds, but for its managed fields.
    pub(crate) object: Box<dyn Object>,
    /// The same as this kind shows it.
    pub(crate) value: Value,
    /// Its managed fields, which are often longer than all the rest.
    pub(crate) managed: Option<Value>,
}

impl Stored {
    /// Reads the object of a row.
    pub(crate) fn read(resource: &'static dyn Resource, row: Arc<Row>) -> Result<Self, ApiError> {
        let mut value = shown_value(resource, &row.value)?;
        let managed = take_managed(&mut value);
        let object = resource.decode(&value).map_err(ApiError::internal)?;
        Ok(Self { row, object, value, managed })
    }

    /// All of it as a value, managed fields included.
    pub(crate) fn whole(&self) -> Value {
        let mut value = self.value.clone();
        put_managed(&mut value, self.managed.clone());
        value
    }
}
