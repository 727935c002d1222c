//! Which pods and revisions are the set's: taking in what matches, letting go what does not.

use std::collections::BTreeMap;

use api::{
    k8s::{
        api::core::v1::Pod,
        apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    },
    selector::Labels,
};
use serde_json::json;

use super::view::{View, controller_of, terminating};
use crate::{Action, PatchKind, Target, Verb};

/// What to write before anything else: adoptions and releases (A1 to A3, R10).
///
/// The set is read live before the first adoption: a stale cache must not take pods in for a set
/// that is being deleted, for they would be deleted with it.
pub(super) fn actions(view: &View) -> Vec<Action> {
    if view.deleting() {
        return Vec::new();
    }
    let Ok(selector) = Labels::from_object(Some(&view.spec().selector)) else {
        return Vec::new();
    };
    // A pod that the set controls or would: labels match, and the name is a member's.
    let belongs =
        |pod: &Pod| takes(&selector, pod.metadata.labels.as_ref()) && view.ordinal(pod).is_some();
    let mut adopted = Vec::new();
    let mut released = Vec::new();
    for pod in &view.pods {
        match controller_of(&pod.metadata) {
            Some(owner) if owner.uid != view.uid() => (),
            Some(_) if belongs(pod) => (),
            Some(_) => released.push(release(view, pod)),
            None if belongs(pod) && !terminating(pod) => {
                adopted.push(adopt(view, Target::of(&**pod), &pod.metadata));
            }
            None => (),
        }
    }
    for revision in &view.revisions {
        let meta = &revision.metadata;
        if controller_of(meta).is_none() && takes(&selector, meta.labels.as_ref()) {
            adopted.push(adopt(view, Target::of(&**revision), meta));
        }
    }
    if !adopted.is_empty() {
        let live = Verb::Confirm(Target::of(&*view.set));
        adopted.insert(0, Action::new(live, "before adopting"));
    }
    adopted.extend(released);
    adopted
}

/// The set's selector takes these labels in; an empty one takes nothing.
pub(super) fn selects(view: &View, labels: Option<&BTreeMap<String, String>>) -> bool {
    Labels::from_object(Some(&view.spec().selector)).is_ok_and(|selector| takes(&selector, labels))
}

fn takes(selector: &Labels, labels: Option<&BTreeMap<String, String>>) -> bool {
    !selector.is_everything() && selector.matches(labels)
}

/// Whether the selector can be read at all; upstream logs and gives up on one that cannot.
pub(super) fn readable(selector: &LabelSelector) -> bool {
    Labels::from_object(Some(selector)).is_ok()
}

fn adopt(view: &View, target: Target, meta: &ObjectMeta) -> Action {
    let mut owners = meta.owner_references.clone().unwrap_or_default();
    owners.retain(|owner| owner.uid != view.uid());
    owners.push(view.controller_ref());
    let body = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
    }});
    let why = "it matches the set's selector and has no controller";
    Action::merge(target, None, body, why).in_group(1)
}

fn release(view: &View, pod: &Pod) -> Action {
    let body = json!({"metadata": {
        "uid": pod.metadata.uid,
        "ownerReferences": [{"$patch": "delete", "uid": view.uid()}],
    }});
    let target = Target::of(pod);
    let verb = Verb::Patch { target, subresource: None, kind: PatchKind::Strategic, body };
    Action::new(verb, "it no longer matches the set's selector").in_group(1)
}
