//! PATCH: JSON, merge and strategic merge patches of objects, status and scale.

use api::{
    ApiError, Object, Part, Resource, decode, facts,
    k8s::api::autoscaling::v1::Scale,
    patch::{PatchType, patch},
};
use http::{Response, StatusCode, header};

use super::{meta, read};
use crate::{answer::Body, call::Call, codec::Stored, server::ApiServer};

impl ApiServer {
    /// PATCH of an object or its status.
    pub(crate) async fn patch(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        part: Part,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let kind = patch_type(call)?;
        if kind == PatchType::Apply {
            return self.apply(call, resource, part, bytes).await;
        }
        let target = Self::target(call, resource, part, false)?;
        let mut make = |stored: &Stored| patched(call, resource, kind, stored, bytes);
        let bytes = self.replace(call, target, &mut make).await?;
        call.object(resource, StatusCode::OK, &bytes)
    }

    /// PATCH of `scale`.
    pub(crate) async fn patch_scale(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        // A Scale has no list: a strategic merge is a merge.
        let kind = match patch_type(call)? {
            PatchType::Strategic => PatchType::Merge,
            kind => kind,
        };
        let mut make = |scale: &Scale| {
            let live = serde_json::to_value(scale).map_err(ApiError::internal)?;
            let patched = patch(kind, resource, live, bytes)?;
            serde_json::from_value(patched.value)
                .map_err(|error| ApiError::bad_request(format!("Scale cannot be read: {error}")))
        };
        self.set_scale(call, resource, &mut make).await
    }
}

fn patch_type(call: &Call) -> Result<PatchType, ApiError> {
    let header = call.headers.get(header::CONTENT_TYPE);
    PatchType::of_content_type(header.and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// The stored object with the patch on it.
fn patched(
    call: &Call,
    resource: &'static dyn Resource,
    kind: PatchType,
    stored: &Stored,
    bytes: &[u8],
) -> Result<Box<dyn Object>, ApiError> {
    // Operations may name any place; the other patches change managed fields by their name alone.
    let names_them = bytes.contains(&b'\\') || bytes.windows(7).any(|part| part == b"managed");
    let whole = kind == PatchType::Json || names_them;
    let live = if whole { stored.whole() } else { stored.value.clone() };
    let patched = patch(kind, resource, live, bytes)?;
    let names = resource.names();
    let mut findings = patched.strict;
    findings.extend(decode::check(facts::of_kind(names), &patched.value, names)?);
    read::heed(call, resource, findings)?;
    let mut object = read::typed(resource, patched.value)?;
    meta::same_name(object.meta_mut(), &call.ask.name)?;
    meta::place(call, resource, object.meta_mut(), true)?;
    Ok(object)
}
