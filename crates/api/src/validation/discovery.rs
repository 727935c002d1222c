//! What is wrong with an object or a change, in upstream's words. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{field::Cause, resource::Part};

pub(crate) fn endpoint_slice(_: &EndpointSlice, _: Option<&EndpointSlice>, _: Part) -> Vec<Cause> {
    Vec::new()
}
