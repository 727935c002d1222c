//! The pod's claims: bound ones tie it to nodes, waiting ones need a volume that fits one.

use std::{collections::BTreeMap, sync::Arc};

use api::{quantity::whole_of, selector::nodes};
use k8s_openapi::api::{
    core::v1::{
        Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod,
        TopologySelectorTerm,
    },
    storage::v1::StorageClass,
};

use crate::{selector, verdict::Fault};

/// On a claim: the binder has finished with it.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a volume: its `claimRef` was set by the system, not by a person.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: where its volume shall be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What the scheduler sees of storage for one pod.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// The pod's claims, by name, as far as they exist.
    pub claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    /// Volumes that bound claims name.
    pub bound: BTreeMap<String, Arc<PersistentVolume>>,
    /// Volumes that unbound claims could take: all of their classes, ordered by name.
    pub available: Vec<Arc<PersistentVolume>>,
    /// The classes that the claims name.
    pub classes: BTreeMap<String, Arc<StorageClass>>,
}

/// The names of the claims that the pod's volumes use, in the pod's order.
#[must_use]
pub fn claim_names(pod: &Pod) -> Vec<String> {
    uses(pod).into_iter().map(|(name, _)| name).collect()
}

/// The size the claim asks for, in bytes; 0 when it names none.
#[must_use]
pub fn claim_requests_bytes(claim: &PersistentVolumeClaim) -> i64 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    whole_of(requests, "storage")
}

/// Claim names, and whether the claim is made from a template in the pod itself.
fn uses(pod: &Pod) -> Vec<(String, bool)> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => Some((source.claim_name.clone(), false)),
            (None, Some(_)) => Some((format!("{name}-{}", volume.name), true)),
            (None, None) => None,
        })
        .collect()
}

/// The pod's claims, sorted by what they need.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// Small ones first, so that they do not take the large volumes.
    delayed: Vec<Arc<PersistentVolumeClaim>>,
}

/// How a pod's unbound claims would be served on one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving {
    pub(crate) reserve: Vec<(Arc<PersistentVolumeClaim>, Arc<PersistentVolume>)>,
    pub(crate) provision: Vec<Arc<PersistentVolumeClaim>>,
}

