//! What a `Warning` header says about an object. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

pub(crate) fn endpoint_slice(_: &EndpointSlice, _: Option<&EndpointSlice>) -> Vec<String> {
    Vec::new()
}
