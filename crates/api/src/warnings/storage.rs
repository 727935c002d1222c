//! What a `Warning` header says about an object. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

pub(crate) fn storage_class(_: &StorageClass, _: Option<&StorageClass>) -> Vec<String> {
    Vec::new()
}
