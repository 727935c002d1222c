//! The columns of `kubectl get` and their cells. The `apps` group.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use serde_json::Value;

use crate::resource::Column;

pub(crate) static CONTROLLER_REVISION: &[Column] = &[];

pub(crate) fn controller_revision(_: &ControllerRevision, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static STATEFUL_SET: &[Column] = &[];

pub(crate) fn stateful_set(_: &StatefulSet, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
