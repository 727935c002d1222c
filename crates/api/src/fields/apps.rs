//! What field selectors can ask of an object. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

pub(crate) fn controller_revision(_: &ControllerRevision) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn stateful_set(_: &StatefulSet) -> Vec<(&'static str, String)> {
    Vec::new()
}
