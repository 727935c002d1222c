//! A world in small: it carries plans out on the view, and pods become ready or end on command.

use std::sync::Arc;

use api::{
    k8s::{
        api::{
            apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
            core::v1::{PersistentVolumeClaim, Pod},
        },
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    },
    policy::StatefulSetPolicy,
};
use serde_json::{Value, json};

use super::{
    super::{Rules, View, reconcile},
    case::{pod, set, short, view},
};
use crate::{Target, Verb};

/// Turns after which a set must have come to rest.
const TURNS_MAX: usize = 200;

pub(super) struct World {
    pub(super) view: View,
    /// What was created and deleted, in order.
    pub(super) log: Vec<String>,
    /// At most this many pods of the set were not up at once, since `watch_downs`.
    pub(super) most_down: usize,
    born: usize,
}

impl World {
    /// As a row's case says.
    pub(super) fn new(case: &str) -> Self {
        Self::of(view(case))
    }

    /// As this view says.
    pub(super) fn of(view: View) -> Self {
        Self { view, log: Vec::new(), most_down: 0, born: 0 }
    }

    /// Changes the set's spec, as a person would.
    pub(super) fn edit(&mut self, change: impl Fn(&mut Value)) {
        let mut value = serde_json::to_value(&*self.view.set).unwrap();
        change(&mut value["spec"]);
        let mut set: StatefulSet = serde_json::from_value(value).unwrap();
        set.metadata.generation = set.metadata.generation.map(|old| old + 1);
        self.view.set = Arc::new(set);
    }

    /// Gives the set the template of this revision.
    pub(super) fn template(&mut self, tag: &str) {
        let template = set(tag).spec.unwrap().template;
        self.edit(|spec| spec["template"] = serde_json::to_value(&template).unwrap());
    }

    pub(super) fn scale(&mut self, replicas: i64) {
        self.edit(|spec| spec["replicas"] = json!(replicas));
    }

