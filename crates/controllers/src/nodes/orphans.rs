//! Decides for one pod whose node is no more, or is off for good on a person's word.
//!
//! Only a deleted Node object and the out-of-service taint end a pod's record without its node:
//! a node that is merely silent may still be running it.

use std::sync::Arc;

use api::{
    k8s::api::core::v1::{Node, Pod},
    selector::nodes::tolerates,
};
use jiff::{SignedDuration, Timestamp};

use super::OUT_OF_SERVICE;
use crate::{Action, Plan, Target, Verb};

/// Seconds after its creation before a pod counts as left behind by a node that does not exist: a
/// node may register after its pods were assigned. Upstream's quarantine of unknown nodes.
pub const QUARANTINE_S: i64 = 40;

/// What the decision about one pod may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its node, if it has one and that exists.
    pub node: Option<Arc<Node>>,
    /// The one clock reading.
    pub now: Timestamp,
}

/// Decides whether the pod's record is removed by force.
///
/// Source: kubernetes v1.36 `pkg/controller/podgc/gc_controller.go`.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let spec = view.pod.spec.as_ref();
    let assigned = spec.and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty());
    let deleting = view.pod.metadata.deletion_timestamp.is_some();
    let why = match (&assigned, &view.node) {
        (Some(_), None) => "its node does not exist",
        (Some(_), Some(node)) if deleting && out_of_service(&view.pod, node) => {
            "its node is out of service"
        }
        (None, _) if deleting => "it is deleted and was never placed",
        _ => return Plan::default(),
    };
    let mut actions = Vec::new();
    if let Some(name) = assigned.filter(|_| view.node.is_none()) {
        let born = view.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let until =
            born.and_then(|at| at.checked_add(SignedDuration::from_secs(QUARANTINE_S)).ok());
        if let Some(until) = until.filter(|until| *until > view.now) {
            return Plan { look_again: Some(until), ..Plan::default() };
        }
        let gone = Target {
            group: String::new(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name,
            uid: String::new(),
        };
        actions.push(Action::new(Verb::ConfirmGone(gone), "a cache may be behind"));
    }
    let mut action = Action::delete(Target::of(&*view.pod), why).in_group(1);
    if let Verb::Delete { grace_period_s, .. } = &mut action.verb {
        *grace_period_s = Some(0);
    }
    actions.push(action);
    Plan { actions, ..Plan::default() }
}

/// The node bears the taint, is not ready, and the pod does not tolerate it.
fn out_of_service(pod: &Pod, node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let Some(taint) = taints.into_iter().flatten().find(|taint| taint.key == OUT_OF_SERVICE) else {
        return false;
    };
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    !ready && !tolerations.into_iter().flatten().any(|one| tolerates(one, taint))
}
