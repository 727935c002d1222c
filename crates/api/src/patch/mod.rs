//! Patches: a stored object and a body that says what to change.
//!
//! ```text
//!   application/json-patch+json              a list of operations (RFC 6902)
//!   application/merge-patch+json             an object laid over (RFC 7386)
//!   application/strategic-merge-patch+json   the same, and lists merge by keys: strategic.rs
//!   application/apply-patch+yaml             the wish of one manager: crate::managed
//! ```
//!
//! The answer is a plain value: the caller checks it with [`crate::decode::check`], as a patch can
//! write anything.
//!
//! Source: apiserver v1.36 `pkg/endpoints/handlers/patch.go`.

mod strategic;
#[cfg(test)]
mod tests;

use json_patch::PatchOperation;
use serde_json::Value;

pub use self::strategic::{StrategicError, strategic};
use crate::{
    decode::{self, Format},
    facts,
    resource::Resource,
    status::{ApiError, Reason},
};

/// More operations than this in one JSON patch are refused.
pub const OPERATIONS_MAX: usize = 10_000;

/// `copy` operations of one JSON patch may add this much: they could double a document each.
pub const COPY_MAX_BYTES: usize = 3 * 1024 * 1024;

/// A patched document may nest this deep: the parser that reads it back stops at 128.
const DEPTH_MAX: usize = 120;

/// The sentence of a 422 that says no more.
const REJECTED: &str = "the server rejected our request due to an error in our request";

/// Which kind of patch a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// Every media type, in the order that a 415 names them.
    pub const MEDIA_TYPES: [(&'static str, PatchType); 4] = [
        ("application/json-patch+json", PatchType::Json),
        ("application/merge-patch+json", PatchType::Merge),
        ("application/strategic-merge-patch+json", PatchType::Strategic),
        ("application/apply-patch+yaml", PatchType::Apply),
    ];

    /// The type of a `Content-Type` header, parameters ignored.
    ///
    /// # Errors
    ///
    /// 415 for any other.
    pub fn of_content_type(header: &str) -> Result<Self, ApiError> {
        let media = header.split(';').next().unwrap_or_default().trim();
        let known = Self::MEDIA_TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(media));
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let names = Self::MEDIA_TYPES.map(|(name, _)| name).join(", ");
            let why = format!(
                "the body of the request was in an unknown format - accepted media types include: {names}"
            );
            ApiError::new(Reason::UnsupportedMediaType, why)
        })
    }
}

/// A changed object.
#[derive(Debug, Clone, PartialEq)]
pub struct Patched {
    /// The object; not yet checked.
    pub value: Value,
    /// What strict validation refuses in the patch itself: duplicate fields, each a sentence.
    pub strict: Vec<String>,
}

/// Changes an object of this kind.
///
/// # Errors
///
/// 400 for a malformed patch, 413 for too many operations, 422 where it does not fit the object
/// (a failed `test` among them). Apply is not for here: 415.
pub fn patch(
    kind: PatchType,
    resource: &dyn Resource,
    live: Value,
    body: &[u8],
) -> Result<Patched, ApiError> {
    let read = decode::parse(body, Format::Json)
        .map_err(|why| ApiError::bad_request(format!("error decoding patch: {why}")))?;
    let mut strict = read.duplicates;
    let value = match kind {
        PatchType::Json => {
            strict.iter_mut().for_each(|finding| *finding = format!("json patch {finding}"));
            json(live, read.value)?
        }
        PatchType::Merge => {
            object_only(&read.value)?;
            let mut live = live;
            json_patch::merge(&mut live, &read.value);
            live
        }
        PatchType::Strategic => {
            object_only(&read.value)?;
            let shape = facts::of_kind(resource.names());
            strategic(live, read.value, shape).map_err(|why| match why {
                StrategicError::Directive(_) => ApiError::new(Reason::Invalid, why.to_string()),
                StrategicError::Malformed(_) | StrategicError::NoMergeKey { .. } => {
                    ApiError::bad_request(why.to_string())
                }
            })?
        }
        PatchType::Apply => {
            return Err(PatchType::of_content_type("")
                .err()
                .unwrap_or_else(|| ApiError::new(Reason::UnsupportedMediaType, REJECTED)));
        }
    };
    Ok(Patched { value, strict })
}

fn object_only(patch: &Value) -> Result<(), ApiError> {
    if patch.is_object() {
        return Ok(());
    }
    let found = decode::go_word(patch);
    Err(ApiError::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
    )))
}

fn json(live: Value, body: Value) -> Result<Value, ApiError> {
    if !body.is_array() {
        let found = decode::go_word(&body);
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    let operations: Vec<PatchOperation> = serde_json::from_value(body)
        .map_err(|why| ApiError::bad_request(format!("error decoding patch: {why}")))?;
    if operations.len() > OPERATIONS_MAX {
        let why = format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.len()
        );
        return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
    }
    let (mut value, mut copied) = (live, 0usize);
    for operation in &operations {
        if let PatchOperation::Copy(copy) = operation {
            copied += copy.from.resolve(&value).map_or(0, size);
            if copied > COPY_MAX_BYTES {
                return Err(rejected());
            }
        }
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && test.path.resolve(&value).is_err()
        {
            // What is absent equals null, as in upstream's library.
            continue;
        }
        json_patch::patch_unsafe(&mut value, std::slice::from_ref(operation))
            .map_err(|_| rejected())?;
    }
    if is_deeper(&value, DEPTH_MAX) { Err(rejected()) } else { Ok(value) }
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => true,
        Value::Array(items) => items.iter().any(|item| is_deeper(item, depth - 1)),
        Value::Object(map) => map.values().any(|value| is_deeper(value, depth - 1)),
        _ => false,
    }
}

fn rejected() -> ApiError {
    ApiError::new(Reason::Invalid, REJECTED)
}

/// About the bytes of its JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(map) => {
            2 + map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>()
        }
    }
}