    /// Reconciles until nothing is written any more; pods stay as they are.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.view.rules = Rules::of(&self.view.set, &self.view.policies);
            let plan = reconcile(&self.view);
            if plan.actions.iter().all(|action| matches!(action.verb, Verb::Note)) {
                return;
            }
            for action in &plan.actions {
                self.write(&action.verb);
            }
            self.count_downs();
        }
        panic!("no rest: {}", short(&reconcile(&self.view)));
    }

    /// Settles, and lets new pods become ready and deleted ones go, until all rests.
    pub(super) fn live(&mut self) {
        for _ in 0..TURNS_MAX {
            self.settle();
            let fresh = self.names(|pod| phase(pod) == "Pending" && !going(pod));
            let leaving = self.names(going);
            if fresh.is_empty() && leaving.is_empty() {
                return;
            }
            leaving.iter().for_each(|name| self.remove(name));
            fresh.iter().for_each(|name| self.become_as(name, "ok"));
            self.collect();
        }
        panic!("no rest: {}", short(&reconcile(&self.view)));
    }

    /// Lives, and lets every pod that has not ended become ready, until all rests.
    pub(super) fn heal(&mut self) {
        let well = pod(0, "ok", "a").status;
        for _ in 0..TURNS_MAX {
            self.settle();
            let leaving = self.names(going);
            leaving.iter().for_each(|name| self.remove(name));
            let mut healed = 0;
            for pod in &mut self.view.pods {
                if pod.status != well && !matches!(phase(pod), "Failed" | "Succeeded") {
                    Arc::make_mut(pod).status.clone_from(&well);
                    healed += 1;
                }
            }
            self.collect();
            if leaving.is_empty() && healed == 0 {
                return;
            }
        }
        panic!("no rest: {}", short(&reconcile(&self.view)));
    }

    /// What the set's pods are, as in a row.
    pub(super) fn pods(&self) -> String {
        let pods = self.view.pods.iter().map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap();
            let labels = pod.metadata.labels.as_ref().unwrap();
            let tag = labels.get("controller-revision-hash").cloned().unwrap_or_default();
            let tags = ["a", "b", "c"];
            let tag = tags.into_iter().find(|t| super::case::revision_name(t) == tag);
            format!("{}@{}", name.trim_start_matches("web-"), tag.unwrap_or("?"))
        });
        pods.collect::<Vec<_>>().join(" ")
    }

    /// What was done since the last call.
    pub(super) fn done(&mut self) -> String {
        std::mem::take(&mut self.log).join(" ")
    }

    pub(super) fn status(&self) -> StatefulSetStatus {
        self.view.set.status.clone().unwrap()
    }

    pub(super) fn claims(&self) -> String {
        let names: Vec<_> =
            self.view.claims.keys().map(|n| n.trim_start_matches("data-web-")).collect();
        names.join(" ")
    }

    /// A pod takes on a row's state.
    pub(super) fn become_as(&mut self, name: &str, state: &str) {
        let at = self.at(name);
        let ordinal = name.rsplit_once('-').unwrap().1.parse().unwrap();
        let model = pod(ordinal, state, "a");
        let mut changed = (*self.view.pods[at]).clone();
        changed.status = model.status;
        self.view.pods[at] = Arc::new(changed);
    }

    /// A person changes a pod's metadata.
    pub(super) fn relabel(&mut self, name: &str, change: impl Fn(&mut ObjectMeta)) {
        let at = self.at(name);
        change(&mut Arc::make_mut(&mut self.view.pods[at]).metadata);
    }

    /// A person deletes a pod; it stays until `remove`.
    pub(super) fn delete(&mut self, name: &str) {
        let now = self.view.now;
        self.relabel(name, |meta| meta.deletion_timestamp = Some(Time(now)));
    }

    /// Its node says that it is gone.
    pub(super) fn remove(&mut self, name: &str) {
        let at = self.at(name);
        self.view.pods.remove(at);
    }

    /// The garbage collector on claims: those whose owners are all gone go; dangling references go.
    pub(super) fn collect(&mut self) {
        let mut uids: Vec<String> =
            self.view.pods.iter().filter_map(|p| p.metadata.uid.clone()).collect();
        uids.push("friend".to_owned());
        uids.push("boss".to_owned());
        if self.view.set.metadata.deletion_timestamp.is_none() {
            uids.push("set".to_owned());
        }
        self.view.claims.retain(|_, claim| {
            let Some(owners) = claim.metadata.owner_references.clone() else { return true };
            let left: Vec<_> =
                owners.into_iter().filter(|owner| uids.contains(&owner.uid)).collect();
            let stays = !left.is_empty();
            Arc::make_mut(claim).metadata.owner_references = Some(left);
            stays
        });
    }

    fn names(&self, which: impl Fn(&Pod) -> bool) -> Vec<String> {
        let pods = self.view.pods.iter().filter(|pod| which(pod));
        pods.map(|pod| pod.metadata.name.clone().unwrap()).collect()
    }

    fn at(&self, name: &str) -> usize {
        let named = |pod: &Arc<Pod>| pod.metadata.name.as_deref() == Some(name);
        self.view.pods.iter().position(named).unwrap_or_else(|| panic!("no pod {name}"))
    }

    fn count_downs(&mut self) {
        let up = self.names(|pod| !going(pod) && phase(pod) == "Running").len();
        let wanted = self.view.set.spec.as_ref().unwrap().replicas.unwrap();
        self.most_down = self.most_down.max(usize::try_from(wanted).unwrap().saturating_sub(up));
    }

    fn write(&mut self, verb: &Verb) {
        match verb {
            Verb::Create(object) => self.create(&**object),
            Verb::Update { object, subresource } => {
                let any = object.as_any();
                if let Some(set) = any.downcast_ref::<StatefulSet>() {
                    let own = Arc::make_mut(&mut self.view.set);
                    match subresource {
                        Some(_) => own.status.clone_from(&set.status),
                        None => {
                            own.spec.clone_from(&set.spec);
                            own.metadata.generation = own.metadata.generation.map(|old| old + 1);
                        }
                    }
                } else if let Some(policy) = any.downcast_ref::<StatefulSetPolicy>() {
                    assert_eq!(*subresource, Some("status"));
                    let same = |one: &&mut Arc<StatefulSetPolicy>| {
                        one.metadata.name == policy.metadata.name
                    };
                    *self.view.policies.iter_mut().find(same).unwrap() = Arc::new(policy.clone());
                } else if let Some(claim) = any.downcast_ref::<PersistentVolumeClaim>() {
                    let name = claim.metadata.name.clone().unwrap();
                    self.view.claims.insert(name, Arc::new(claim.clone()));
                } else if let Some(revision) = any.downcast_ref::<ControllerRevision>() {
                    let same = |one: &&mut Arc<ControllerRevision>| {
                        one.metadata.name == revision.metadata.name
                    };
                    *self.view.revisions.iter_mut().find(same).unwrap() =
                        Arc::new(revision.clone());
                } else {
                    panic!("nobody updates {object:?}");
                }
            }
            Verb::Patch { target, body, .. } => self.patch(target, body),
            Verb::Delete { target, .. } if target.kind == "Pod" => {
                self.log.push(format!("-{}", target.name.trim_start_matches("web-")));
                self.delete(&target.name);
            }
            Verb::Delete { target, .. } if target.kind == "PersistentVolumeClaim" => {
                self.view.claims.remove(&target.name);
            }
            Verb::Delete { target, .. } => {
                assert_eq!(target.kind, "ControllerRevision");
                self.view.revisions.retain(|one| one.metadata.name.as_ref() != Some(&target.name));
            }
            Verb::Confirm(_) | Verb::Note => (),
            other => panic!("a set's plan has no {other:?}"),
        }
    }

    fn create(&mut self, object: &dyn api::Object) {
        self.born += 1;
        let mut object = object.boxed();
        let meta = object.meta_mut();
        meta.uid = Some(format!("born-{}", self.born));
        meta.resource_version = Some("1".to_owned());
        let any = object.as_any();
        if let Some(pod) = any.downcast_ref::<Pod>() {
            let mut pod = pod.clone();
            pod.status.get_or_insert_default().phase = Some("Pending".to_owned());
            self.log.push(format!(
                "+{}",
                pod.metadata.name.as_ref().unwrap().trim_start_matches("web-")
            ));
            self.view.pods.push(Arc::new(pod));
            self.view.pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        } else if let Some(claim) = any.downcast_ref::<PersistentVolumeClaim>() {
            let name = claim.metadata.name.clone().unwrap();
            self.view.claims.insert(name, Arc::new(claim.clone()));
        } else if let Some(revision) = any.downcast_ref::<ControllerRevision>() {
            self.view.revisions.push(Arc::new(revision.clone()));
        }
    }

    fn patch(&mut self, target: &Target, body: &Value) {
        let change = |meta: &mut ObjectMeta| {
            for (key, value) in body["metadata"]["labels"].as_object().into_iter().flatten() {
                let labels = meta.labels.get_or_insert_default();
                labels.insert(key.clone(), value.as_str().unwrap().to_owned());
            }
            let Some(owners) = body["metadata"]["ownerReferences"].as_array() else { return };
            if owners[0]["$patch"] == "delete" {
                let uid = owners[0]["uid"].as_str().unwrap();
                meta.owner_references.as_mut().unwrap().retain(|owner| owner.uid != uid);
            } else {
                meta.owner_references = serde_json::from_value(json!(owners)).unwrap();
            }
        };
        match target.kind.as_str() {
            "Pod" => self.relabel(&target.name, change),
            _ => {
                let named = |one: &&mut Arc<ControllerRevision>| {
                    one.metadata.name.as_ref() == Some(&target.name)
                };
                change(
                    &mut Arc::make_mut(self.view.revisions.iter_mut().find(named).unwrap())
                        .metadata,
                );
            }
        }
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
