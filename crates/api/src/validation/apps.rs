//! What is wrong with an object or a change, in upstream's words. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

use crate::{field::Cause, resource::Part};

pub(crate) fn controller_revision(
    _: &ControllerRevision,
    _: Option<&ControllerRevision>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn stateful_set(_: &StatefulSet, _: Option<&StatefulSet>, _: Part) -> Vec<Cause> {
    Vec::new()
}
