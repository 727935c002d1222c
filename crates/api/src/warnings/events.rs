//! What a `Warning` header says about an object. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

pub(crate) fn event(_: &Event, _: Option<&Event>) -> Vec<String> {
    Vec::new()
}
