//! The cells of persistent volumes and of claims on them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use serde_json::Value;

use super::{age_of, name, or_empty};

pub(crate) fn persistent_volume(it: &PersistentVolume, now: Timestamp) -> Vec<Value> {
    let spec = it.spec.clone().unwrap_or_default();
    let status = it.status.clone().unwrap_or_default();
    let claim = spec.claim_ref.map(|claim| {
        format!("{}/{}", or_empty(claim.namespace.as_ref()), or_empty(claim.name.as_ref()))
    });
    vec![
        name(&it.metadata),
        storage(spec.capacity.as_ref()).into(),
        access_modes(spec.access_modes.as_deref()).into(),
        or_empty(spec.persistent_volume_reclaim_policy.as_ref()).into(),
        phase(&it.metadata, status.phase).into(),
        claim.unwrap_or_default().into(),
        class(&it.metadata, spec.storage_class_name).into(),
        unset(spec.volume_attributes_class_name).into(),
        status.reason.unwrap_or_default().into(),
        age_of(&it.metadata, now),
        unset(spec.volume_mode).into(),
    ]
}

pub(crate) fn persistent_volume_claim(it: &PersistentVolumeClaim, now: Timestamp) -> Vec<Value> {
    let spec = it.spec.clone().unwrap_or_default();
    let status = it.status.clone().unwrap_or_default();
    let volume = spec.volume_name.unwrap_or_default();
    let (capacity, modes) = match volume.as_str() {
        "" => (String::new(), String::new()),
        _ => (storage(status.capacity.as_ref()), access_modes(status.access_modes.as_deref())),
    };
    vec![
        name(&it.metadata),
        phase(&it.metadata, status.phase).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        class(&it.metadata, spec.storage_class_name).into(),
        unset(spec.volume_attributes_class_name).into(),
        age_of(&it.metadata, now),
        unset(spec.volume_mode).into(),
    ]
}

fn storage(capacity: Option<&BTreeMap<String, Quantity>>) -> String {
    capacity
        .and_then(|map| map.get("storage"))
        .map_or_else(|| "0".to_owned(), |size| size.0.clone())
}

fn phase(meta: &ObjectMeta, phase: Option<String>) -> String {
    match meta.deletion_timestamp {
        Some(_) => "Terminating".to_owned(),
        None => phase.unwrap_or_default(),
    }
}

fn class(meta: &ObjectMeta, class: Option<String>) -> String {
    let old = meta.annotations.as_ref();
    let old = old.and_then(|notes| notes.get("volume.beta.kubernetes.io/storage-class")).cloned();
    old.or(class).unwrap_or_default()
}

fn unset(word: Option<String>) -> String {
    word.unwrap_or_else(|| "<unset>".to_owned())
}

/// `RWO,ROX`: each once, always in this order.
fn access_modes(modes: Option<&[String]>) -> String {
    const KNOWN: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| modes.unwrap_or_default().iter().any(|one| one == mode);
    let shown: Vec<&str> =
        KNOWN.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    shown.join(",")
}
