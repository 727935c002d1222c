//! What field selectors can ask of an object. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

pub(crate) fn endpoint_slice(_: &EndpointSlice) -> Vec<(&'static str, String)> {
    Vec::new()
}
