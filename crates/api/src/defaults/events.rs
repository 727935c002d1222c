//! What upstream fills in where a field is absent. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use super::{core::reference, omit::metadata};

pub(crate) fn event(event: &mut Event) {
    metadata(&mut event.metadata);
    event.deprecated_source.get_or_insert_default();
    reference(event.regarding.get_or_insert_default());
}
