//! Decides for one claim: find or make its volume, bind both sides, keep it while it is used.

use std::sync::Arc;

use api::{
    k8s::api::{
        core::v1::{
            Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod,
        },
        storage::v1::StorageClass,
    },
    object::reference,
};

use super::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, CLAIM_PROTECTION, LOCAL_PROVISIONER, PROVISIONER,
    SELECTED_NODE, fit, provision,
};
use crate::{Action, Note, Outcome, Plan, Target, Verb, meta};

/// What the decision about one claim may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The claim.
    pub claim: Arc<PersistentVolumeClaim>,
    /// The class that it names, if there is one.
    pub class: Option<Arc<StorageClass>>,
    /// Every volume.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// Pods of its namespace that name it.
    pub users: Vec<Arc<Pod>>,
    /// Every node; provisioning asks them for their folder.
    pub nodes: Vec<Arc<Node>>,
}

/// Decides what to do next for one claim. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    let claim = &view.claim;
    if let Some(action) = protection(view) {
        plan.actions.push(action);
        return plan;
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    match named.filter(|name| !name.is_empty()) {
        Some(name) => bound_to(view, &name, &mut plan),
        None if annotated(claim, BIND_COMPLETED) => {
            let text =
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
            lost(view, Note::warning("ClaimLost", text), &mut plan);
        }
        None => unbound(view, &mut plan),
    }
    plan
}

/// The finalizer goes on at once, and off when the claim is deleted and no pod uses it.
fn protection(view: &View) -> Option<Action> {
    let claim = &view.claim;
    let target = Target::of(&**claim);
    let held = meta::holds(&claim.metadata, CLAIM_PROTECTION);
    let deleting = claim.metadata.deletion_timestamp.is_some();
    if held && deleting && !view.users.iter().any(|pod| uses(pod)) {
        return Some(meta::release(target, &claim.metadata, CLAIM_PROTECTION, "no pod uses it"));
    }
    (!held && !deleting)
        .then(|| meta::hold(target, &claim.metadata, CLAIM_PROTECTION, "claims are protected"))
}

/// A pod holds a claim from its assignment to a node until it has ended.
fn uses(pod: &Pod) -> bool {
    let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    assigned && !matches!(phase, Some("Failed" | "Succeeded"))
}

fn annotated(claim: &PersistentVolumeClaim, key: &str) -> bool {
    claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key))
}

/// The claim names no volume: take the best one, make one, or say why there is none.
fn unbound(view: &View, plan: &mut Plan) {
    if let Some(volume) = fit::best(&view.volumes, &view.claim) {
        let reserved = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
        if reserved || !delayed(view) {
            bind(view, volume, plan);
            return;
        }
    }
    if delayed(view) {
        plan.actions.push(awaits_consumer(view));
        return;
    }
    match (&view.class, fit::claim_class(&view.claim)) {
        (_, "") => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            plan.actions.push(say(view, Note::normal("FailedBinding", text)));
        }
        (None, class) => {
            let text = format!("storageclass.storage.k8s.io {class:?} not found");
            plan.actions.push(say(view, Note::warning("ProvisioningFailed", text)));
        }
        (Some(class), _) if class.provisioner == LOCAL_PROVISIONER => provision_local(view, plan),
        (Some(class), _) => ask_provisioner(view, class, plan),
    }
}

/// The class waits until the scheduler has chosen a node.
fn delayed(view: &View) -> bool {
    let class = view.class.as_ref();
    let mode = class.and_then(|class| class.volume_binding_mode.as_deref());
    mode == Some("WaitForFirstConsumer") && !annotated(&view.claim, SELECTED_NODE)
}

fn awaits_consumer(view: &View) -> Action {
    let waiting = view.users.iter().find(|pod| {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_none()
            && pod.metadata.deletion_timestamp.is_none()
    });
    let note = match waiting {
        Some(pod) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let text = format!("waiting for pod {name} to be scheduled");
            Note::normal("WaitForPodScheduled", text)
        }
        None => {
            let text = "waiting for first consumer to be created before binding";
            Note::normal("WaitForFirstConsumer", text)
        }
    };
    say(view, note)
}

fn provision_local(view: &View, plan: &mut Plan) {
    let Some(volume) = provision::volume(view) else {
        let text = "no node has a folder for the volumes of stead.io/local yet";
        plan.actions.push(say(view, Note::normal("Provisioning", text)));
        return;
    };
    let name = volume.metadata.name.clone().unwrap_or_default();
    let text = format!("Successfully provisioned volume {name}");
    let failed = "failed to provision volume with StorageClass: {error}";
    let mut action = Action::new(Verb::Create(Box::new(volume)), "its class makes volumes here");
    action.events = Some(Outcome {
        regarding: Target::of(&*view.claim),
        success: Some(Note::normal("ProvisioningSucceeded", text)),
        failure: vec![Note::warning("ProvisioningFailed", failed)],
    });
    plan.actions.push(action);
}

