//! What clients may not write: dropped, kept from the stored object, or set. The `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{generation, metadata};
use crate::resource::Part;

pub(crate) fn endpoint_slice(slice: &mut EndpointSlice, old: Option<&EndpointSlice>, _: Part) {
    metadata(&mut slice.metadata, old.map(|old| &old.metadata));
    let changed = old.is_some_and(|old| {
        slice.endpoints != old.endpoints
            || slice.ports != old.ports
            || slice.address_type != old.address_type
            || slice.metadata.labels != old.metadata.labels
    });
    generation(&mut slice.metadata, old.map(|old| &old.metadata), changed);
}
