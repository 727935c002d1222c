//! What clients may not write: dropped, kept from the stored object, or set. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

use crate::resource::Part;

pub(crate) fn storage_class(_: &mut StorageClass, _: Option<&StorageClass>, _: Part) {}