/// Another provisioner is asked by an annotation, as upstream asks it.
fn ask_provisioner(view: &View, class: &StorageClass, plan: &mut Plan) {
    if class.provisioner == "kubernetes.io/no-provisioner" {
        let text = "no persistent volumes available for this claim and its storage class has no provisioner";
        plan.actions.push(say(view, Note::normal("FailedBinding", text)));
        return;
    }
    if !annotated(&view.claim, PROVISIONER) {
        let body = serde_json::json!({"metadata": {
            "uid": view.claim.metadata.uid,
            "resourceVersion": view.claim.metadata.resource_version,
            "annotations": {PROVISIONER: class.provisioner},
        }});
        let target = Target::of(&*view.claim);
        plan.actions.push(Action::merge(target, None, body, "its provisioner is elsewhere"));
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{}' or manually by \
         the system administrator. If volume creation is delayed, please verify that the \
         provisioner is running and correctly registered.",
        class.provisioner
    );
    plan.actions.push(say(view, Note::normal("ExternalProvisioning", text)));
}

/// The claim names a volume: by a person's wish, or because it is bound.
fn bound_to(view: &View, name: &str, plan: &mut Plan) {
    let claim = &view.claim;
    let volume = view.volumes.iter().find(|one| one.metadata.name.as_deref() == Some(name));
    let completed = annotated(claim, BIND_COMPLETED);
    let reference =
        volume.and_then(|volume| volume.spec.as_ref()).and_then(|spec| spec.claim_ref.as_ref());
    match (volume, reference) {
        (None, _) if completed => {
            let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            lost(view, Note::warning("ClaimLost", text), plan);
        }
        (None, _) => (), // It may still be made.
        (Some(volume), None) if !completed => match fit::mismatch(volume, claim) {
            None => bind(view, volume, plan),
            Some(error) => {
                let text = format!("Cannot bind to requested volume {name:?}: {error}");
                plan.actions.push(say(view, Note::warning("VolumeMismatch", text)));
            }
        },
        (Some(volume), None) => bind(view, volume, plan), // Only the volume forgot.
        (Some(volume), Some(reference)) if fit::refers_to(reference, claim) => {
            bind(view, volume, plan);
        }
        (Some(_), Some(_)) if completed => {
            let text = "Two claims are bound to the same volume, this one is bound incorrectly";
            lost(view, Note::warning("ClaimMisbound", text), plan);
        }
        (Some(_), Some(_)) => {
            let text = format!("volume {name:?} already bound to a different claim.");
            plan.actions.push(say(view, Note::warning("FailedBinding", text)));
        }
    }
}

/// Both sides get each other's name: the volume first, so that no two claims can take it.
fn bind(view: &View, volume: &Arc<PersistentVolume>, plan: &mut Plan) {
    let claim = &view.claim;
    let mut held = (**volume).clone();
    let spec = held.spec.get_or_insert_default();
    let wanted = reference(&*view.claim);
    let uid = spec.claim_ref.as_ref().and_then(|reference| reference.uid.clone());
    if uid != wanted.uid {
        if spec.claim_ref.is_none() {
            let annotations = held.metadata.annotations.get_or_insert_default();
            annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        }
        held.spec.get_or_insert_default().claim_ref = Some(wanted);
        plan.actions.push(Action::update(held, None, "a claim takes it"));
    }
    let name = volume.metadata.name.clone();
    let mut bound = (**claim).clone();
    let spec = bound.spec.get_or_insert_default();
    let annotations = bound.metadata.annotations.get_or_insert_default();
    if spec.volume_name != name {
        spec.volume_name = name;
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    annotations.insert(BIND_COMPLETED.to_owned(), "yes".to_owned());
    if bound != **claim {
        let update = Action::update(bound, None, "its volume is found");
        plan.actions.push(update.in_group(1));
        return; // Its status follows from the claim as it then is.
    }
    let mut told = (**claim).clone();
    let has = volume.spec.clone().unwrap_or_default();
    let old = told.status.take().unwrap_or_default();
    // A claim that is being grown says so itself; its capacity follows its volume only at first.
    let capacity = old.capacity.clone().or(has.capacity);
    told.status = Some(PersistentVolumeClaimStatus {
        phase: Some("Bound".to_owned()),
        access_modes: has.access_modes,
        capacity,
        ..old
    });
    if told != **claim {
        plan.actions.push(Action::update(told, Some("status"), "it is bound"));
    }
}

fn lost(view: &View, note: Note, plan: &mut Plan) {
    let mut told = (*view.claim).clone();
    let status = told.status.get_or_insert_default();
    if status.phase.as_deref() == Some("Lost") {
        return;
    }
    status.phase = Some("Lost".to_owned());
    let mut action = Action::update(told, Some("status"), "its volume is not its own any more");
    action.events = Some(Outcome {
        regarding: Target::of(&*view.claim),
        success: Some(note),
        failure: Vec::new(),
    });
    plan.actions.push(action);
}

fn say(view: &View, note: Note) -> Action {
    Action::note(Target::of(&*view.claim), note, "the claim stays unbound")
}
