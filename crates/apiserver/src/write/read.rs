//! From a request body to a typed object with its defaults.

use api::{ApiError, Object, Resource, decode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{call::Call, negotiate::Media};

/// The object in a body that must be of this kind.
///
/// # Errors
///
/// 400 in upstream's words; 415 for a content type that cannot be read.
pub(crate) fn object(
    call: &Call,
    resource: &'static dyn Resource,
    bytes: &[u8],
) -> Result<Box<dyn Object>, ApiError> {
    let format = Media::of(&call.headers, false)?.format();
    let decoded = decode::object(resource, bytes, format)?;
    heed(call, resource, decoded.strict)?;
    typed(resource, decoded.value)
}

/// Does with unknown and duplicate fields what `fieldValidation` says; unset is `Warn`.
///
/// # Errors
///
/// 400 for `Strict`, 422 for a word that it is not.
pub(crate) fn heed(
    call: &Call,
    resource: &'static dyn Resource,
    findings: Vec<String>,
) -> Result<(), ApiError> {
    use api::{
        field::{Cause, Path},
        status::About,
    };
    match call.query.get("fieldValidation") {
        Some("Ignore") => {}
        None | Some("Warn") => call.warn(findings),
        Some("Strict") if findings.is_empty() => {}
        Some("Strict") => return Err(decode::strict_error(resource.names(), &findings)),
        Some(other) => {
            let path = Path::new("fieldValidation");
            let cause = Cause::not_supported(path, other, &["", "Ignore", "Strict", "Warn"]);
            let about = About { group: "meta.k8s.io", resource: call.options_kind() };
            return Err(ApiError::invalid(about, "", &[cause]));
        }
    }
    Ok(())
}

/// The typed form of a checked document, its defaults filled in.
///
/// # Errors
///
/// 400 when a field has a type that the check lets pass and the object does not.
pub(crate) fn typed(
    resource: &'static dyn Resource,
    value: Value,
) -> Result<Box<dyn Object>, ApiError> {
    let object = resource.decode(&value);
    let mut object =
        object.map_err(|error| decode::cannot_be_handled(resource.names(), &error.to_string()))?;
    resource.apply_defaults(&mut *object);
    Ok(object)
}

/// A body of a kind that is no entry of the table: options, `Scale`, `Binding` …
///
/// # Errors
///
/// 400 when it cannot be read.
pub(crate) fn other<T: DeserializeOwned>(
    call: &Call,
    kind: &str,
    bytes: &[u8],
) -> Result<T, ApiError> {
    let format = Media::of(&call.headers, false)?.format();
    let body = decode::parse(bytes, format);
    let body = body.map_err(|error| {
        let why = format!("couldn't get version/kind; json parse error: {error}");
        decode::unrecognized(kind, &why, bytes)
    })?;
    let found = body.value.get("kind").and_then(Value::as_str).unwrap_or(kind);
    if found != kind {
        return Err(ApiError::bad_request(format!(
            "{found} cannot be handled as a {kind}: unknown conversion"
        )));
    }
    serde_json::from_value(body.value)
        .map_err(|error| ApiError::bad_request(format!("{kind} cannot be read: {error}")))
}
