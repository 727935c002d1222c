//! What clients may not write: dropped, kept from the stored object, or set. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

use super::metadata;
use crate::resource::Part;

pub(crate) fn storage_class(class: &mut StorageClass, old: Option<&StorageClass>, _: Part) {
    metadata(&mut class.metadata, old.map(|old| &old.metadata));
}
