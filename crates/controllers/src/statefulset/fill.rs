//! Filling the wanted ordinals (9.1): creating pods, replacing ended ones, mending identities.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use api::k8s::api::core::v1::Pod;

use super::{
    claims, identity,
    plan::{BATCH_MAX, Turn},
    view::{Health, controller_of, revision_of, terminating},
};
use crate::{Action, Note, PatchKind, Target, Verb, Wait};

impl<'a> Turn<'a> {
    /// 9.1 under OrderedReady: pods in ascending order, the first that is not available ends it.
    ///
    /// With a policy as many as it lets be made at once, and all that a rollout took together.
    pub(super) fn fill(&mut self) -> ControlFlow<Wait> {
        let pace = if self.together() { i64::MAX } else { self.view.pace() };
        let (mut first, mut down) = (None, 0);
        for ordinal in self.view.wanted() {
            if let Some(wait) = self.fill_one(ordinal) {
                first.get_or_insert(wait);
                down += 1;
            }
            if down >= pace || self.moved >= BATCH_MAX {
                break;
            }
        }
        first.map_or(Continue(()), Break)
    }

    /// Does what this ordinal needs; what it waits for when that leaves it without a healthy pod.
    fn fill_one(&mut self, ordinal: i64) -> Option<Wait> {
        let name = identity::pod_name(self.view.name(), ordinal);
        let Some(&pod) = self.replicas.get(&ordinal) else {
            return Some(self.create(ordinal).unwrap_or(Wait::Healthy(name)));
        };
        if self.deleted.contains(&ordinal) {
            return Some(Wait::Gone(name));
        }
        if self.view.health(pod) == Health::Pending {
            self.remake(ordinal);
            self.extend(claims::owners(self.view, ordinal, pod, false));
        }
        if terminating(pod) {
            return Some(Wait::Gone(name));
        }
        if self.free(ordinal, pod) {
            return Some(Wait::Gone(name));
        }
        match self.view.health(pod) {
            Health::Finished => {
                self.delete(ordinal, pod, "it has ended");
                return Some(Wait::Gone(name));
            }
            Health::Pending | Health::Unready | Health::Settling => {
                return Some(Wait::Healthy(name));
            }
            Health::Available => self.repair(ordinal, pod),
        }
        None
    }

