//! What field selectors can ask of an object. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

pub(crate) fn event(_: &Event) -> Vec<(&'static str, String)> {
    Vec::new()
}
