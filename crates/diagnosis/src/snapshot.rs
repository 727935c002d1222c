//! What was found around the object in question, at one instant, and how to look things up in it.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    k8s::{
        api::{
            apps::v1::{ControllerRevision, StatefulSet},
            core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service},
            discovery::v1::EndpointSlice,
            storage::v1::StorageClass,
        },
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    },
    policy::StatefulSetPolicy,
};
use jiff::Timestamp;

/// One namespace and the cluster's own objects, as far as they could be read.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The namespace of all namespaced objects below.
    pub namespace: String,
    /// Its StatefulSets.
    pub sets: Vec<Arc<StatefulSet>>,
    /// Its ControllerRevisions.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Its StatefulSetPolicies.
    pub policies: Vec<Arc<StatefulSetPolicy>>,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// Its claims.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Its Services.
    pub services: Vec<Arc<Service>>,
    /// Its EndpointSlices.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Its events.
    pub events: Vec<Arc<Event>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// All volumes.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// All storage classes.
    pub classes: Vec<Arc<StorageClass>>,
    /// Pods of the other namespaces, which take room on nodes.
    pub elsewhere: Vec<Arc<Pod>>,
    /// Last lines of logs, oldest first.
    pub logs: BTreeMap<Log, Vec<String>>,
    /// What could not be read, and the server's sentence.
    pub unseen: BTreeMap<Part, String>,
}

/// A part of the snapshot that may be missing, by the server's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `statefulsets`
    Sets,
    /// `controllerrevisions`
    Revisions,
    /// `statefulsetpolicies`
    Policies,
    /// `pods`
    Pods,
    /// `persistentvolumeclaims`
    Claims,
    /// `services`
    Services,
    /// `endpointslices`
    Slices,
    /// `events`
    Events,
    /// `nodes`
    Nodes,
    /// `persistentvolumes`
    Volumes,
    /// `storageclasses`
    Classes,
    /// `pods` of all namespaces
    Elsewhere,
    /// `pods/log`
    Logs,
}

impl Part {
    /// As a person would name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Sets => "statefulsets",
            Part::Revisions => "controllerrevisions",
            Part::Policies => "statefulsetpolicies",
            Part::Pods => "pods",
            Part::Claims => "persistentvolumeclaims",
            Part::Services => "services",
            Part::Slices => "endpointslices",
            Part::Events => "events",
            Part::Nodes => "nodes",
            Part::Volumes => "persistentvolumes",
            Part::Classes => "storageclasses",
            Part::Elsewhere => "pods of other namespaces",
            Part::Logs => "logs",
        }
    }
}

/// One container's log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// That of its last run instead of the current one.
    pub previous: bool,
}

impl Snapshot {
    /// Whether this part was read whole, so that what is not in it is not there.
    pub(crate) fn knows(&self, part: Part) -> bool {
        !self.unseen.contains_key(&part)
    }

    pub(crate) fn set(&self, name: &str) -> Option<&Arc<StatefulSet>> {
        self.sets.iter().find(|set| named(&set.metadata, name))
    }

    /// The policies that speak for this set; more than one is none that acts.
    pub(crate) fn policies(&self, set: &str) -> Vec<&StatefulSetPolicy> {
        let of_set = |policy: &&Arc<StatefulSetPolicy>| policy.spec.stateful_set_name == set;
        self.policies.iter().filter(of_set).map(|policy| &**policy).collect()
    }

    pub(crate) fn pod(&self, name: &str) -> Option<&Arc<Pod>> {
        self.pods.iter().find(|pod| named(&pod.metadata, name))
    }

    pub(crate) fn claim(&self, name: &str) -> Option<&Arc<PersistentVolumeClaim>> {
        self.claims.iter().find(|claim| named(&claim.metadata, name))
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| named(&service.metadata, name))
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| named(&node.metadata, name))
    }

    pub(crate) fn volume(&self, name: &str) -> Option<&Arc<PersistentVolume>> {
        self.volumes.iter().find(|volume| named(&volume.metadata, name))
    }

    pub(crate) fn class(&self, name: &str) -> Option<&Arc<StorageClass>> {
        self.classes.iter().find(|class| named(&class.metadata, name))
    }

    /// Events about this object, newest first; namesakes of other uids are left out.
    pub(crate) fn events(&self, kind: &str, meta: &ObjectMeta) -> Vec<&Event> {
        let about = |event: &&Arc<Event>| {
            let object = &event.involved_object;
            let same_uid = match (&object.uid, &meta.uid) {
                (Some(theirs), Some(ours)) if !theirs.is_empty() => theirs == ours,
                _ => true,
            };
            object.kind.as_deref() == Some(kind) && object.name == meta.name && same_uid
        };
        let mut found: Vec<&Event> =
            self.events.iter().filter(about).map(|event| &**event).collect();
        found.sort_by_key(|event| std::cmp::Reverse(last_seen(event)));
        found
    }

    /// The newest event about this object with one of these reasons.
    pub(crate) fn event(&self, kind: &str, meta: &ObjectMeta, reasons: &[&str]) -> Option<&Event> {
        let fits = |event: &&Event| reasons.contains(&event.reason.as_deref().unwrap_or_default());
        self.events(kind, meta).into_iter().find(fits)
    }

    /// Pods that use this claim and have not ended.
    pub(crate) fn users(&self, claim: &str) -> Vec<&Arc<Pod>> {
        let uses = |pod: &&Arc<Pod>| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            scheduler::claim_names(pod).iter().any(|name| name == claim)
                && !matches!(phase, Some("Failed" | "Succeeded"))
        };
        self.pods.iter().filter(uses).collect()
    }
}

pub(crate) fn named(meta: &ObjectMeta, name: &str) -> bool {
    meta.name.as_deref() == Some(name)
}

/// The object's name; empty when it has none, which no server's object does.
pub(crate) fn name_of(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// The one owner with `controller: true`.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// When an event was seen last.
pub(crate) fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    series
        .map(|time| time.0)
        .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// When an event was seen first.
pub(crate) fn first_seen(event: &Event) -> Option<Timestamp> {
    event
        .first_timestamp
        .as_ref()
        .map(|time| time.0)
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| last_seen(event))
}

pub(crate) fn created_at(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}
