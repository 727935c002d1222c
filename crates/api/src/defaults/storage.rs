//! What upstream fills in where a field is absent. The `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

use super::omit::{metadata, omit};

pub(crate) fn storage_class(class: &mut StorageClass) {
    metadata(&mut class.metadata);
    class.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
    class.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
    omit(&mut class.allowed_topologies);
    omit(&mut class.mount_options);
    omit(&mut class.parameters);
}
