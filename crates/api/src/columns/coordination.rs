//! The columns of `kubectl get` and their cells. The `coordination.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::resource::Column;

pub(crate) static LEASE: &[Column] = &[];

pub(crate) fn lease(_: &Lease, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
