//! The columns of `kubectl get` and their cells. The `events.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

use crate::resource::Column;

pub(crate) static EVENT: &[Column] = &[];

pub(crate) fn event(_: &Event, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
