//! Decides how a bound claim that asks for more than it has gets it.
//!
//! ```text
//!   request > capacity ─▶ Resizing ─▶ the volume's capacity ─┬▶ nothing to grow on the node: the claim's capacity
//!                                                            └▶ FileSystemResizePending ─▶ its node grows it
//! ```
//!
//! A folder of `stead.io/local` has no limit of its own: there is nothing to grow. A `local` volume
//! that a person made may be a file system, which its node grows and then says so.
//!
//! Source: kubernetes v1.36 `pkg/controller/volume/expand/expand_controller.go`,
//! `pkg/volume/util/resize_util.go`; the words of events are external-resizer's.

use std::sync::Arc;

use api::{
    k8s::{
        api::core::v1::{
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition,
            PersistentVolumeClaimStatus,
        },
        apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
    },
    quantity,
};
use jiff::Timestamp;

use super::{LOCAL_PROVISIONER, PROVISIONED_BY, fit};
use crate::{Action, Note, Outcome, Plan, Target};

/// What a claim's status says while its volume grows.
const RESIZING: &str = "Resizing";
/// What it says while its node has yet to grow the file system.
const PENDING: &str = "FileSystemResizePending";
/// All conditions that are about growth.
const CONDITIONS: [&str; 4] = [RESIZING, PENDING, "ControllerResizeError", "NodeResizeError"];
/// `status.allocatedResourceStatuses`: the volume is being grown.
const BY_CONTROLLER: &str = "ControllerResizeInProgress";
/// `status.allocatedResourceStatuses`: the node has yet to grow it.
const BY_NODE: &str = "NodeResizePending";
/// On a volume whose file system its node has yet to grow: what it had before.
pub const BEFORE: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";
const STORAGE: &str = "storage";

/// What the decision about one claim may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The claim.
    pub claim: Arc<PersistentVolumeClaim>,
    /// The volume that it names, if there is one.
    pub volume: Option<Arc<PersistentVolume>>,
    /// The one clock reading.
    pub now: Timestamp,
}

/// Decides what to do next for one claim. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    let Some((volume, status)) = bound(view) else { return plan };
    let wanted = fit::request(&view.claim);
    let has = quantity::in_list(status.capacity.as_ref(), STORAGE);
    let made = fit::capacity(volume);
    if wanted <= has {
        // Grown, or the wish was taken back: nothing is under way any more.
        plan.actions.extend(tell(view, settled(status.clone()), None, "nothing is to be grown"));
        plan.actions.extend(forget(volume));
    } else if !is_local(volume) {
        let text = "waiting for an external controller to expand this PVC";
        let note = Note::normal("ExternalExpanding", text);
        let target = Target::of(&*view.claim);
        plan.actions.push(Action::note(target, note, "its volume is not ours to grow"));
    } else if made < wanted {
        grow(view, volume, status, &mut plan);
    } else if is_grown_by_node(volume) {
        let text = "Require file system resize of volume on node";
        let told = under_way(view, status.clone(), PENDING);
        let note = Note::normal("FileSystemResizeRequired", text);
        plan.actions.extend(tell(view, told, Some(note), "its node grows the file system"));
    } else {
        let mut told = settled(status.clone());
        told.capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.clone());
        let note = Note::normal("VolumeResizeSuccessful", "Resize volume succeeded");
        plan.actions.extend(tell(view, told, Some(note), "its volume has grown"));
    }
    plan
}

/// Its volume and status, if both sides are bound to each other.
fn bound(view: &View) -> Option<(&Arc<PersistentVolume>, &PersistentVolumeClaimStatus)> {
    let claim = &view.claim;
    let status = claim.status.as_ref()?;
    let volume = view.volume.as_ref()?;
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let ours = fit::refers_to(reference, claim) && reference.uid == claim.metadata.uid;
    let settled = status.phase.as_deref() == Some("Bound") && status.capacity.is_some();
    (ours && settled && claim.metadata.deletion_timestamp.is_none()).then_some((volume, status))
}

