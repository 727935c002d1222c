//! The columns of `kubectl get` and their cells. The `scheduling.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::resource::Column;

pub(crate) static PRIORITY_CLASS: &[Column] = &[];

pub(crate) fn priority_class(_: &PriorityClass, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
