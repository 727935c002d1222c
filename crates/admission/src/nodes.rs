//! New nodes. What a node's own identity may write is decided where its rights are:
//! `apiserver::access::restriction`.

use api::{
    Object,
    k8s::api::core::v1::{Node, Taint},
};

use crate::{Request, typed_mut};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// `TaintNodesByCondition`: nothing is placed on a node before it says that it is ready.
pub(crate) fn taint(request: &Request<'_>, object: &mut dyn Object) {
    if !request.creates() {
        return;
    }
    let Some(node) = typed_mut::<Node>(object) else { return };
    let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
    if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == "NoSchedule") {
        taints.push(Taint {
            key: NOT_READY.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
}
