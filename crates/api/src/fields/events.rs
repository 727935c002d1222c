//! What field selectors can ask of an object. The `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use super::core::{Asked, event_fields};

/// The names are the core group's: both groups share one storage and its index.
pub(crate) fn event(it: &Event) -> Vec<(&'static str, String)> {
    let source = it.deprecated_source.as_ref().and_then(|source| source.component.as_ref());
    event_fields(&Asked {
        about: it.regarding.as_ref(),
        reason: it.reason.as_ref(),
        controller: it.reporting_controller.as_ref(),
        source,
        kind: it.type_.as_ref(),
    })
}
