//! What field selectors can ask of an object. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

pub(crate) fn storage_class(_: &StorageClass) -> Vec<(&'static str, String)> {
    Vec::new()
}
