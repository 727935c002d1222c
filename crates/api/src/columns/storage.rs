//! The columns of `kubectl get` and their cells. The `storage.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use crate::resource::Column;

pub(crate) static STORAGE_CLASS: &[Column] = &[];

pub(crate) fn storage_class(_: &StorageClass, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
