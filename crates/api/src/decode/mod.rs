//! From a request's body to a checked JSON value, with upstream's words for what is wrong.
//!
//! ```text
//!   bytes ──▶ parse: Body { value, duplicate fields } ──▶ object: kind, types, unknown fields
//!                                                            │
//!              Decoded { value, strict: ["unknown field \"spec.foo\"", …] } or 400
//! ```
//!
//! What `fieldValidation` does with the strict findings is the caller's: `Strict` answers
//! [`strict_error`], `Warn` sends each as a warning, `Ignore` drops them.

mod inspect;
mod record;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde_json::{Map, Value};
use thiserror::Error;

use self::inspect::Inspection;
pub(crate) use self::inspect::word as go_word;
use crate::{
    facts::{self, Shape},
    resource::{Names, Resource},
    status::ApiError,
};

/// Findings beyond this many are not reported, as upstream does.
pub const STRICT_FINDINGS_MAX: usize = 100;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`; a body that begins with `{` is read as JSON.
    Yaml,
}

/// A body that parses.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// What it says; the last of duplicate fields wins.
    pub value: Value,
    /// `duplicate field "spec.x"`, in order.
    pub duplicates: Vec<String>,
}

/// A body that is an object of the wanted kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object, with `apiVersion` and `kind`.
    pub value: Value,
    /// What strict validation refuses: duplicate and unknown fields, each a sentence.
    pub strict: Vec<String>,
}

/// Why a body does not parse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not JSON; the sentence is that of Go's parser.
    #[error("{0}")]
    Json(String),
    /// Not YAML.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Yaml(String),
}

/// Reads a body of either format, noting duplicate fields.
///
/// # Errors
///
/// When it is malformed, or nested deeper than the parser allows (128).
pub fn parse(bytes: &[u8], format: Format) -> Result<Body, ParseError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match format {
        Format::Yaml if first != Some(&b'{') => record::yaml(bytes),
        Format::Json | Format::Yaml => record::json(bytes),
    }
}

/// Reads a body as an object of this kind.
///
/// `apiVersion` and `kind` may be absent, and are added.
///
/// # Errors
///
/// 400 for a malformed body, another kind or version, or a field of the wrong type.
pub fn object(resource: &dyn Resource, bytes: &[u8], format: Format) -> Result<Decoded, ApiError> {
    let names = resource.names();
    let body = parse(bytes, format).map_err(|why| {
        let why = format!("couldn't get version/kind; json parse error: {why}");
        unrecognized(names.kind, &why, bytes)
    })?;
    let Value::Object(mut map) = body.value else {
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of \
             type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" }}",
            inspect::word(&body.value)
        );
        return Err(unrecognized(names.kind, &why, bytes));
    };
    identify(&mut map, names)?;
    let value = Value::Object(map);
    let mut strict = body.duplicates;
    strict.extend(check(facts::of_kind(names), &value, names)?);
    strict.truncate(STRICT_FINDINGS_MAX);
    Ok(Decoded { value, strict })
}

/// Checks a value of this shape (a patched object, a subresource's kind): unknown fields, each a
/// sentence.
///
/// # Errors
///
/// 400 for a field of the wrong type.
pub fn check(shape: Shape, value: &Value, names: &Names) -> Result<Vec<String>, ApiError> {
    let mut inspection = Inspection::default();
    inspection.visit(shape, value);
    match inspection.wrong_type {
        Some(why) => Err(cannot_be_handled(names, &why)),
        None => Ok(inspection.unknown),
    }
}

/// The 400 of strict validation.
#[must_use]
pub fn strict_error(names: &Names, findings: &[String]) -> ApiError {
    cannot_be_handled(names, &format!("strict decoding error: {}", findings.join(", ")))
}

/// `K in version "v1" cannot be handled as a K: why`
#[must_use]
pub fn cannot_be_handled(names: &Names, why: &str) -> ApiError {
    let Names { kind, version, .. } = names;
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}

/// `the object provided is unrecognized (must be of type K): why (7b2278…)`
#[must_use]
pub fn unrecognized(kind: &str, why: &str, body: &[u8]) -> ApiError {
    let summary = summary(body);
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

fn summary(body: &[u8]) -> String {
    const SHOWN_BYTES: usize = 30;
    let shown = &body[..body.len().min(SHOWN_BYTES)];
    let mut out = match shown.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().fold(String::new(), |mut out, byte| {
            // Writing to a String cannot fail.
            write!(out, "{byte:02x}").unwrap_or(());
            out
        }),
    };
    if body.len() > SHOWN_BYTES {
        out.push_str(" ...");
    }
    out
}

fn identify(map: &mut Map<String, Value>, names: &Names) -> Result<(), ApiError> {
    let wanted = names.api_version();
    let text = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct \
             field .{key} of type string",
            inspect::word(other)
        ))),
    };
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    if !version.is_empty() && version != wanted {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != names.kind {
        let (group, version) = match wanted.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", wanted.as_str()),
        };
        let why = match crate::resource::by_kind(group, kind) {
            Some(_) => format!(
                "{kind} in version {version:?} cannot be handled as a {}: converting ({version}.{kind}) to ({}.{}): unknown conversion",
                names.kind,
                package(group),
                names.kind
            ),
            None => format!(
                "{kind} in version {version:?} cannot be handled as a {}: no kind {kind:?} is registered for version {wanted:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                names.kind
            ),
        };
        return Err(ApiError::bad_request(why));
    }
    map.insert("apiVersion".to_owned(), wanted.into());
    map.insert("kind".to_owned(), names.kind.into());
    Ok(())
}

fn package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    }
}
