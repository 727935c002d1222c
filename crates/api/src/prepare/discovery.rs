//! What clients may not write: dropped, kept from the stored object, or set. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::resource::Part;

pub(crate) fn endpoint_slice(_: &mut EndpointSlice, _: Option<&EndpointSlice>, _: Part) {}
