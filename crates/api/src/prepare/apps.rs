//! What clients may not write: dropped, kept from the stored object, or set. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

use crate::resource::Part;

pub(crate) fn controller_revision(
    _: &mut ControllerRevision,
    _: Option<&ControllerRevision>,
    _: Part,
) {
}

pub(crate) fn stateful_set(_: &mut StatefulSet, _: Option<&StatefulSet>, _: Part) {}
