//! The scheduler: pods without a node, the cluster they could go to, and what is under way.
//!
//! The cluster is kept up by every change of a node or a pod, and a pod counts on its node from
//! the decision on. Decisions are made one at a time under one lock; writes run side by side. A
//! refused pod is looked at again when something changes that can help, never by the clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::object::reference;
use client::Key;
use controllers::{Action, Note, Outcome, PatchKind, Plan, Target, Verb, Wait};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodCondition},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use scheduler::{
    BOUND_BY_CONTROLLER, Cluster, Placement, Refusal, SELECTED_NODE, Storage, Verdict, View,
    claim_names, schedule,
};
use serde_json::json;

use super::{name, namespace};
use crate::{Caches, Controller, Failed, Wakes, start::SCHEDULER_CLIENT};

/// Index of volumes: their class.
const CLASS: &str = "class";
/// Longest message of an event; upstream cuts longer ones.
const MESSAGE_MAX_BYTES: usize = 1024;

#[derive(Default)]
pub(super) struct Scheduling {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cluster: Cluster,
    /// Pods that were refused or wait for volumes.
    pending: BTreeMap<Key, Pending>,
    /// Uids of pods whose binding is under way or not yet seen.
    binding: BTreeSet<String>,
    /// Volumes promised to a claim (its uid), until the watch shows it.
    reserved: BTreeMap<String, String>,
}

/// What could help a pod that waits.
#[derive(Debug, Clone, Copy)]
struct Pending {
    claims: bool,
    company: bool,
}

/// What one decision about a pod sees beside the cluster.
pub(super) struct Seen {
    pod: Arc<Pod>,
    storage: Storage,
    now: Timestamp,
}

impl Controller for Scheduling {
    type View = Seen;

    fn name(&self) -> &'static str {
        SCHEDULER_CLIENT
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let me = Arc::clone(self);
        wakes.on_change::<Node>(move |old, new| me.node_changed(old, new));
        let me = Arc::clone(self);
        wakes.on_change::<Pod>(move |old, new| me.pod_changed(old, new));
        let me = Arc::clone(self);
        wakes.on_change::<Namespace>(move |old, new| me.namespace_changed(old, new));
        wakes.reads_by::<PersistentVolume>((CLASS, |volume| {
            let spec = volume.spec.as_ref();
            vec![spec.and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default()]
        }));
        let me = Arc::clone(self);
        wakes.on_change::<PersistentVolume>(move |_, new| me.volume_changed(new));
        let me = Arc::clone(self);
        wakes.on::<PersistentVolumeClaim>(move |_| me.waiting(|pending| pending.claims));
        let me = Arc::clone(self);
        wakes.on::<StorageClass>(move |_| me.waiting(|pending| pending.claims));
    }

    fn view(&self, key: &Key, caches: &Caches, now: Timestamp) -> Option<Seen> {
        let pod = caches.of::<Pod>().get(&key.namespace, &key.name);
        let Some(pod) = pod.filter(|pod| wants_a_node(pod)) else {
            self.lock().pending.remove(key);
            return None;
        };
        let storage = storage(&pod, caches);
        Some(Seen { pod, storage, now })
    }

    fn reconcile(&self, seen: &Seen) -> Plan {
        let mut state = self.lock();
        let pod = &seen.pod;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if state.binding.contains(&uid) {
            return Plan::default();
        }
        let (space, own) = (namespace(&pod.metadata), name(&pod.metadata));
        state.cluster.forget(space, own);
        let mut storage = seen.storage.clone();
        storage.available.retain(|volume| {
            state.reserved.get(name(&volume.metadata)).is_none_or(|claim| {
                storage.claims.values().any(|ours| ours.metadata.uid.as_ref() == Some(claim))
            })
        });
        let verdict = schedule(&View { pod, cluster: &state.cluster, storage: &storage });
        let key = Key::of(&pod.metadata);
        state.pending.remove(&key);
        match verdict {
            Verdict::Gated => Plan::default(),
            Verdict::Bind(node) => {
                state.cluster.assume(pod, &node);
                state.binding.insert(uid);
                bind(pod, node)
            }
            Verdict::Prepare(placement) => {
                state.cluster.assume(pod, &placement.node);
                state.pending.insert(key, pending(pod));
                for (claim, volume) in &placement.reserve {
                    let uid = claim.metadata.uid.clone().unwrap_or_default();
                    state.reserved.insert(name(&volume.metadata).to_owned(), uid);
                }
                prepare(&placement)
            }
            Verdict::Refused(refusal) => {
                state.pending.insert(key, pending(pod));
                refuse(pod, &refusal, seen.now)
            }
        }
    }

    fn carried_out(&self, key: &Key, plan: &Plan, failed: Option<&Failed>) {
        if failed.is_none() {
            return;
        }
        let mut state = self.lock();
        for action in &plan.actions {
            match &action.verb {
                Verb::Bind { target, .. } => {
                    state.binding.remove(&target.uid);
                    state.cluster.forget(&key.namespace, &key.name);
                }
                Verb::Update { object, .. } => {
                    state.reserved.remove(name(object.meta()));
                }
                _ => (),
            }
        }
    }
}

