//! What a node may write: itself, its lease, and the pods that run on it.
//!
//! Source: kubernetes v1.36 `plugin/pkg/admission/noderestriction`.

use std::collections::{BTreeMap, BTreeSet};

use api::{ApiError, Object, status::About};
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequestSpec,
        core::v1::{Node, PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    AccessControl,
    node::{LEASES, PodReferences},
};
use crate::contract::{Operation, Write};

/// A pod that is a copy of one the node has from elsewhere.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels in Kubernetes' own domains that a node may say of itself.
const NODE_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
];

impl AccessControl {
    /// Refuses what the node that writes has no business with.
    pub(super) fn restrict_node(
        &self,
        node: &str,
        write: &Write<'_>,
        object: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        let names = write.resource.names();
        let verdict = match (names.group, names.plural, write.subresource) {
            ("", "pods", "") => self.pod(node, write, object),
            ("", "pods", "status") => pod_status(node, write, object),
            ("", "pods", "eviction") => own_pod(
                self.node_of(write),
                node,
                &format!("node {node} can only evict pods with spec.nodeName set to itself"),
            ),
            ("", "pods", other) => Err(format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            )),
            ("", "nodes", _) => own_node(node, write, object),
            ("", "persistentvolumeclaims", "status") => claim_status(node, write, object),
            ("", "persistentvolumeclaims", _) => Err("may only update PVC status".to_owned()),
            ("coordination.k8s.io", "leases", _) => lease(node, write, object),
            ("storage.k8s.io", "csinodes", _) => {
                let why = "can only access CSINode with the same name as the requesting node";
                same_name(node, write, object, why)
            }
            _ => Ok(()),
        };
        let about = About { group: names.group, resource: names.plural };
        verdict.map_err(|why| ApiError::forbidden(about, write.name, &why))
    }

    /// The node that the pod in question is bound to.
    fn node_of(&self, write: &Write<'_>) -> Option<String> {
        let place = (write.namespace.to_owned(), write.name.to_owned());
        self.directory.facts().pods.get(&place).map(|pod| pod.node.clone())
    }

    fn pod(
        &self,
        node: &str,
        write: &Write<'_>,
        object: Option<&dyn Object>,
    ) -> Result<(), String> {
        match write.operation {
            Operation::Create => self.mirror_pod(node, pod_of(object)?),
            Operation::Delete => own_pod(
                node_of(write.old),
                node,
                &format!("node {node:?} can only delete pods with spec.nodeName set to itself"),
            ),
            Operation::Update => Err(format!(
                "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
            )),
        }
    }

    fn mirror_pod(&self, node: &str, pod: &Pod) -> Result<(), String> {
        let annotations = pod.metadata.annotations.as_ref();
        if !annotations.is_some_and(|all| all.contains_key(MIRROR)) {
            return Err(format!(
                "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        let spec = pod.spec.clone().unwrap_or_default();
        if spec.node_name.as_deref() != Some(node) {
            return Err(format!(
                "node {node:?} can only create pods with spec.nodeName set to itself"
            ));
        }
        self.owned_by_node(node, &pod.metadata)?;
        let refused =
            |what: &str| Err(format!("node {node:?} can not create pods that reference {what}"));
        let references = PodReferences::of(&spec);
        if spec.service_account_name.is_some_and(|name| !name.is_empty()) {
            return refused("a service account");
        }
        if !references.secrets.is_empty() {
            return refused("secrets");
        }
        if !references.config_maps.is_empty() {
            return refused("configmaps");
        }
        if !references.claims.is_empty() {
            return refused("persistentvolumeclaims");
        }
        Ok(())
    }

    fn owned_by_node(&self, node: &str, meta: &ObjectMeta) -> Result<(), String> {
        let only = |what: &str| Err(format!("node {node:?} can only create pods with {what}"));
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = match owners {
            [] => return only("an owner reference set to itself"),
            [one] => one,
            _ => return only("a single owner reference set to itself"),
        };
        if (owner.api_version.as_str(), owner.kind.as_str(), owner.name.as_str())
            != ("v1", "Node", node)
        {
            return only("an owner reference set to itself");
        }
        if owner.controller != Some(true) {
            return only("a controller owner reference set to itself");
        }
        if owner.block_owner_deletion == Some(true) {
            return Err(format!(
                "node {node:?} must not set blockOwnerDeletion on an owner reference"
            ));
        }
        let facts = self.directory.facts();
        let uid = facts.nodes.get(node).map(|living| living.uid.as_str()).unwrap_or_default();
        if uid != owner.uid {
            return Err(format!("node {node} UID mismatch: expected {} got {uid}", owner.uid));
        }
        Ok(())
    }

    /// Refuses a token that the node asks for unless a pod on it is to have it.
    pub(super) fn restrict_token(
        &self,
        node: &str,
        namespace: &str,
        account: &str,
        spec: &TokenRequestSpec,
    ) -> Result<(), ApiError> {
        let about = About { group: "", resource: "serviceaccounts" };
        let refused = |why: &str| Err(ApiError::forbidden(about, account, why));
        let bound = spec.bound_object_ref.as_ref().filter(|bound| {
            bound.api_version.as_deref() == Some("v1") && bound.kind.as_deref() == Some("Pod")
        });
        let name = bound.and_then(|bound| bound.name.as_deref()).filter(|name| !name.is_empty());
        let Some((bound, name)) = bound.zip(name) else {
            return refused("node requested token not bound to a pod");
        };
        let Some(uid) = bound.uid.as_deref().filter(|uid| !uid.is_empty()) else {
            return refused("node requested token with a pod binding without a uid");
        };
        let facts = self.directory.facts();
        let Some(pod) = facts.pods.get(&(namespace.to_owned(), name.to_owned())) else {
            return Err(ApiError::not_found(About { group: "", resource: "pods" }, name));
        };
        if pod.living.uid != uid {
            return refused(&other_uid(uid));
        }
        if pod.node != node {
            return refused("node requested token bound to a pod scheduled on a different node");
        }
        Ok(())
    }
}

/// The sentence for a reference to an object's namesake.
pub(super) fn other_uid(uid: &str) -> String {
    format!(
        "the UID in the bound object reference ({uid}) does not match the UID in record. \
         The object might have been deleted and then recreated"
    )
}

fn pod_of(object: Option<&dyn Object>) -> Result<&Pod, String> {
    let pod = object.and_then(|object| object.as_any().downcast_ref());
    pod.ok_or_else(|| "unexpected type".to_owned())
}

fn node_of(object: Option<&dyn Object>) -> Option<String> {
    pod_of(object).ok()?.spec.as_ref()?.node_name.clone()
}

fn own_pod(found: Option<String>, node: &str, why: &str) -> Result<(), String> {
    if found.as_deref() == Some(node) { Ok(()) } else { Err(why.to_owned()) }
}

fn pod_status(node: &str, write: &Write<'_>, object: Option<&dyn Object>) -> Result<(), String> {
    if write.operation != Operation::Update {
        return Err("unexpected operation".to_owned());
    }
    let why = format!(
        "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
    );
    own_pod(node_of(write.old), node, &why)?;
    let (old, new) = (pod_of(write.old)?, pod_of(object)?);
    if old.metadata.labels.clone().unwrap_or_default()
        != new.metadata.labels.clone().unwrap_or_default()
    {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    Ok(())
}

fn claim_status(node: &str, write: &Write<'_>, object: Option<&dyn Object>) -> Result<(), String> {
    let rest = |object: Option<&dyn Object>| {
        let mut claim = object?.as_any().downcast_ref::<PersistentVolumeClaim>()?.clone();
        claim.metadata.resource_version = None;
        claim.metadata.managed_fields = None;
        let status = claim.status.get_or_insert_default();
        status.capacity = None;
        status.conditions = None;
        status.allocated_resources = None;
        status.allocated_resource_statuses = None;
        Some(claim)
    };
    if rest(write.old) == rest(object) {
        return Ok(());
    }
    Err(format!(
        "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
    ))
}

fn own_node(node: &str, write: &Write<'_>, object: Option<&dyn Object>) -> Result<(), String> {
    if write.name != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", write.name));
    }
    let typed = |object: Option<&dyn Object>| object?.as_any().downcast_ref::<Node>().cloned();
    let (new, old) = (typed(object), typed(write.old));
    let labels = |node: Option<&Node>| {
        node.and_then(|node| node.metadata.labels.clone()).unwrap_or_default()
    };
    let forbidden = forbidden_labels(&labels(new.as_ref()), &labels(old.as_ref()));
    let taints = |node: Option<&Node>| {
        node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default()
    };
    match write.operation {
        Operation::Create if !forbidden.is_empty() => Err(format!(
            "node {node:?} is not allowed to set the following labels: {}",
            forbidden.join(", ")
        )),
        Operation::Update if taints(new.as_ref()) != taints(old.as_ref()) => {
            Err(format!("node {node:?} is not allowed to modify taints"))
        }
        Operation::Update if !forbidden.is_empty() => {
            Err(format!("is not allowed to modify labels: {}", forbidden.join(", ")))
        }
        _ => Ok(()),
    }
}

fn forbidden_labels(new: &BTreeMap<String, String>, old: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let changed = keys.into_iter().filter(|key| new.get(*key) != old.get(*key));
    changed.filter(|key| is_forbidden_label(key)).cloned().collect()
}

fn is_forbidden_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _name)| domain);
    let within = |root: &str| {
        domain == root || domain.strip_suffix(root).is_some_and(|sub| sub.ends_with('.'))
    };
    let allowed = NODE_LABELS.contains(&key)
        || within("kubelet.kubernetes.io")
        || within("node.kubernetes.io");
    within("node-restriction.kubernetes.io")
        || ((within("kubernetes.io") || within("k8s.io")) && !allowed)
}

fn lease(node: &str, write: &Write<'_>, object: Option<&dyn Object>) -> Result<(), String> {
    if write.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    let why = "can only access node lease with the same name as the requesting node";
    same_name(node, write, object, why)
}

fn same_name(
    node: &str,
    write: &Write<'_>,
    object: Option<&dyn Object>,
    why: &str,
) -> Result<(), String> {
    let created = object.filter(|_object| write.operation == Operation::Create);
    let created = created.and_then(|object| object.meta().name.as_deref());
    if created.unwrap_or(write.name) == node { Ok(()) } else { Err(why.to_owned()) }
}
