//! Decides for one pod on a tainted node: stay, stay for a while, or go.

use std::sync::Arc;

use api::{
    k8s::{
        api::core::v1::{Node, Pod, PodCondition, Taint},
        apimachinery::pkg::apis::meta::v1::Time,
    },
    selector::nodes::tolerates,
};
use jiff::{SignedDuration, Timestamp};

use crate::{Action, Note, Outcome, Plan, Target};

/// What the decision about one pod may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its node.
    pub node: Arc<Node>,
    /// The one clock reading.
    pub now: Timestamp,
}

/// Decides whether the pod is deleted because of its node's NoExecute taints.
///
/// Source: kubernetes v1.36 `pkg/controller/tainteviction/taint_eviction.go`.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    let taints = view.node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let taints: Vec<&Taint> =
        taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute").collect();
    if taints.is_empty() || view.pod.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let tolerations = view.pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
    let tolerations = tolerations.unwrap_or_default();
    let mut leave_at: Option<Timestamp> = None;
    for taint in taints {
        let tolerating: Vec<_> = tolerations.iter().filter(|one| tolerates(one, taint)).collect();
        if tolerating.is_empty() {
            evict(view, &mut plan);
            return plan;
        }
        let shortest = tolerating.iter().filter_map(|one| one.toleration_seconds).min();
        let Some(seconds) = shortest else { continue };
        let since = taint.time_added.as_ref().map_or(view.now, |time| time.0);
        let until = since.checked_add(SignedDuration::from_secs(seconds.max(0)));
        let until = until.unwrap_or(view.now);
        leave_at = Some(leave_at.map_or(until, |known| known.min(until)));
    }
    match leave_at {
        Some(at) if at <= view.now => evict(view, &mut plan),
        at => plan.look_again = at,
    }
    plan
}

fn evict(view: &View, plan: &mut Plan) {
    let meta = &view.pod.metadata;
    let (namespace, name) =
        (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let mut told = (*view.pod).clone();
    let status = told.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(Time(view.now)),
        ..PodCondition::default()
    });
    plan.actions.push(Action::update(
        told,
        Some("status"),
        "its node has a taint it does not bear",
    ));
    let mut action =
        Action::delete(Target::of(&*view.pod), "its node has a taint it does not bear");
    let text = format!("Marking for deletion Pod {namespace}/{name}");
    action.events = Some(Outcome {
        regarding: Target::of(&*view.pod),
        success: Some(Note::normal("TaintManagerEviction", text)),
        failure: Vec::new(),
    });
    plan.actions.push(action.in_group(1));
}
