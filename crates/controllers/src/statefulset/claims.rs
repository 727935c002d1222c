//! Claims: made with the pod, kept after it, owned as the retention policy says.

use api::k8s::{
    api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    identity::{claim_name, pod_name},
    view::{View, condition, created, phase, terminating},
};
use crate::{Action, Note, Outcome, Target, Verb, Wait};

/// What stands between a pod and its claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Creations and changes of owners.
    pub(super) actions: Vec<Action>,
    /// Why the pod may not be created now.
    pub(super) obstacle: Option<Wait>,
}

/// Whether claims go with the set, and whether they go with a pod that scaling removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) delete_with_set: bool,
    pub(super) delete_with_pod: bool,
}

/// The set's policy; an unknown value means Retain (K7).
pub(super) fn retention(view: &View) -> Retention {
    let policy = view.spec().persistent_volume_claim_retention_policy.as_ref();
    let says = |field: Option<&String>| field.map(String::as_str) == Some("Delete");
    Retention {
        delete_with_set: says(policy.and_then(|policy| policy.when_deleted.as_ref())),
        delete_with_pod: says(policy.and_then(|policy| policy.when_scaled.as_ref())),
    }
}

/// Makes what is missing before this pod is created (K2, K6, K8).
pub(super) fn before_create(view: &View, ordinal: i64) -> Claims {
    let pod = pod_name(view.name(), ordinal);
    if let Some(stale) = stale_claim(view, ordinal, &pod) {
        return Claims { actions: Vec::new(), obstacle: Some(Wait::ClaimGone(stale)) };
    }
    let mut claims = Claims { actions: missing(view, ordinal, true), obstacle: None };
    for (name, claim) in existing(view, ordinal) {
        if claim.metadata.deletion_timestamp.is_some() {
            let message = format!(
                "Create Pod {pod} in StatefulSet {} failed error: pvc {name} is being deleted",
                view.name()
            );
            let note = Note::warning("FailedCreate", message);
            let target = Target::of(&*view.set);
            claims.actions.push(Action::note(target, note, "its claim is being deleted"));
            claims.obstacle.get_or_insert(Wait::ClaimGone(name));
        } else {
            claims.actions.extend(own(view, claim, &pod, None, retention(view), false));
        }
    }
    claims
}

/// How long the name of a claim that went stays free while its pod is there.
///
/// Upstream's successor comes with the next sync, which the end of a claim does not cause (K4). Here it
/// does, and `kubectl delete pvc` looks at the claim and then lists it, to wait for its end: up to 30 ms
/// were seen between the two, and where it lists the successor it waits for the end of that, for ever.
/// A second is long for kubectl, and short for a pod that waits.
const FREE: SignedDuration = SignedDuration::from_secs(1);

/// Makes claims of a pod that is there, but cannot start without them (K3, N8).
///
/// And when to look again at those whose names stay free until then.
pub(super) fn lost(view: &View, ordinal: i64) -> (Vec<Action>, Option<Timestamp>) {
    let mut next: Option<Timestamp> = None;
    let due = |action: &Action| {
        let Verb::Create(claim) = &action.verb else { return true };
        let until = until(view, claim.meta().name.as_deref().unwrap_or_default());
        next = [next, until].into_iter().flatten().min();
        until.is_none()
    };
    (missing(view, ordinal, false).into_iter().filter(due).collect(), next)
}

/// Until when the name of this claim stays free; `None` when it may be made now.
fn until(view: &View, claim: &str) -> Option<Timestamp> {
    let since = *view.gone.get(claim)?;
    let until = since.checked_add(FREE).ok()?;
    // A clock that has been set back since then says nothing.
    (since <= view.now && view.now < until).then_some(until)
}

/// The claim that this pod waits for and that waits for this pod, so that neither ever goes on: it was
/// deleted after the pod had got its node and before the node had its volumes.
///
/// No node starts a pod with a claim that is being deleted, and a claim is protected by every pod that
/// has a node (K3). Departs from upstream, where a person has to delete the pod. One without a node
/// does not hold its claim, one whose volumes are there starts, and one that ever ran keeps its data.
pub(super) fn stranded(view: &View, ordinal: i64, pod: &Pod) -> Option<String> {
    let placed = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let mounted =
        condition(pod, "PodReadyToStartContainers").is_some_and(|one| one.status == "True");
    if placed.unwrap_or_default().is_empty()
        || phase(pod) != "Pending"
        || terminating(pod)
        || mounted
        || has_run(pod)
    {
        return None;
    }
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut going = existing(view, ordinal)
        .filter(|(_, claim)| claim.metadata.deletion_timestamp.is_some())
        .filter(|(name, _)| {
            let used = |used: &str| used == name;
            volumes().any(|volume| {
                volume.persistent_volume_claim.as_ref().is_some_and(|one| used(&one.claim_name))
            })
        });
    going.next().map(|(name, _)| name)
}