impl Claims {
    /// Sorts them, or says why the pod must wait whatever the node.
    pub(crate) fn of(pod: &Pod, storage: &Storage) -> Result<Self, String> {
        let mut claims = Claims::default();
        for (name, from_template) in uses(pod) {
            let Some(claim) = storage.claims.get(&name) else {
                return Err(if from_template {
                    format!(
                        "waiting for ephemeral volume controller to create the \
                         persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                });
            };
            let volume = volume_name(claim);
            if claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Lost") {
                return Err(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume \
                     {volume:?}"
                ));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            if from_template && !owned_by(claim, pod) {
                return Err(format!(
                    "PVC {}/{name} was not created for pod {}/{} (pod is not owner)",
                    claim.metadata.namespace.as_deref().unwrap_or_default(),
                    pod.metadata.namespace.as_deref().unwrap_or_default(),
                    pod.metadata.name.as_deref().unwrap_or_default(),
                ));
            }
        }
        let mut immediate = false;
        for (name, _) in uses(pod) {
            let Some(claim) = storage.claims.get(&name) else { continue };
            if fully_bound(claim) {
                claims.bound.push(Arc::clone(claim));
            } else if volume_name(claim).is_empty() && waits_for_consumer(claim, storage) {
                claims.delayed.push(Arc::clone(claim));
            } else {
                immediate = true;
            }
        }
        if immediate {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        claims.delayed.sort_by_key(|claim| claim_requests_bytes(claim));
        Ok(claims)
    }

    /// Whether every claim is bound.
    pub(crate) fn all_bound(&self) -> bool {
        self.delayed.is_empty()
    }

    /// The names of those that are not, in the order in which they are served.
    pub(crate) fn unbound(&self) -> Vec<String> {
        self.delayed.iter().filter_map(|claim| claim.metadata.name.clone()).collect()
    }

    /// How the claims would be served on this node, or why they cannot be.
    pub(crate) fn on(&self, node: &Node, storage: &Storage) -> Result<Serving, Fault> {
        let mut reasons = Vec::new();
        let bound = self.bound.iter().map(|claim| storage.bound.get(&volume_name(claim)));
        let bound: Vec<_> = bound.collect();
        let elsewhere = |volume: &&Arc<PersistentVolume>| !reaches(volume, node);
        if bound.iter().flatten().any(elsewhere) {
            reasons.push("node(s) didn't match PersistentVolume's node affinity".to_owned());
        }
        let serving = self.serve(node, storage);
        if serving.is_none() {
            reasons.push("node(s) didn't find available persistent volumes to bind".to_owned());
        }
        if bound.iter().any(Option::is_none) {
            reasons.push(
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
                    .to_owned(),
            );
        }
        match serving {
            Some(serving) if reasons.is_empty() => Ok(serving),
            _ => Err(Fault { reasons, resolvable: false }),
        }
    }

    fn serve(&self, node: &Node, storage: &Storage) -> Option<Serving> {
        let mut serving = Serving::default();
        let mut taken: Vec<&str> = Vec::new();
        for claim in &self.delayed {
            let annotations = claim.metadata.annotations.as_ref();
            match annotations.and_then(|annotations| annotations.get(SELECTED_NODE)) {
                Some(chosen) if Some(chosen) != node.metadata.name.as_ref() => return None,
                Some(_) => serving.provision.push(Arc::clone(claim)),
                None => match fitting(claim, node, storage, &taken) {
                    Fit::Volume(volume) => {
                        taken.push(volume.metadata.name.as_deref().unwrap_or_default());
                        serving.reserve.push((Arc::clone(claim), Arc::clone(volume)));
                    }
                    Fit::Elsewhere => return None,
                    Fit::None if provisionable(claim, node, storage) => {
                        serving.provision.push(Arc::clone(claim));
                    }
                    Fit::None => return None,
                },
            }
        }
        Some(serving)
    }
}

enum Fit<'a> {
    Volume(&'a Arc<PersistentVolume>),
    /// Its volume is already chosen and does not reach this node.
    Elsewhere,
    None,
}

/// The smallest volume that fits the claim and reaches the node; one bound to it comes first.
fn fitting<'a>(
    claim: &PersistentVolumeClaim,
    node: &Node,
    storage: &'a Storage,
    taken: &[&str],
) -> Fit<'a> {
    let size = claim_requests_bytes(claim);
    let mut best: Option<(i64, &Arc<PersistentVolume>)> = None;
    for volume in &storage.available {
        let Some(spec) = &volume.spec else { continue };
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let ours = reserved_for(spec, claim);
        let capacity = capacity_bytes(spec);
        if taken.contains(&name)
            || spec.claim_ref.is_some() && !ours
            || capacity < size
            || !same_mode(claim, spec)
            || volume.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let reaches = reaches(volume, node);
        if ours {
            return if reaches { Fit::Volume(volume) } else { Fit::Elsewhere };
        }
        let smaller = best.is_none_or(|(least, _)| capacity < least);
        if smaller && reaches && is_available(volume) && suits(claim, volume, spec) {
            best = Some((capacity, volume));
        }
    }
    best.map_or(Fit::None, |(_, volume)| Fit::Volume(volume))
}

/// Class, selector, access modes and attributes class.
fn suits(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
    spec: &PersistentVolumeSpec,
) -> bool {
    let Some(wanted) = &claim.spec else { return false };
    let labels = volume.metadata.labels.clone().unwrap_or_default();
    let offered = spec.access_modes.as_deref().unwrap_or_default();
    let class = |name: &Option<String>| name.clone().unwrap_or_default();
    wanted.selector.as_ref().is_none_or(|selector| selector::selects(Some(selector), &labels))
        && class_name(claim) == class(&spec.storage_class_name)
        && class(&wanted.volume_attributes_class_name) == class(&spec.volume_attributes_class_name)
        && wanted.access_modes.iter().flatten().all(|mode| offered.contains(mode))
}

/// Whether a provisioner may make the volume for this node.
fn provisionable(claim: &PersistentVolumeClaim, node: &Node, storage: &Storage) -> bool {
    let Some(class) = storage.classes.get(&class_name(claim)) else { return false };
    if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER {
        return false;
    }
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    terms.is_empty() || terms.iter().any(|term| topology_fits(term, node))
}

fn topology_fits(term: &TopologySelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    term.match_label_expressions.iter().flatten().all(|rule| {
        labels
            .and_then(|labels| labels.get(&rule.key))
            .is_some_and(|value| rule.values.contains(value))
    })
}

/// Whether the volume can be used on this node, by its node affinity.
#[must_use]
pub fn reaches(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|required| nodes::node_selector_fits(required, node))
}

fn reserved_for(spec: &PersistentVolumeSpec, claim: &PersistentVolumeClaim) -> bool {
    spec.claim_ref.as_ref().is_some_and(|reference| {
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && reference
                .uid
                .as_ref()
                .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

fn same_mode(claim: &PersistentVolumeClaim, spec: &PersistentVolumeSpec) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
    let offered = spec.volume_mode.as_deref();
    wanted.unwrap_or("Filesystem") == offered.unwrap_or("Filesystem")
}

fn is_available(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
}

fn capacity_bytes(spec: &PersistentVolumeSpec) -> i64 {
    whole_of(spec.capacity.as_ref(), "storage")
}

fn volume_name(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default()
}

fn fully_bound(claim: &PersistentVolumeClaim) -> bool {
    let annotations = claim.metadata.annotations.as_ref();
    !volume_name(claim).is_empty()
        && annotations.is_some_and(|annotations| annotations.contains_key(BIND_COMPLETED))
}

/// The claim's class: the old annotation wins over the field, as upstream has it.
fn class_name(claim: &PersistentVolumeClaim) -> String {
    let annotations = claim.metadata.annotations.as_ref();
    let old = annotations.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    old.or(field).cloned().unwrap_or_default()
}

/// A class that does not exist does not wait: its claims are immediate ones that never bind.
fn waits_for_consumer(claim: &PersistentVolumeClaim, storage: &Storage) -> bool {
    let class = storage.classes.get(&class_name(claim));
    class.is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

fn owned_by(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|o| o.controller == Some(true) && Some(&o.uid) == pod.metadata.uid.as_ref())
}
