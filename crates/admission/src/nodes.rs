//! New nodes, and what a node's own identity may write.

use api::{
    ApiError, Object,
    k8s::api::core::v1::{Node, Pod, Taint},
};

use crate::{Operation, Request, typed, typed_mut};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const NODES: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

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

/// `NodeRestriction`: a node writes about itself and its own pods, and nothing else.
pub(crate) fn restrict(request: &Request<'_>, object: Option<&dyn Object>) -> Result<(), ApiError> {
    if !request.groups.iter().any(|group| group == NODES) {
        return Ok(());
    }
    let Some(node) = request.user.strip_prefix("system:node:") else {
        return Err(request.forbidden("could not determine node from user"));
    };
    let names = request.resource.names();
    match (names.group, names.plural) {
        ("", "pods") => pods(request, node, object),
        ("", "nodes") => nodes(request, node, object),
        ("coordination.k8s.io", "leases") => leases(request, node),
        _ => Ok(()),
    }
}

fn pods(request: &Request<'_>, node: &str, object: Option<&dyn Object>) -> Result<(), ApiError> {
    let on = |object: Option<&dyn Object>| {
        let spec = object.and_then(typed::<Pod>).and_then(|pod| pod.spec.as_ref());
        spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default()
    };
    let why = match (request.operation, request.subresource) {
        (Operation::Create, "") => {
            let annotations = object.and_then(|pod| pod.meta().annotations.as_ref());
            let mirror =
                annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
            if mirror && on(object) == node {
                return Ok(());
            }
            format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
            )
        }
        (Operation::Update, "status") if on(request.old) == node => return Ok(()),
        (Operation::Delete, "") if on(request.old) == node => return Ok(()),
        (Operation::Update, "status") => {
            format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            )
        }
        (Operation::Delete, "") => {
            format!("node {node:?} can only delete pods with spec.nodeName set to itself")
        }
        (_, subresource) => format!(
            "unexpected pod subresource {subresource:?}, only 'status' and 'eviction' are allowed"
        ),
    };
    Err(request.forbidden(&why))
}

fn nodes(request: &Request<'_>, node: &str, object: Option<&dyn Object>) -> Result<(), ApiError> {
    let target = match request.name {
        "" => object.and_then(|object| object.meta().name.as_deref()).unwrap_or_default(),
        name => name,
    };
    if target != node {
        let why = format!("node {node:?} is not allowed to modify node {target:?}");
        return Err(request.forbidden(&why));
    }
    if request.operation == Operation::Delete {
        return Err(request.forbidden(&format!("node {node:?} cannot delete itself")));
    }
    let taints = |object: Option<&dyn Object>| {
        let node = object.and_then(typed::<Node>)?;
        node.spec.as_ref().and_then(|spec| spec.taints.clone()).filter(|taints| !taints.is_empty())
    };
    if request.operation == Operation::Update && taints(object) != taints(request.old) {
        let why = format!("node {node:?} is not allowed to modify taints");
        return Err(request.forbidden(&why));
    }
    Ok(())
}

fn leases(request: &Request<'_>, node: &str) -> Result<(), ApiError> {
    if request.namespace != LEASES {
        let why = format!("can only access leases in the {LEASES:?} system namespace");
        return Err(request.forbidden(&why));
    }
    if request.name != node {
        let why = "can only access node lease with the same name as the requesting node";
        return Err(request.forbidden(why));
    }
    Ok(())
}
