//! Which volume suits a claim.

use std::sync::Arc;

use api::{
    k8s::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim},
    quantity::{self, Quantity},
    selector::Labels,
};

/// The class a claim or volume names; empty means none.
#[must_use]
pub fn class(name: Option<&String>) -> &str {
    name.map_or("", String::as_str)
}

/// The class of a claim, in its field or, as long ago, in an annotation.
#[must_use]
pub fn claim_class(claim: &PersistentVolumeClaim) -> &str {
    const OLD: &str = "volume.beta.kubernetes.io/storage-class";
    let annotated = claim.metadata.annotations.as_ref().and_then(|all| all.get(OLD));
    let spec = claim.spec.as_ref();
    annotated
        .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_ref()))
        .map_or("", String::as_str)
}

/// What a claim asks for.
#[must_use]
pub fn request(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    quantity::in_list(requests, "storage")
}

/// What a volume has.
#[must_use]
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    quantity::in_list(capacity, "storage")
}

/// The bytes a claim asks for.
#[must_use]
pub fn request_bytes(claim: &PersistentVolumeClaim) -> i64 {
    request(claim).value()
}

/// The bytes a volume has.
#[must_use]
pub fn capacity_bytes(volume: &PersistentVolume) -> i64 {
    capacity(volume).value()
}

/// Whether a volume's `claimRef` names this claim, and no namesake.
#[must_use]
pub fn refers_to(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let same_name =
        reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
    let uid = reference.uid.as_deref().unwrap_or_default();
    same_name && (uid.is_empty() || claim.metadata.uid.as_deref() == Some(uid))
}

/// Whether a volume could serve a claim at all: class, mode, access, size, labels.
#[must_use]
pub fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else { return false };
    let modes = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let selected = match &wants.selector {
        None => true,
        Some(selector) => Labels::from_object(Some(selector))
            .is_ok_and(|selector| selector.matches(volume.metadata.labels.as_ref())),
    };
    volume.metadata.deletion_timestamp.is_none()
        && class(has.storage_class_name.as_ref()) == claim_class(claim)
        && class(has.volume_attributes_class_name.as_ref())
            == class(wants.volume_attributes_class_name.as_ref())
        && mode(&has.volume_mode) == mode(&wants.volume_mode)
        && modes(&wants.access_modes).iter().all(|want| modes(&has.access_modes).contains(want))
        && capacity_bytes(volume) >= request_bytes(claim)
        && selected
}

/// Why a claim cannot have the volume that it names, in upstream's words.
///
/// Source: kubernetes v1.36 `pv_controller.go`, `checkVolumeSatisfyClaim`.
#[must_use]
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if volume.metadata.deletion_timestamp.is_some() {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        return Some(format!("the volume is marked for deletion {name:?}"));
    }
    unsuited(volume, claim).map(str::to_owned)
}

fn unsuited(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else { return None };
    let modes = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    if capacity_bytes(volume) < request_bytes(claim) {
        return Some("requested PV is too small");
    }
    if class(has.storage_class_name.as_ref()) != claim_class(claim) {
        return Some("storageClassName does not match");
    }
    if mode(&has.volume_mode) != mode(&wants.volume_mode) {
        return Some("incompatible volumeMode");
    }
    let offered = modes(&has.access_modes);
    let granted = modes(&wants.access_modes).iter().all(|want| offered.contains(want));
    (!granted).then_some("incompatible accessMode")
}

/// The best volume for a claim: the one reserved for it, else the free one that fits with the
/// fewest access modes, and of these the smallest.
#[must_use]
pub fn best<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
) -> Option<&'a Arc<PersistentVolume>> {
    let reference = |volume: &&Arc<PersistentVolume>| {
        volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone())
    };
    let reserved = volumes.iter().find(|volume| {
        reference(volume).is_some_and(|reference| refers_to(&reference, claim))
            && capacity_bytes(volume) >= request_bytes(claim)
            && volume.metadata.deletion_timestamp.is_none()
    });
    reserved.or_else(|| {
        let free =
            volumes.iter().filter(|volume| reference(volume).is_none() && fits(volume, claim));
        let modes = |volume: &PersistentVolume| {
            volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref()).map_or(0, Vec::len)
        };
        free.min_by_key(|volume| {
            (modes(volume), capacity_bytes(volume), volume.metadata.name.clone())
        })
    })
}
