//! What a `Warning` header says about an object. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

pub(crate) fn controller_revision(
    _: &ControllerRevision,
    _: Option<&ControllerRevision>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn stateful_set(_: &StatefulSet, _: Option<&StatefulSet>) -> Vec<String> {
    Vec::new()
}
