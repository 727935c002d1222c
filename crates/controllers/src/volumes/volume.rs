//! Decides for one volume: its phase, its release, its protection.

use std::sync::Arc;

use api::k8s::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::Time,
};
use jiff::Timestamp;

use super::{BOUND_BY_CONTROLLER, PROVISIONED_BY, VOLUME_PROTECTION, fit};
use crate::{Action, Note, Outcome, Plan, Target, Verb, meta};

/// What the decision about one volume may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The volume.
    pub volume: Arc<PersistentVolume>,
    /// The claim of the name in its `claimRef`, if there is one.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// The one clock reading.
    pub now: Timestamp,
}

/// Decides what to do next for one volume. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    if let Some(action) = protection(view) {
        plan.actions.push(action);
        return plan;
    }
    let spec = view.volume.spec.as_ref();
    let reference = spec.and_then(|spec| spec.claim_ref.as_ref());
    let reserved =
        reference.is_some_and(|reference| reference.uid.as_deref().unwrap_or_default().is_empty());
    let claim = view.claim.as_ref().zip(reference);
    let claim = claim.filter(|(claim, reference)| fit::refers_to(reference, claim));
    match (reference, claim) {
        (None, _) => phase(view, "Available", None, &mut plan),
        (Some(_), _) if reserved => phase(view, "Available", None, &mut plan),
        (Some(_), Some((claim, _))) => taken(view, claim, &mut plan),
        (Some(_), None) => released(view, &mut plan),
    }
    plan
}

/// The finalizer goes on at once, and off when the volume is deleted and not bound.
fn protection(view: &View) -> Option<Action> {
    let volume = &view.volume;
    let target = Target::of(&**volume);
    let held = meta::holds(&volume.metadata, VOLUME_PROTECTION);
    let deleting = volume.metadata.deletion_timestamp.is_some();
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    if held && deleting && !bound {
        return Some(meta::release(target, &volume.metadata, VOLUME_PROTECTION, "no claim has it"));
    }
    (!held && !deleting)
        .then(|| meta::hold(target, &volume.metadata, VOLUME_PROTECTION, "volumes are protected"))
}

/// Its claim is there: bound to it, about to be, or bound to another.
fn taken(view: &View, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let named =
        claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if named.is_empty() || Some(named) == view.volume.metadata.name.as_deref() {
        phase(view, "Bound", None, plan);
        return;
    }
    let annotations = view.volume.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key(BOUND_BY_CONTROLLER)) {
        // The claim went elsewhere: this one is free again.
        let mut free = (*view.volume).clone();
        free.spec.get_or_insert_default().claim_ref = None;
        free.metadata.annotations.get_or_insert_default().remove(BOUND_BY_CONTROLLER);
        plan.actions.push(Action::update(free, None, "its claim is bound to another volume"));
    }
}

/// Its claim is gone: kept for a person, or deleted or emptied by its node.
fn released(view: &View, plan: &mut Plan) {
    let volume = &view.volume;
    let policy = volume.spec.as_ref();
    let policy = policy.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let refused = match policy {
        Some("Delete") => deleter(volume).err().map(|why| ("VolumeFailedDelete", why)),
        Some("Recycle") => recycler(volume).err().map(|why| ("VolumeFailedRecycle", why)),
        _ => None,
    };
    let status = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    match refused {
        // What its node said of a failure stays until the node is through with it.
        None if status == Some("Failed") && policy != Some("Retain") => (),
        None => phase(view, "Released", None, plan),
        Some((reason, message)) => phase(view, "Failed", Some((reason, message)), plan),
    }
    // What it says now costs the data: a claim that only the cache does not show is not gone.
    let confirm = claim_of(volume).filter(|_| !plan.actions.is_empty());
    if let Some(claim) = confirm {
        plan.actions.iter_mut().for_each(|told| told.group = 1);
        plan.actions.push(Action::new(Verb::ConfirmGone(claim), "a cache may be behind"));
        plan.actions.rotate_right(1);
    }
}

/// The claim that it was bound to, by the uid that it had.
fn claim_of(volume: &PersistentVolume) -> Option<Target> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Target {
        group: String::new(),
        kind: "PersistentVolumeClaim".to_owned(),
        namespace: reference.namespace.clone()?,
        name: reference.name.clone()?,
        uid: reference.uid.clone()?,
    })
}

/// Who deletes it: its provisioner, or the node that a person's path is on.
///
/// Source: kubernetes v1.36 `pkg/volume/hostpath/host_path.go`, `newDeleter`.
fn deleter(volume: &PersistentVolume) -> Result<(), String> {
    let annotations = volume.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key(PROVISIONED_BY)) {
        return Ok(());
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let source = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
    match source.map(|source| source.path.as_str()) {
        Some(path) if is_deletable(path) => Ok(()),
        Some(path) => {
            Err(format!("host_path deleter only supports /tmp/.+ but received provided {path}"))
        }
        None => Err(format!(
            "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
        )),
    }
}

/// A person's folder is deleted below `/tmp` only.
#[must_use]
pub fn is_deletable(path: &str) -> bool {
    path.strip_prefix("/tmp/").is_some_and(|rest| {
        rest.split('/').all(|part| part != "..") && rest.split('/').any(|part| !part.is_empty())
    })
}

/// Who empties it: the node that it is on.
fn recycler(volume: &PersistentVolume) -> Result<(), String> {
    let spec = volume.spec.as_ref();
    let folder = spec.is_some_and(|spec| spec.host_path.is_some() || spec.local.is_some());
    let block = spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block");
    if folder && !block {
        return Ok(());
    }
    Err("No recycler plugin found for the volume!".to_owned())
}

fn phase(view: &View, phase: &str, failure: Option<(&'static str, String)>, plan: &mut Plan) {
    let mut told = (*view.volume).clone();
    let status = told.status.get_or_insert_default();
    let message = failure.as_ref().map(|(_, message)| message.clone());
    if status.phase.as_deref() == Some(phase) && status.message == message {
        return;
    }
    status.phase = Some(phase.to_owned());
    status.message = message;
    status.last_phase_transition_time = Some(Time(view.now));
    let mut action = Action::update(told, Some("status"), "its phase has changed");
    action.events = failure.map(|(reason, message)| Outcome {
        regarding: Target::of(&*view.volume),
        success: Some(Note::warning(reason, message)),
        failure: Vec::new(),
    });
    plan.actions.push(action);
}
