//! What claims and volumes are given, and when a claim may grow.

use api::{
    ApiError, Object,
    k8s::api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    quantity,
};

use crate::{Lookup, Operation, Request, typed, typed_mut};

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// Fills in a claim or volume, or refuses its growth.
pub(crate) fn admit(
    request: &Request<'_>,
    object: &mut dyn Object,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    if request.creates() {
        if let Some(claim) = typed_mut::<PersistentVolumeClaim>(object) {
            default_class(claim, lookup);
            protect(object, CLAIM_PROTECTION);
        } else if typed::<PersistentVolume>(object).is_some() {
            protect(object, VOLUME_PROTECTION);
        }
        return Ok(());
    }
    let updates = request.operation == Operation::Update && request.subresource.is_empty();
    match (typed::<PersistentVolumeClaim>(object), request.old.and_then(typed)) {
        (Some(claim), Some(old)) if updates => growth(request, claim, old, lookup),
        _ => Ok(()),
    }
}

/// `StorageObjectInUseProtection`.
fn protect(object: &mut dyn Object, finalizer: &str) {
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|name| name == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
}

/// `DefaultStorageClass`: the newest of those that say they are the default.
fn default_class(claim: &mut PersistentVolumeClaim, lookup: &dyn Lookup) {
    let annotated =
        claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(OLD_CLASS));
    let Some(spec) = claim.spec.as_mut() else { return };
    if annotated || spec.storage_class_name.is_some() {
        return;
    }
    let defaults = lookup.storage_classes().into_iter().filter(is_default);
    let newest = defaults.min_by_key(|class| {
        let created = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (std::cmp::Reverse(created), class.metadata.name.clone())
    });
    spec.storage_class_name = newest.and_then(|class| class.metadata.name);
}

fn is_default(class: &StorageClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations
        .is_some_and(|all| DEFAULT.iter().any(|key| all.get(*key).is_some_and(|is| is == "true")))
}

/// `PersistentVolumeClaimResize`: only a class that says so lets its claims grow.
fn growth(
    request: &Request<'_>,
    claim: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    let bytes = |claim: &PersistentVolumeClaim| {
        let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        quantity::in_list(resources.and_then(|all| all.requests.as_ref()), "storage").value()
    };
    if bytes(claim) <= bytes(old) {
        return Ok(());
    }
    let phase = old.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Bound") {
        return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class = class.and_then(|name| lookup.storage_class(name));
    if class.and_then(|class| class.allow_volume_expansion) == Some(true) {
        return Ok(());
    }
    Err(request.forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
         pvc must support resize",
    ))
}
