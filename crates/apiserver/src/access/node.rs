//! What a node may: its own objects, and what the pods bound to it refer to.
//!
//! ```text
//!   node ◀─ pod ◀─ secret, configmap, service account, claim ◀─ volume ◀─ secret
//! ```
//!
//! Source: kubernetes v1.36 `plugin/pkg/auth/authorizer/node`.

use std::collections::BTreeSet;

use client::Identity;
use k8s_openapi::api::core::v1::{Container, PersistentVolume, PodSpec, Volume};

use super::directory::{Facts, Key};
use crate::contract::{Attributes, Subject};

/// Where each node renews the lease that says it lives.
pub(super) const LEASES: &str = "kube-node-lease";

/// The names that a pod refers to in its namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PodReferences {
    pub(super) secrets: BTreeSet<String>,
    pub(super) config_maps: BTreeSet<String>,
    pub(super) claims: BTreeSet<String>,
}

/// What a volume belongs to and needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VolumeReferences {
    /// The claim that has it.
    claim: Option<Key>,
    secrets: BTreeSet<Key>,
}

impl PodReferences {
    pub(super) fn of(spec: &PodSpec) -> Self {
        let mut found = Self::default();
        for secret in spec.image_pull_secrets.iter().flatten() {
            found.secrets.insert(secret.name.clone());
        }
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        for container in containers {
            found.add_container(container);
        }
        for container in spec.ephemeral_containers.iter().flatten() {
            found.add_env(container.env.as_ref(), container.env_from.as_ref());
        }
        for volume in spec.volumes.iter().flatten() {
            found.add_volume(volume);
        }
        found.secrets.remove("");
        found.config_maps.remove("");
        found
    }

    fn add_container(&mut self, container: &Container) {
        self.add_env(container.env.as_ref(), container.env_from.as_ref());
    }

    fn add_env(
        &mut self,
        env: Option<&Vec<k8s_openapi::api::core::v1::EnvVar>>,
        from: Option<&Vec<k8s_openapi::api::core::v1::EnvFromSource>>,
    ) {
        for source in from.into_iter().flatten() {
            self.secrets.extend(source.secret_ref.iter().map(|one| one.name.clone()));
            self.config_maps.extend(source.config_map_ref.iter().map(|one| one.name.clone()));
        }
        for source in env.into_iter().flatten().filter_map(|one| one.value_from.as_ref()) {
            self.secrets.extend(source.secret_key_ref.iter().map(|one| one.name.clone()));
            self.config_maps.extend(source.config_map_key_ref.iter().map(|one| one.name.clone()));
        }
    }

    fn add_volume(&mut self, volume: &Volume) {
        let secret = volume.secret.as_ref().and_then(|one| one.secret_name.clone());
        self.secrets.extend(secret);
        let csi = volume.csi.as_ref().and_then(|one| one.node_publish_secret_ref.as_ref());
        self.secrets.extend(csi.map(|one| one.name.clone()));
        self.config_maps.extend(volume.config_map.iter().map(|one| one.name.clone()));
        self.claims.extend(volume.persistent_volume_claim.iter().map(|one| one.claim_name.clone()));
        let projected = volume.projected.as_ref().and_then(|one| one.sources.as_ref());
        for source in projected.into_iter().flatten() {
            self.secrets.extend(source.secret.iter().map(|one| one.name.clone()));
            self.config_maps.extend(source.config_map.iter().map(|one| one.name.clone()));
        }
    }
}

impl VolumeReferences {
    pub(super) fn of(volume: &PersistentVolume) -> Self {
        let Some(spec) = &volume.spec else {
            return Self::default();
        };
        let claim = spec
            .claim_ref
            .as_ref()
            .and_then(|claim| Some((claim.namespace.clone()?, claim.name.clone()?)));
        let csi = spec.csi.as_ref();
        let secrets = csi.into_iter().flat_map(|csi| {
            [&csi.node_publish_secret_ref, &csi.node_stage_secret_ref, &csi.node_expand_secret_ref]
        });
        let secrets = secrets
            .flatten()
            .filter_map(|secret| Some((secret.namespace.clone()?, secret.name.clone()?)))
            .collect();
        Self { claim, secrets }
    }
}

/// The node's name, where the user is a node: `system:node:NAME` in `system:nodes`.
pub(super) fn node_name(user: &Identity) -> Option<&str> {
    let member = user.groups.iter().any(|group| group == "system:nodes");
    user.user.strip_prefix("system:node:").filter(|_name| member)
}

