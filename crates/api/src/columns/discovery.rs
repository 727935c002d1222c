//! The columns of `kubectl get` and their cells. The `discovery.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::resource::Column;

pub(crate) static ENDPOINT_SLICE: &[Column] = &[];

pub(crate) fn endpoint_slice(_: &EndpointSlice, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
