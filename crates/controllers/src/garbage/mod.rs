//! Garbage: objects go with their owners, in the background, in the foreground, or not at all.
//!
//! ```text
//!   owners gone ──▶ the object is deleted       owner deleting with `foregroundDeletion`:
//!   some gone   ──▶ the references to them go      blocking dependents go first, then the finalizer
//!   owner deleting with `orphan`: its references go from all dependents, then the finalizer
//! ```
//!
//! Source: kubernetes v1.36 `pkg/controller/garbagecollector/garbagecollector.go`.

#[cfg(test)]
mod tests;

use api::k8s::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;

use crate::{Action, PatchKind, Plan, Propagation, Target, Verb, meta::Meta};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What the decision about one object may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The object.
    pub object: Meta,
    /// Its owners, one for each reference, in their order.
    pub owners: Vec<Owner>,
    /// Objects that name it, by uid, as an owner.
    pub dependents: Vec<Meta>,
}

/// An owner as a reference names it.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The reference.
    pub reference: OwnerReference,
    /// What it leads to.
    pub state: OwnerState,
}

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnerState {
    /// The very object, by uid.
    Present(Meta),
    /// Nothing, or a namesake with another uid; `Target` is what to confirm that of.
    Absent(Target),
    /// A kind that this server does not know: upstream waits for such an owner, too.
    Unknown,
}

/// Decides what becomes of one object. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    let object = &view.object;
    if object.deleting() && object.holds(ORPHAN) {
        orphan(view, &mut plan);
    } else if object.deleting() && object.holds(FOREGROUND) {
        foreground(view, &mut plan);
    } else if !object.deleting() && !view.owners.is_empty() {
        owned(view, &mut plan);
    }
    plan
}

/// Takes the reference to the object off all that have it, then lets it go.
fn orphan(view: &View, plan: &mut Plan) {
    let uid = &view.object.target.uid;
    for dependent in &view.dependents {
        plan.actions.push(forget(dependent, &[uid], "its owner is deleted without it"));
    }
    let last = view.object.release(ORPHAN, "no dependent names it any more");
    plan.actions.push(last.in_group(1));
}

/// Deletes what is left of the dependents; the finalizer goes once none of them blocks.
fn foreground(view: &View, plan: &mut Plan) {
    let uid = &view.object.target.uid;
    let blocks = |dependent: &&Meta| {
        let owners = dependent.meta.owner_references.iter().flatten();
        owners
            .into_iter()
            .any(|owner| owner.uid == *uid && owner.block_owner_deletion == Some(true))
    };
    if !view.dependents.iter().any(|dependent| blocks(&dependent)) {
        plan.actions.push(view.object.release(FOREGROUND, "no dependent blocks it"));
    }
    // The dependents are woken by this object's deletion and decide for themselves, in `owned`.
}

/// An object that has owners: it goes when none of them is left to keep it.
fn owned(view: &View, plan: &mut Plan) {
    let waiting = |owner: &Meta| owner.deleting() && owner.holds(FOREGROUND);
    let mut solid = 0;
    let mut dangling = Vec::new();
    let mut leaving = Vec::new();
    for owner in &view.owners {
        match &owner.state {
            OwnerState::Present(meta) if waiting(meta) => leaving.push(owner),
            OwnerState::Present(_) | OwnerState::Unknown => solid += 1,
            OwnerState::Absent(target) => dangling.push((owner, target)),
        }
    }
    if dangling.is_empty() && leaving.is_empty() {
        return;
    }
    for (_, target) in &dangling {
        let gone = Verb::ConfirmGone((*target).clone());
        plan.actions.push(Action::new(gone, "a cache may be behind"));
    }
    if solid > 0 {
        let uids: Vec<&String> = dangling
            .iter()
            .map(|(owner, _)| &owner.reference.uid)
            .chain(leaving.iter().map(|owner| &owner.reference.uid))
            .collect();
        let why = "other owners keep it";
        plan.actions.push(forget(&view.object, &uids, why).in_group(1));
        return;
    }
    let blocked = !leaving.is_empty() && !view.dependents.is_empty();
    let propagation = if blocked || view.object.holds(FOREGROUND) {
        Propagation::Foreground
    } else if view.object.holds(ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    let mut action = Action::delete(view.object.target.clone(), "its owner is gone or going");
    if let Verb::Delete { propagation: slot, resource_version, .. } = &mut action.verb {
        *slot = Some(propagation);
        // A new owner may have been given to it since.
        resource_version.clone_from(&view.object.meta.resource_version);
    }
    plan.actions.push(action.in_group(1));
}

/// Takes the references with these uids off an object.
fn forget(object: &Meta, uids: &[&String], why: &str) -> Action {
    let removed: Vec<_> = uids.iter().map(|uid| json!({"$patch": "delete", "uid": uid})).collect();
    let body = json!({"metadata": {"uid": object.target.uid, "ownerReferences": removed}});
    let target = object.target.clone();
    let verb = Verb::Patch { target, subresource: None, kind: PatchKind::Strategic, body };
    Action::new(verb, why)
}
