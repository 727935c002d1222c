//! What upstream fills in where a field is absent. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

pub(crate) fn endpoint_slice(_: &mut EndpointSlice) {}