/// The claim says that it grows, then the volume is given the size.
fn grow(
    view: &View,
    volume: &Arc<PersistentVolume>,
    status: &PersistentVolumeClaimStatus,
    plan: &mut Plan,
) {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let note = Note::normal("Resizing", format!("External resizer is resizing volume {name}"));
    let told = under_way(view, status.clone(), RESIZING);
    plan.actions.extend(tell(view, told, Some(note), "it asks for more than it has"));
    let mut grown = (**volume).clone();
    let capacity = grown.spec.get_or_insert_default().capacity.get_or_insert_default();
    let before = capacity.insert(STORAGE.to_owned(), request(&view.claim));
    if is_grown_by_node(volume) {
        let annotations = grown.metadata.annotations.get_or_insert_default();
        annotations.entry(BEFORE.to_owned()).or_insert_with(|| before.unwrap_or_default().0);
    }
    let mut action = Action::update(grown, None, "its claim asks for more").in_group(1);
    let text =
        format!("resize volume {name:?} by resizer \"{LOCAL_PROVISIONER}\" failed: {{error}}");
    action.events = Some(Outcome {
        regarding: Target::of(&*view.claim),
        success: None,
        failure: vec![Note::warning("VolumeResizeFailed", text)],
    });
    plan.actions.push(action);
}

/// The volume's node is through.
fn forget(volume: &Arc<PersistentVolume>) -> Option<Action> {
    let annotations = volume.metadata.annotations.as_ref()?;
    annotations.get(BEFORE)?;
    let mut grown = (**volume).clone();
    grown.metadata.annotations.as_mut()?.remove(BEFORE);
    Some(Action::update(grown, None, "its node has grown it").in_group(1))
}

fn request(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get(STORAGE)).cloned().unwrap_or_default()
}

fn is_local(volume: &PersistentVolume) -> bool {
    volume.spec.as_ref().is_some_and(|spec| spec.local.is_some())
}

/// A person's volume may be a file system of its own; ours are folders, and a block device has none.
fn is_grown_by_node(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    let made_by = annotations.and_then(|all| all.get(PROVISIONED_BY)).map(String::as_str);
    let mode = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
    made_by != Some(LOCAL_PROVISIONER) && mode != Some("Block")
}

/// The status of a claim whose growth has come this far.
fn under_way(
    view: &View,
    mut status: PersistentVolumeClaimStatus,
    condition: &str,
) -> PersistentVolumeClaimStatus {
    let (state, message) = match condition {
        PENDING => (
            BY_NODE,
            Some(
                "Waiting for user to (re-)start a pod to finish file system resize of volume on node.",
            ),
        ),
        _ => (BY_CONTROLLER, None),
    };
    let wanted = request(&view.claim);
    status.allocated_resources.get_or_insert_default().insert(STORAGE.to_owned(), wanted);
    let states = status.allocated_resource_statuses.get_or_insert_default();
    states.insert(STORAGE.to_owned(), state.to_owned());
    let conditions = status.conditions.get_or_insert_default();
    let there = conditions.iter().find(|one| one.type_ == condition).cloned();
    conditions.retain(|one| !CONDITIONS.contains(&one.type_.as_str()));
    conditions.push(there.unwrap_or_else(|| PersistentVolumeClaimCondition {
        type_: condition.to_owned(),
        status: "True".to_owned(),
        message: message.map(str::to_owned),
        last_transition_time: Some(Time(view.now)),
        ..PersistentVolumeClaimCondition::default()
    }));
    status
}

/// The status of a claim of which nothing grows. What was allocated stays written, as upstream's.
#[must_use]
pub fn settled(mut status: PersistentVolumeClaimStatus) -> PersistentVolumeClaimStatus {
    if let Some(states) = &mut status.allocated_resource_statuses {
        states.remove(STORAGE);
    }
    status.allocated_resource_statuses.take_if(|states| states.is_empty());
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|one| !CONDITIONS.contains(&one.type_.as_str()));
    }
    status.conditions.take_if(|conditions| conditions.is_empty());
    status
}

/// Writes the status if it says anything new.
fn tell(
    view: &View,
    status: PersistentVolumeClaimStatus,
    note: Option<Note>,
    why: &str,
) -> Option<Action> {
    if view.claim.status.as_ref() == Some(&status) {
        return None;
    }
    let mut told = (*view.claim).clone();
    told.status = Some(status);
    let mut action = Action::update(told, Some("status"), why);
    action.events = note.map(|note| Outcome {
        regarding: Target::of(&*view.claim),
        success: Some(note),
        failure: Vec::new(),
    });
    Some(action)
}

/// Whether the claim says that its node is to grow its file system.
#[must_use]
pub fn awaits_node(claim: &PersistentVolumeClaim) -> bool {
    let status = claim.status.as_ref();
    let states = status.and_then(|status| status.allocated_resource_statuses.as_ref());
    states.and_then(|states| states.get(STORAGE)).is_some_and(|state| state == BY_NODE)
}
