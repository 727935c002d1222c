//! What upstream fills in where a field is absent. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::omit::{metadata, omit, text};

pub(crate) fn endpoint_slice(slice: &mut EndpointSlice) {
    metadata(&mut slice.metadata);
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
        text(&mut port.protocol, "TCP");
    }
    for endpoint in slice.endpoints.iter_mut().flatten() {
        endpoint.conditions.get_or_insert_default();
        omit(&mut endpoint.deprecated_topology);
    }
}