impl Scheduling {
    fn node_changed(&self, old: Option<&Arc<Node>>, new: Option<&Arc<Node>>) -> Vec<Key> {
        let mut state = self.lock();
        match (old, new) {
            (_, Some(node)) => state.cluster.put_node(Arc::clone(node)),
            (Some(node), None) => state.cluster.remove_node(name(&node.metadata)),
            (None, None) => (),
        }
        let parts = |node: &Arc<Node>| {
            let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone());
            (node.metadata.labels.clone(), node.spec.clone(), allocatable)
        };
        drop(state);
        if old.map(parts) == new.map(parts) { Vec::new() } else { self.waiting(|_| true) }
    }

    fn pod_changed(&self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) -> Vec<Key> {
        let Some(pod) = new.or(old) else { return Vec::new() };
        let mut state = self.lock();
        match new {
            Some(pod) => state.cluster.put_pod(pod),
            None => state.cluster.remove_pod(namespace(&pod.metadata), name(&pod.metadata)),
        }
        let placed = |pod: &&Arc<Pod>| !node_name(pod).is_empty();
        for uid in [old, new].into_iter().flatten().filter_map(|pod| pod.metadata.uid.as_ref()) {
            if new.is_none_or(|now| placed(&now) || now.metadata.uid.as_ref() != Some(uid)) {
                state.binding.remove(uid);
            }
        }
        drop(state);
        let counted = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| placed(&pod) && !ended(pod));
        let mut keys = match (counted(old), counted(new)) {
            (true, false) => self.waiting(|_| true),
            (false, true) => self.waiting(|pending| pending.company),
            (true, true) if old.map(|p| &p.metadata.labels) != new.map(|p| &p.metadata.labels) => {
                self.waiting(|pending| pending.company)
            }
            _ => Vec::new(),
        };
        if new.is_none_or(|pod| wants_a_node(pod)) {
            keys.push(Key::of(&pod.metadata));
        }
        keys
    }

    fn namespace_changed(
        &self,
        old: Option<&Arc<Namespace>>,
        new: Option<&Arc<Namespace>>,
    ) -> Vec<Key> {
        let mut state = self.lock();
        match (old, new) {
            (_, Some(space)) => {
                let labels = space.metadata.labels.clone().unwrap_or_default();
                state.cluster.put_namespace(name(&space.metadata), labels);
            }
            (Some(space), None) => state.cluster.remove_namespace(name(&space.metadata)),
            (None, None) => (),
        }
        drop(state);
        let labels = |space: &Arc<Namespace>| space.metadata.labels.clone();
        if old.map(labels) == new.map(labels) {
            return Vec::new();
        }
        self.waiting(|pending| pending.company)
    }

    fn volume_changed(&self, new: Option<&Arc<PersistentVolume>>) -> Vec<Key> {
        if let Some(volume) = new
            && volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some())
        {
            self.lock().reserved.remove(name(&volume.metadata));
        }
        self.waiting(|pending| pending.claims)
    }

    fn waiting(&self, which: impl Fn(&Pending) -> bool) -> Vec<Key> {
        let state = self.lock();
        let waiting = state.pending.iter().filter(|(_, pending)| which(pending));
        waiting.map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pod's claims and all that could serve them.
fn storage(pod: &Pod, caches: &Caches) -> Storage {
    let mut storage = Storage::default();
    let space = namespace(&pod.metadata);
    let mut classes = BTreeSet::new();
    for claim_name in claim_names(pod) {
        let Some(claim) = caches.of::<PersistentVolumeClaim>().get(space, &claim_name) else {
            continue;
        };
        let spec = claim.spec.as_ref();
        let volume = spec.and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
        let class = spec.and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default();
        if volume.is_empty() {
            classes.insert(class.clone());
        } else if let Some(found) = caches.of::<PersistentVolume>().get("", &volume) {
            storage.bound.insert(volume, found);
        }
        if let Some(found) = caches.of::<StorageClass>().get("", &class) {
            storage.classes.insert(class, found);
        }
        storage.claims.insert(claim_name, claim);
    }
    for class in classes {
        storage.available.extend(caches.of::<PersistentVolume>().by(CLASS, &class));
    }
    storage
}

fn bind(pod: &Pod, node: String) -> Plan {
    let target = Target::of(pod);
    let message = format!("Successfully assigned {}/{} to {node}", target.namespace, target.name);
    let success = Some(Note::normal("Scheduled", message));
    let events = Some(Outcome { regarding: target.clone(), success, failure: Vec::new() });
    let action = Action::new(Verb::Bind { target, node }, "a node has room for it");
    Plan { actions: vec![Action { events, ..action }], ..Plan::default() }
}

fn prepare(placement: &Placement) -> Plan {
    let mut plan = Plan::default();
    for (claim, volume) in &placement.reserve {
        let mut reserved = PersistentVolume::clone(volume);
        if let Some(spec) = &mut reserved.spec {
            spec.claim_ref = Some(reference(&**claim));
        }
        let annotations = reserved.metadata.annotations.get_or_insert_default();
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        plan.actions.push(Action::update(reserved, None, "it fits the claim and the node"));
    }
    for claim in &placement.provision {
        let meta = &claim.metadata;
        let body = json!({"metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "annotations": {SELECTED_NODE: placement.node},
        }});
        let why = "its volume shall be made where the pod goes";
        plan.actions.push(Action::merge(Target::of(&**claim), None, body, why));
    }
    plan.waits = placement.unbound.iter().cloned().map(Wait::Bound).collect();
    plan
}

