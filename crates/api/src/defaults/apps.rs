//! What upstream fills in where a field is absent. The `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

pub(crate) fn controller_revision(_: &mut ControllerRevision) {}

pub(crate) fn stateful_set(_: &mut StatefulSet) {}
