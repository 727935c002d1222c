//! What a DELETE comes to: pure, from the object, the options and the time.
//!
//! Source: kubernetes v1.36 `pkg/registry/rest/delete.go`, `generic/registry/store.go`: facts only.

use api::{
    ApiError, Object, Resource,
    grace::{Stopping, grace_period_s},
    k8s::{
        api::core::v1::{Namespace, Pod},
        apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time},
    },
    status::About,
};
use jiff::{SignedDuration, Timestamp};

use super::meta::whole_second;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of the object.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes now; this is its last state.
    Remove(Box<dyn Object>),
    /// It is marked and waits.
    Mark(Box<dyn Object>),
    /// It is marked already; nothing changes.
    Waits,
}

impl Fate {
    /// The object as it will be.
    pub(super) fn object(&self) -> Option<&dyn Object> {
        match self {
            Fate::Remove(object) | Fate::Mark(object) => Some(&**object),
            Fate::Waits => None,
        }
    }
}

/// What this deletion does to this object.
///
/// # Errors
///
/// 409 when a precondition does not hold.
pub(super) fn fate(
    resource: &'static dyn Resource,
    object: &dyn Object,
    revision: u64,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Fate, ApiError> {
    check_preconditions(resource, object, revision, options)?;
    if object.as_any().is::<Namespace>() {
        return Ok(namespace(object, options, now));
    }
    let mut next = object.boxed();
    if let Some(pod) = object.as_any().downcast_ref::<Pod>() {
        match grace(pod, options) {
            None => return Ok(Fate::Waits),
            Some(seconds) => mark(&mut *next, now, seconds),
        }
    }
    let meta = next.meta_mut();
    meta.finalizers = finalizers(meta.finalizers.take().unwrap_or_default(), options);
    let held = meta.finalizers.is_some();
    if held && meta.deletion_timestamp.is_none() {
        mark(&mut *next, now, 0);
    }
    let waits = next.meta().deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0);
    if held || waits {
        return Ok(if *next == *object { Fate::Waits } else { Fate::Mark(next) });
    }
    Ok(Fate::Remove(next))
}

/// Seconds of grace a pod gets by this deletion; none when one that is under way stands.
fn grace(pod: &Pod, options: &DeleteOptions) -> Option<i64> {
    let asked_s = options.grace_period_seconds;
    if pod.metadata.deletion_timestamp.is_some() {
        let current_s = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        // Only a shorter wait may be asked for.
        return asked_s.map(|seconds| seconds.max(0)).filter(|seconds| *seconds < current_s);
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let spec = pod.spec.as_ref();
    let stopping = Stopping {
        asked_s,
        spec_s: spec.and_then(|spec| spec.termination_grace_period_seconds),
        scheduled: spec
            .and_then(|spec| spec.node_name.as_ref())
            .is_some_and(|node| !node.is_empty()),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
    };
    Some(i64::try_from(grace_period_s(stopping)).unwrap_or(i64::MAX))
}

/// Marks an object for deletion after so many seconds, or shortens the wait it has.
fn mark(object: &mut dyn Object, now: Timestamp, seconds: i64) {
    let meta = object.meta_mut();
    match (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) {
        (Some(ends), before_s) => {
            let sooner = SignedDuration::from_secs(before_s.unwrap_or(0) - seconds);
            meta.deletion_timestamp = Some(Time(ends.0.checked_sub(sooner).unwrap_or(ends.0)));
        }
        (None, _) => {
            let ends = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
            meta.deletion_timestamp = Some(Time(whole_second(ends)));
            meta.generation = meta.generation.map(|generation| generation + 1);
        }
    }
    meta.deletion_grace_period_seconds = Some(seconds);
}

/// The finalizers that the options ask for.
fn finalizers(mut names: Vec<String>, options: &DeleteOptions) -> Option<Vec<String>> {
    let wanted = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => Some(orphan.then_some(ORPHAN)),
        (None, Some("Orphan")) => Some(Some(ORPHAN)),
        (None, Some("Foreground")) => Some(Some(FOREGROUND)),
        (None, Some(_)) => Some(None),
        (None, None) => None,
    };
    if let Some(wanted) = wanted {
        names.retain(|name| !matches!(name.as_str(), ORPHAN | FOREGROUND));
        names.extend(wanted.map(ToOwned::to_owned));
    }
    Some(names).filter(|names| !names.is_empty())
}

/// A namespace waits until its content is gone.
fn namespace(object: &dyn Object, options: &DeleteOptions, now: Timestamp) -> Fate {
    let mut next = object.boxed();
    let meta = next.meta_mut();
    meta.finalizers = finalizers(meta.finalizers.take().unwrap_or_default(), options);
    if meta.deletion_timestamp.is_none() {
        meta.deletion_timestamp = Some(Time(whole_second(now)));
    }
    if let Some(namespace) = next.as_any_mut().downcast_mut::<Namespace>() {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }
    if super::replace::is_gone(&*next) {
        Fate::Remove(next)
    } else if *next == *object {
        Fate::Waits
    } else {
        Fate::Mark(next)
    }
}

fn check_preconditions(
    resource: &'static dyn Resource,
    object: &dyn Object,
    revision: u64,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    // Upstream names the kind here, not the resource.
    let about = About { group: resource.names().group, resource: resource.names().kind };
    let found = meta.uid.as_deref().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != found) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({found}). The \
             object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(about, name, &why));
    }
    let found = revision.to_string();
    if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != found) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the \
             ResourceVersion in record ({found}). The object might have been modified"
        );
        return Err(ApiError::conflict(about, name, &why));
    }
    Ok(())
}
