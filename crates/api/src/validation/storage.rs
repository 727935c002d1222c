//! What is wrong with an object or a change, in upstream's words. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

use crate::{field::Cause, resource::Part};

pub(crate) fn storage_class(_: &StorageClass, _: Option<&StorageClass>, _: Part) -> Vec<Cause> {
    Vec::new()
}