/// Says it in the pod's condition and in an event, unless the condition says so already.
fn refuse(pod: &Pod, refusal: &Refusal, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let old = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let reason = refusal.kind.reason();
    let said = old.is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(&refusal.message)
    });
    if said {
        return plan;
    }
    let since = old.filter(|condition| condition.status == "False");
    let since = since.and_then(|condition| condition.last_transition_time.clone());
    let condition = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(refusal.message.clone()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    let target = Target::of(pod);
    let body = json!({
        "metadata": {"uid": target.uid},
        "status": {"conditions": [condition]},
    });
    let note = Note::warning("FailedScheduling", cut(&refusal.message));
    let failure = vec![note.clone()];
    let events = Some(Outcome { regarding: target.clone(), success: Some(note), failure });
    let subresource = Some("status");
    let verb = Verb::Patch { target, subresource, kind: PatchKind::Strategic, body };
    plan.actions.push(Action { events, ..Action::new(verb, "no node will do") });
    plan
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_MAX_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_MAX_BYTES - 4);
    format!("{} ...", &message[..end])
}

fn pending(pod: &Pod) -> Pending {
    let spec = pod.spec.as_ref();
    let company = spec.is_some_and(|spec| {
        let spread = spec.topology_spread_constraints.as_ref();
        let affinity = spec.affinity.as_ref();
        spread.is_some_and(|spread| !spread.is_empty())
            || affinity.is_some_and(|a| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some())
    });
    Pending { claims: !claim_names(pod).is_empty(), company }
}

fn wants_a_node(pod: &Pod) -> bool {
    let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    node_name(pod).is_empty()
        && pod.metadata.deletion_timestamp.is_none()
        && !ended(pod)
        && matches!(scheduler, None | Some("" | SCHEDULER_CLIENT))
}

fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
