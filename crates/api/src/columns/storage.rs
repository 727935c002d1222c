//! The columns of `kubectl get` and their cells. The `storage.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::{AGE, NAME, age_of, or_empty, text};
use crate::resource::Column;

pub(crate) static STORAGE_CLASS: &[Column] = &[
    NAME,
    text("Provisioner", "provisioner indicates the type of the provisioner."),
    text(
        "ReclaimPolicy",
        "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class. Defaults to Delete.",
    ),
    text(
        "VolumeBindingMode",
        "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling feature.",
    ),
    text(
        "AllowVolumeExpansion",
        "allowVolumeExpansion shows whether the storage class allow volume expand.",
    ),
    AGE,
];

pub(crate) fn storage_class(it: &StorageClass, now: Timestamp) -> Vec<Value> {
    const MARKS: [&str; 2] = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let notes = it.metadata.annotations.as_ref();
    let is_default = MARKS
        .iter()
        .any(|mark| notes.and_then(|all| all.get(*mark)).is_some_and(|is| is == "true"));
    let mut name = or_empty(it.metadata.name.as_ref());
    if is_default {
        name.push_str(" (default)");
    }
    let or =
        |word: &Option<String>, otherwise: &str| word.as_deref().unwrap_or(otherwise).to_owned();
    vec![
        name.into(),
        it.provisioner.clone().into(),
        or(&it.reclaim_policy, "Delete").into(),
        or(&it.volume_binding_mode, "Immediate").into(),
        it.allow_volume_expansion.unwrap_or(false).into(),
        age_of(&it.metadata, now),
    ]
}
