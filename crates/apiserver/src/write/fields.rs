//! `metadata.managedFields`: who set what, kept by every write.

use api::{
    ApiError, Object, Resource,
    field::{Cause, Path},
    managed::{self, MANAGER_MAX_BYTES, Writer},
    status::About,
};
use http::header::USER_AGENT;
use serde_json::Value;

use crate::{call::Call, codec};

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

/// Notes what this write sets, beside what was known of the stored object.
pub(super) fn note(
    call: &Call,
    resource: &'static dyn Resource,
    stored: Option<&[u8]>,
    subresource: &str,
    object: &mut dyn Object,
) -> Result<(), ApiError> {
    let manager = manager(call)?;
    let live = stored.map(|bytes| codec::shown_value(resource, bytes)).transpose()?;
    let mut value = object.to_value();
    let writer = Writer { manager: &manager, subresource, now: call.now };
    managed::update(resource.names(), live.as_ref(), &mut value, &writer);
    let entries = value.pointer_mut("/metadata/managedFields").map(Value::take);
    let entries = entries.map(serde_json::from_value).transpose();
    object.meta_mut().managed_fields = entries.map_err(ApiError::internal)?;
    Ok(())
}
