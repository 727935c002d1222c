//! What clients may not write: dropped, kept from the stored object, or set. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use super::metadata;
use crate::resource::Part;

pub(crate) fn event(event: &mut Event, old: Option<&Event>, _: Part) {
    metadata(&mut event.metadata, old.map(|old| &old.metadata));
}
