//! What clients may not write: dropped, kept from the stored object, or set. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use crate::resource::Part;

pub(crate) fn event(_: &mut Event, _: Option<&Event>, _: Part) {}
