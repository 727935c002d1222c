//! `metadata.managedFields`: who set what, kept by every write.

use api::{
    ApiError, Object, Resource,
    field::{Cause, Path},
    managed::{self, MANAGER_MAX_BYTES, Writer},
    status::About,
};
use http::header::USER_AGENT;
use serde_json::Value;

use crate::{call::Call, codec::Stored};

/// The name under which this call's changes are kept.
///
/// # Errors
///
/// 422 for a `fieldManager` that is too long.
pub(super) fn manager(call: &Call) -> Result<String, ApiError> {
    let given = call.query.get("fieldManager");
    if given.is_some_and(|given| given.len() > MANAGER_MAX_BYTES) {
        let cause = Cause::too_long(Path::new("fieldManager"), MANAGER_MAX_BYTES);
        let about = About { group: "meta.k8s.io", resource: call.options_kind() };
        return Err(ApiError::invalid(about, "", &[cause]));
    }
    let agent = call.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    Ok(managed::manager_name(given, agent.unwrap_or("unknown")))
}

/// The managed fields of an object, with what this write sets beside what was known of the stored one.
///
/// What the request itself says of them stays in the object, made good, to be checked with the rest.
pub(super) fn note(
    call: &Call,
    resource: &'static dyn Resource,
    stored: Option<&Stored>,
    subresource: &str,
    object: &mut dyn Object,
) -> Result<Option<Value>, ApiError> {
    let manager = manager(call)?;
    let writer = Writer { manager: &manager, subresource, now: call.now };
    let said = object.meta_mut().managed_fields.take();
    let is_said = said.is_some();
    let said = said.map(serde_json::to_value).transpose().map_err(ApiError::internal)?;
    let live = stored.map(|stored| &stored.value);
    let known = stored.and_then(|stored| stored.managed.clone());
    let value = object.to_value();
    let entries = managed::noted(resource.names(), (live, known), (&value, said), &writer);
    if is_said {
        let typed = entries.clone().map(serde_json::from_value).transpose();
        object.meta_mut().managed_fields = typed.map_err(ApiError::internal)?;
    }
    Ok(entries)
}