/// A container of it has been started, whatever became of it.
fn has_run(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let began = |container: &ContainerStatus| {
        let state = |state: &Option<api::k8s::api::core::v1::ContainerState>| {
            state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some())
        };
        container.restart_count > 0 || state(&container.state) || state(&container.last_state)
    };
    lists.into_iter().flatten().flatten().any(began)
}

/// Sets the owners of a pod's claims (K5 to K7).
pub(super) fn owners(view: &View, ordinal: i64, pod: &Pod, condemned: bool) -> Vec<Action> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut policy = retention(view);
    if view.is_reserved(ordinal) {
        // What becomes of its claims is the word of who reserved it, not of who scales.
        policy.delete_with_pod &= view.rules.as_ref().is_some_and(|rules| rules.delete_claims);
    }
    existing(view, ordinal)
        .flat_map(|(_, claim)| own(view, claim, name, Some(pod), policy, condemned))
        .collect()
}

/// Deletions of the claims of reserved ordinals that no pod has any more, where the policy says so.
///
/// A claim with a controller that is not the set's stays: it is another's.
pub(super) fn reserved(view: &View) -> Vec<Action> {
    let Some(policy) = view.policy() else { return Vec::new() };
    if !view.rules.as_ref().is_some_and(|rules| rules.delete_claims) {
        return Vec::new();
    }
    let set = view.name();
    let ordinal = |claim: &str| {
        let stems = super::identity::templates(view).map(|template| format!("{template}-{set}"));
        stems.into_iter().find_map(|stem| super::member_ordinal(&stem, claim))
    };
    let mut actions = Vec::new();
    for (name, claim) in &view.claims {
        let Some(ordinal) = ordinal(name).filter(|ordinal| view.is_reserved(*ordinal)) else {
            continue;
        };
        let pod = pod_name(set, ordinal);
        let held = view.pods.iter().any(|other| other.metadata.name.as_ref() == Some(&pod));
        let foreign = super::view::controller_of(&claim.metadata)
            .is_some_and(|owner| owner.uid != view.uid() && !(is_pod(owner) && owner.name == pod));
        if held || foreign || claim.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let mut action = Action::delete(Target::of(&**claim), "its ordinal is reserved");
        let done = format!("Delete Claim {name} of reserved ordinal {ordinal} successful");
        let failed =
            format!("Delete Claim {name} of reserved ordinal {ordinal} failed error: {{error}}");
        action.events = Some(Outcome {
            regarding: Target::of(&**policy),
            success: Some(Note::normal("SuccessfulDelete", done)),
            failure: vec![Note::warning("FailedDelete", failed)],
        });
        actions.push(action);
    }
    actions
}

fn existing(view: &View, ordinal: i64) -> impl Iterator<Item = (String, &PersistentVolumeClaim)> {
    names(view, ordinal).filter_map(|name| {
        let claim = view.claims.get(&name)?;
        Some((name, &**claim))
    })
}

/// Each claim name of this pod once, in the templates' order.
fn names(view: &View, ordinal: i64) -> impl Iterator<Item = String> {
    let mut seen: Vec<&str> = Vec::new();
    super::identity::templates(view).filter_map(move |template| {
        if seen.contains(&template) {
            return None;
        }
        seen.push(template);
        Some(claim_name(template, view.name(), ordinal))
    })
}

/// Creations of what is not there. A failure is told of the pod, too, where it keeps the pod from
/// being created (E4).
fn missing(view: &View, ordinal: i64, creating: bool) -> Vec<Action> {
    let pod = pod_name(view.name(), ordinal);
    let set = view.name();
    let create = |name: String| {
        let claim = new_claim(view, ordinal, &name);
        let mut action = Action::new(Verb::Create(Box::new(claim)), "its pod needs it");
        let done = format!("Create Claim {name} Pod {pod} in StatefulSet {set} success");
        let failed = format!(
            "Create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {{error}}"
        );
        // A claim that someone else has made meanwhile is an error, and no event (K2).
        let mut failure = vec![Note::warning("FailedCreate", failed).unless_exists()];
        if creating {
            let failed = format!(
                "Create Pod {pod} in StatefulSet {set} failed error: failed to create PVC {name}: \
                 {{error}}"
            );
            failure.push(Note::warning("FailedCreate", failed));
        }
        let success = Some(Note::normal("SuccessfulCreate", done));
        action.events = Some(Outcome { regarding: Target::of(&*view.set), success, failure });
        action
    };
    names(view, ordinal).filter(|name| !view.claims.contains_key(name)).map(create).collect()
}

