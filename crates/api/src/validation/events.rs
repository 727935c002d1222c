//! What is wrong with an object or a change, in upstream's words. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use crate::{field::Cause, resource::Part};

pub(crate) fn event(_: &Event, _: Option<&Event>, _: Part) -> Vec<Cause> {
    Vec::new()
}
