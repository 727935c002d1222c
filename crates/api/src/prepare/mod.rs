//! What clients may not write: dropped, kept from the stored object, or set.
//!
//! Runs after defaults and before admission and validation. Each kind's function also calls
//! [`metadata`], so callers need not; uid, creationTimestamp and resourceVersion of a new object
//! are the caller's to fill.

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
mod gates;
mod qos;
pub(crate) mod rbac;
pub(crate) mod scheduling;
mod service;
pub(crate) mod stead;
pub(crate) mod storage;
#[cfg(test)]
mod tests;

pub use self::core::finalize;
pub use gates::Gates;
pub use qos::qos_class;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Metadata that only the server writes: nobody creates what is being deleted, and an update
/// keeps uid (when it names none), creation and deletion as they are stored.
///
/// Generations are each kind's own; here the stored one stays.
pub fn metadata(meta: &mut ObjectMeta, old: Option<&ObjectMeta>) {
    meta.self_link = None;
    let Some(old) = old else {
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.generation = None;
        return;
    };
    if meta.uid.as_ref().is_none_or(String::is_empty) {
        meta.uid.clone_from(&old.uid);
    }
    if meta.generate_name.is_none() {
        meta.generate_name.clone_from(&old.generate_name);
    }
    meta.creation_timestamp.clone_from(&old.creation_timestamp);
    meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    meta.generation = old.generation;
}

/// Generation 1 on creation, one more whenever the wish changes.
fn generation(meta: &mut ObjectMeta, old: Option<&ObjectMeta>, changed: bool) {
    let stored = old.and_then(|old| old.generation).unwrap_or(0);
    meta.generation = match old {
        None => Some(1),
        Some(_) if changed => Some(stored + 1),
        Some(old) => old.generation,
    };
}