/// Whether a node may do this; otherwise why not, possibly in no words.
pub(super) fn decide(facts: &Facts, node: &str, attributes: &Attributes<'_>) -> Result<(), String> {
    if node.is_empty() {
        return Err(format!("unknown node for user {:?}", attributes.user.user));
    }
    let Subject::Resource { group, resource, subresource, namespace, name, .. } = attributes.target
    else {
        return Err(String::new());
    };
    let verb = attributes.verb;
    let related = |found: bool| {
        let why = || format!("no relationship found between node '{node}' and this object");
        found.then_some(()).ok_or_else(why)
    };
    match (group, resource, subresource) {
        ("", "secrets" | "configmaps", "") => {
            if !matches!(verb, "get" | "list" | "watch") {
                return Err("can only read resources of this type".to_owned());
            }
            if namespace.is_empty() {
                return Err("can only read namespaced object of this type".to_owned());
            }
            if name.is_empty() {
                return Err("No Object name found".to_owned());
            }
            related(refers(facts, node, resource, namespace, name))
        }
        ("", "secrets" | "configmaps", _) => Err("cannot read subresource".to_owned()),
        ("", "persistentvolumeclaims", "status") => {
            if !matches!(verb, "update" | "patch") {
                return Err("can only get/update/patch this type".to_owned());
            }
            related(refers(facts, node, resource, namespace, name))
        }
        ("", "persistentvolumeclaims" | "persistentvolumes", _) => {
            only_get(verb, subresource)?;
            related(refers(facts, node, resource, namespace, name))
        }
        ("", "serviceaccounts", "token") if verb == "create" && !name.is_empty() => {
            let mut pods = facts.pods_on(node);
            related(pods.any(|((of, _pod), pod)| of == namespace && pod.account == name))
        }
        ("", "serviceaccounts", _) => {
            Err("can only create tokens for individual service accounts".to_owned())
        }
        ("coordination.k8s.io", "leases", "") => lease(node, verb, namespace, name),
        ("storage.k8s.io", "csinodes", "") => csi_node(node, verb, name),
        ("", "nodes", _) => own_node(node, verb, subresource, name),
        ("", "pods", _) => pod(facts, node, verb, subresource, namespace, name, related),
        _ => rule(group, resource, subresource, verb),
    }
}

fn only_get(verb: &str, subresource: &str) -> Result<(), String> {
    if verb != "get" {
        return Err("can only get individual resources of this type".to_owned());
    }
    if !subresource.is_empty() {
        return Err("cannot get subresource".to_owned());
    }
    Ok(())
}

fn lease(node: &str, verb: &str, namespace: &str, name: &str) -> Result<(), String> {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_owned());
    }
    if namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if verb != "create" && name != node {
        let why = "can only access node lease with the same name as the requesting node";
        return Err(why.to_owned());
    }
    Ok(())
}

fn csi_node(node: &str, verb: &str, name: &str) -> Result<(), String> {
    if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a CSINode".to_owned());
    }
    if verb != "create" && name != node {
        return Err("can only access CSINode with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn own_node(node: &str, verb: &str, subresource: &str, name: &str) -> Result<(), String> {
    match (subresource, verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if name == node => Ok(()),
        ("", "get" | "list" | "watch") if name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
        }
        _ => Err(String::new()),
    }
}

/// Lists and watches of pods are allowed as a whole: requests do not carry their selectors here.
fn pod(
    facts: &Facts,
    node: &str,
    verb: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
    related: impl Fn(bool) -> Result<(), String>,
) -> Result<(), String> {
    match (subresource, verb) {
        ("", "get") => {
            let place = (namespace.to_owned(), name.to_owned());
            related(facts.pods.get(&place).is_some_and(|pod| pod.node == node))
        }
        ("", "list" | "watch" | "create" | "delete")
        | ("status", "update" | "patch")
        | ("eviction", "create") => Ok(()),
        _ => Err(String::new()),
    }
}

/// What every node may alike.
fn rule(group: &str, resource: &str, subresource: &str, verb: &str) -> Result<(), String> {
    let read = matches!(verb, "get" | "list" | "watch");
    let allowed = match (group, resource, subresource) {
        ("authentication.k8s.io", "tokenreviews", "")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => {
            verb == "create"
        }
        ("", "services", "")
        | ("storage.k8s.io", "csidrivers", "")
        | ("node.k8s.io", "runtimeclasses", "") => read,
        ("" | "events.k8s.io", "events", "") => matches!(verb, "create" | "update" | "patch"),
        ("certificates.k8s.io", "certificatesigningrequests", "") => read || verb == "create",
        _ => false,
    };
    allowed.then_some(()).ok_or_else(String::new)
}

/// Whether a pod of this node leads to the object.
fn refers(facts: &Facts, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
    facts.pods_on(node).any(|((of, _pod), pod)| {
        let own = of == namespace;
        let claims = || pod.references.claims.iter().map(|claim| (of.clone(), claim.clone()));
        match resource {
            "configmaps" => own && pod.references.config_maps.contains(name),
            "persistentvolumeclaims" => own && pod.references.claims.contains(name),
            "persistentvolumes" => claims().any(|claim| holds(facts, &claim, name)),
            "secrets" => {
                let secret = (namespace.to_owned(), name.to_owned());
                let of_volume = |claim: Key| {
                    let volume = facts.claims.get(&claim).filter(|name| holds(facts, &claim, name));
                    let volume = volume.and_then(|name| facts.volumes.get(name));
                    volume.is_some_and(|volume| volume.secrets.contains(&secret))
                };
                (own && pod.references.secrets.contains(name)) || claims().any(of_volume)
            }
            _ => false,
        }
    })
}

/// Whether claim and volume name each other.
fn holds(facts: &Facts, claim: &Key, volume: &str) -> bool {
    let back = facts.volumes.get(volume).and_then(|found| found.claim.as_ref());
    facts.claims.get(claim).is_some_and(|name| name == volume) && back == Some(claim)
}