/// The claim, complete (K1); with the set as owner from the start where it shall go with the set
/// (K10: upstream adds that only later, and leaks the claim of a set deleted in between).
fn new_claim(view: &View, ordinal: i64, name: &str) -> PersistentVolumeClaim {
    // Of two templates of one name the last counts, as upstream.
    let mut templates = view.spec().volume_claim_templates.iter().flatten().rev();
    let template = templates.find(|template| {
        let template = template.metadata.name.as_deref().unwrap_or_default();
        claim_name(template, view.name(), ordinal) == name
    });
    let template = template.cloned().unwrap_or_default();
    let mut labels = template.metadata.labels.unwrap_or_default();
    labels.extend(view.spec().selector.match_labels.clone().unwrap_or_default());
    let owned = retention(view).delete_with_set;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: view.set.metadata.namespace.clone(),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            annotations: template.metadata.annotations,
            owner_references: owned.then(|| vec![view.controller_ref()]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// A claim that still goes with an earlier pod of this name (K8): it will be deleted.
fn stale_claim(view: &View, ordinal: i64, pod: &str) -> Option<String> {
    if !retention(view).delete_with_pod {
        return None;
    }
    let stale = |owner: &OwnerReference| is_pod(owner) && owner.name == pod;
    existing(view, ordinal)
        .find(|(_, claim)| claim.metadata.owner_references.iter().flatten().any(stale))
        .map(|(name, _)| name)
}

/// The change that gives one claim the owners it should have, if it has others.
fn own(
    view: &View,
    claim: &PersistentVolumeClaim,
    pod_name: &str,
    pod: Option<&Pod>,
    policy: Retention,
    condemned: bool,
) -> Vec<Action> {
    let owners = claim.metadata.owner_references.clone().unwrap_or_default();
    let pod_uid = pod.filter(|pod| created(pod)).and_then(|pod| pod.metadata.uid.as_deref());
    let ours = |owner: &OwnerReference| {
        owner.uid == view.uid() || pod_uid.is_some_and(|uid| owner.uid == uid)
    };
    let namesake = |owner: &OwnerReference| {
        (is_set(owner) && owner.name == view.name()) || (is_pod(owner) && owner.name == pod_name)
    };
    if owners.iter().any(|owner| namesake(owner) && !ours(owner)) {
        return Vec::new(); // A reference to one that is gone: the garbage collector's business.
    }
    let mut actions = Vec::new();
    let retain = !policy.delete_with_set && !policy.delete_with_pod;
    let foreign = owners.iter().any(|owner| owner.controller == Some(true) && !ours(owner));
    let wanted = match (retain || foreign, condemned && policy.delete_with_pod) {
        (true, _) => None,
        (false, true) => pod.map(pod_ref),
        (false, false) => policy.delete_with_set.then(|| view.controller_ref()),
    };
    if !retain && foreign {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging \
             controller, the retention policy is ignored for this claim"
        );
        let note = Note::warning("ConflictingController", message);
        let target = Target::of(&*view.set);
        actions.push(Action::note(target, note, "its claim has another controller"));
    }
    let mut result: Vec<OwnerReference> = Vec::new();
    for owner in &owners {
        match &wanted {
            Some(wanted) if owner.uid == wanted.uid => result.push(wanted.clone()),
            _ if ours(owner) => (),
            _ => result.push(owner.clone()),
        }
    }
    if let Some(wanted) = wanted
        && result.iter().all(|owner| owner.uid != wanted.uid)
    {
        result.push(wanted);
    }
    if result != owners {
        let mut changed = claim.clone();
        changed.metadata.owner_references = Some(result).filter(|owners| !owners.is_empty());
        let claim = claim.metadata.name.as_deref().unwrap_or_default();
        let set = view.name();
        let failed = format!(
            "Update Pod {pod_name} in StatefulSet {set} failed error: could not update claim \
             {claim} for delete policy ownerRefs: {{error}}"
        );
        let mut action = Action::update(changed, None, "the retention policy says who owns it");
        action.events = Some(Outcome {
            regarding: Target::of(&*view.set),
            success: None,
            failure: vec![Note::warning("FailedUpdate", failed)],
        });
        actions.push(action);
    }
    actions
}

fn pod_ref(pod: &Pod) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn is_pod(owner: &OwnerReference) -> bool {
    owner.api_version == "v1" && owner.kind == "Pod"
}

fn is_set(owner: &OwnerReference) -> bool {
    owner.api_version == "apps/v1" && owner.kind == "StatefulSet"
}