    /// Whether all that is missing is made at once under OrderedReady: the policy says so, a rollout
    /// is under way, and no more is down than it may have taken.
    fn together(&self) -> bool {
        let view = self.view;
        let asked = view.rules.as_ref().is_some_and(|rules| rules.batched);
        if !asked || !view.rolling() {
            return false;
        }
        let name = |revision: &'_ api::k8s::api::apps::v1::ControllerRevision| {
            revision.metadata.name.clone().unwrap_or_default()
        };
        let update = name(&self.revisions.update);
        let under_way = name(&self.revisions.current) != update
            || self.replicas.values().any(|pod| revision_of(pod) != update);
        let up = self
            .replicas
            .iter()
            .filter(|(ordinal, pod)| !view.unavailable(pod) && !self.deleted.contains(*ordinal));
        let down = view.replicas() - i64::try_from(up.count()).unwrap_or(0);
        under_way && down <= view.budget().unwrap_or(1)
    }

    /// 9.1 under Parallel: no pod waits for another, unless the policy bounds how many are made.
    pub(super) fn fill_all(&mut self) {
        let pace = self.view.pace();
        let (mut first, mut down) = (None, 0);
        for ordinal in self.view.wanted() {
            if self.moved >= BATCH_MAX {
                return;
            }
            match self.replicas.get(&ordinal).copied() {
                None if down >= pace => {
                    if self.plan.waits.is_empty() {
                        self.plan.waits.extend(first);
                    }
                    return self.mend_from(ordinal);
                }
                None => {
                    let obstacle = self.create(ordinal);
                    self.plan.waits.extend(obstacle);
                    let name = identity::pod_name(self.view.name(), ordinal);
                    first.get_or_insert(Wait::Healthy(name));
                    down += 1;
                }
                Some(pod) => {
                    self.mend(ordinal, pod);
                    if self.view.unavailable(pod) {
                        first.get_or_insert_with(|| self.wait_for(ordinal, pod));
                        down += 1;
                    }
                }
            }
        }
    }

    /// What there is above an ordinal that is not made yet.
    fn mend_from(&mut self, ordinal: i64) {
        for (ordinal, pod) in self.replicas.clone().split_off(&ordinal) {
            self.mend(ordinal, pod);
        }
    }

    /// A pod that is there, under Parallel.
    fn mend(&mut self, ordinal: i64, pod: &Pod) {
        if self.deleted.contains(&ordinal) {
            return;
        }
        if self.view.health(pod) != Health::Finished {
            self.repair(ordinal, pod);
            self.free(ordinal, pod);
        } else if !terminating(pod) {
            self.delete(ordinal, pod, "it has ended");
        }
    }

    /// Makes the claims again that a pod has lost.
    fn remake(&mut self, ordinal: i64) {
        let (actions, next) = claims::lost(self.view, ordinal);
        self.extend(actions);
        self.remakes = [self.remakes, next].into_iter().flatten().min();
    }

    /// Deletes a pod that waits for its claim while its claim waits for it; false where none does.
    fn free(&mut self, ordinal: i64, pod: &Pod) -> bool {
        let Some(claim) = claims::stranded(self.view, ordinal, pod) else { return false };
        self.delete(ordinal, pod, &format!("it cannot start: {claim} is being deleted"));
        if let Some(Action { verb: Verb::Delete { resource_version, .. }, .. }) =
            self.plan.actions.last_mut()
        {
            // Once its volumes are there it starts after all.
            resource_version.clone_from(&pod.metadata.resource_version);
        }
        true
    }

    /// Which side of the rollout a pod that fills a hole is on (N6).
    ///
    /// A paused rollout goes no further by pods that get lost: what comes back has the update revision
    /// only where the rollout has passed already, from the top down.
    fn wants_current(&self, ordinal: i64) -> bool {
        if identity::wants_current(self.view, ordinal) {
            return true;
        }
        let update = self.revisions.update.metadata.name.as_deref();
        self.view.paused()
            && self.view.rolling()
            && !self.replicas.range(..ordinal).any(|(_, pod)| Some(revision_of(pod)) == update)
    }

    /// Claims, then the pod (L2); says what stands in the way, if anything does.
    fn create(&mut self, ordinal: i64) -> Option<Wait> {
        let name = identity::pod_name(self.view.name(), ordinal);
        let set = self.view.name();
        let prepared = claims::before_create(self.view, ordinal);
        let creates = |action: &Action| matches!(action.verb, Verb::Create(_));
        let stuck = prepared.obstacle.is_some();
        // What only waits takes no place from those that can go on.
        self.moved += usize::from(!stuck || prepared.actions.iter().any(creates));
        let first = !prepared.actions.is_empty();
        self.extend(prepared.actions);
        if stuck {
            return prepared.obstacle;
        }
        let failed = format!("Create Pod {name} in StatefulSet {set} failed error: {{error}}");
        if let Some(squatter) = self.squatter(&name) {
            if terminating(squatter) {
                return Some(Wait::Gone(name)); // It goes by itself.
            }
            // Departs from upstream (E1), which stalls here without a word.
            let error = format!("pods {name:?} already exists");
            let message = failed.replace("{error}", &error);
            let why = match controller_of(&squatter.metadata) {
                Some(_) => "a pod of another controller has its name",
                None => "a pod that its selector does not match has its name",
            };
            let note = Note::warning("FailedCreate", message);
            self.push(Action::note(Target::of(&*self.view.set), note, why));
            return Some(Wait::Gone(name));
        }
        let current = self.wants_current(ordinal);
        let revision = if current { &self.revisions.current } else { &self.revisions.update };
        let pod = identity::new_pod(self.view, ordinal, revision, current);
        let mut action = Action::new(Verb::Create(Box::new(pod)), "the set wants it");
        let message = format!("Create Pod {name} in StatefulSet {set} successful");
        action.events = Some(self.outcome(
            Some(Note::normal("SuccessfulCreate", message)),
            vec![Note::warning("FailedCreate", failed)],
        ));
        // Only behind claims of its own: a refused claim of another pod must not hold it for ever.
        if first {
            self.push_after(action);
        } else {
            self.push(action);
        }
        None
    }

    /// The pod that has this name and is not the set's, if there is one.
    fn squatter(&self, name: &str) -> Option<&'a Pod> {
        let named = |pod: &&Arc<Pod>| pod.metadata.name.as_deref() == Some(name);
        self.view.pods.iter().find(named).map(|pod| &**pod)
    }

    /// Labels, storage, owners of claims (L7).
    fn repair(&mut self, ordinal: i64, pod: &Pod) {
        let labels = identity::missing_labels(pod, ordinal);
        let meta = &pod.metadata;
        if !labels.is_empty() {
            let body = serde_json::json!({"metadata": {
                "uid": meta.uid, "resourceVersion": meta.resource_version, "labels": labels,
            }});
            let target = Target::of(pod);
            let verb = Verb::Patch { target, subresource: None, kind: PatchKind::Merge, body };
            self.update(verb, pod, "its identity labels are not its own");
        }
        let stored = identity::storage_matches(self.view, pod, ordinal);
        if !stored || self.view.health(pod) == Health::Pending {
            self.remake(ordinal);
        }
        if !stored {
            let mut changed = pod.clone();
            let others = changed.spec.as_mut().and_then(|spec| spec.volumes.take());
            let volumes = identity::volumes(self.view, ordinal, others.unwrap_or_default());
            changed.spec.get_or_insert_default().volumes = Some(volumes);
            let verb = Verb::Update { object: Box::new(changed), subresource: None };
            self.update(verb, pod, "a claim template has no volume in it");
        }
        let owners = claims::owners(self.view, ordinal, pod, false);
        self.extend(owners);
    }
}
