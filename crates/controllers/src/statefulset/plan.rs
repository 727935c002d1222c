//! Decides the next writes for one StatefulSet: the order of the rules is the contract.

use std::{
    collections::BTreeMap,
    ops::ControlFlow::{self, Break, Continue},
};

use api::k8s::{api::core::v1::Pod, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    adopt, claims, identity,
    revision::{self, Revisions},
    status,
    view::{Health, View, broken, controller_of, revision_of, terminating},
};
use crate::{Action, Note, Outcome, PatchKind, Plan, Target, Verb, Wait};

/// Pods created or deleted by one plan at the most; what is left follows in the next one, so that a
/// set of a million replicas costs bounded work a turn. 500 is upstream's largest batch.
const BATCH_MAX: usize = 500;

/// Decides what to do next for one set. Total and deterministic: same view, same plan.
///
/// Infallible: a set whose selector cannot be read gets the empty plan.
///
/// Source: kubernetes v1.36 `stateful_set_control.go`, `updateStatefulSet`.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    if !adopt::readable(&view.spec().selector) {
        return Plan::default();
    }
    let adoptions = adopt::actions(view);
    if !adoptions.is_empty() {
        return Plan { actions: adoptions, ..Plan::default() };
    }
    Turn::new(view).run()
}

/// One turn: the facts sorted, and the plan as it grows.
struct Turn<'a> {
    view: &'a View,
    revisions: Revisions,
    /// Owned pods whose ordinal is wanted.
    replicas: BTreeMap<i64, &'a Pod>,
    /// Owned pods whose ordinal is not.
    condemned: BTreeMap<i64, &'a Pod>,
    plan: Plan,
    group: u32,
    /// Pods created or deleted so far.
    moved: usize,
    /// Pods of the current revision deleted for their update.
    replaced: i32,
}

impl<'a> Turn<'a> {
    fn new(view: &'a View) -> Self {
        let mut revisions = revision::choose(view);
        let mut plan = Plan::default();
        if !view.deleting() {
            plan.actions = std::mem::take(&mut revisions.actions);
        }
        let owned = view.pods.iter().filter(|pod| {
            controller_of(&pod.metadata).is_some_and(|owner| owner.uid == view.uid())
        });
        let mut replicas = BTreeMap::new();
        let mut condemned = BTreeMap::new();
        for pod in owned {
            match view.ordinal(pod) {
                Some(ordinal) if view.in_range(ordinal) => replicas.insert(ordinal, &**pod),
                Some(ordinal) => condemned.insert(ordinal, &**pod),
                None => None,
            };
        }
        Self { view, revisions, replicas, condemned, plan, group: 1, moved: 0, replaced: 0 }
    }

    fn run(mut self) -> Plan {
        if !self.view.deleting()
            && let Break(wait) = self.stages()
        {
            self.plan.waits.push(wait);
        }
        let pods: Vec<&Pod> =
            self.replicas.values().chain(self.condemned.values()).copied().collect();
        let counts = status::count(self.view, &self.revisions, &pods, self.replaced);
        self.group += 1;
        if let Some(action) = status::write(self.view, counts) {
            self.push(action);
        }
        if !self.view.deleting() {
            for action in revision::truncate(self.view, &self.revisions) {
                self.push(action);
            }
        }
        self.plan.look_again = status::look_again(self.view, &pods);
        self.plan.actions.sort_by_key(|action| action.group);
        self.plan
    }

    fn stages(&mut self) -> ControlFlow<Wait> {
        if self.view.parallel() {
            self.fill_all();
            self.own_condemned();
            self.shrink_all();
        } else {
            self.fill()?; //   Every wanted pod is available
            self.own_condemned();
            self.shrink()?; // before any surplus pod goes,
        }
        self.roll() //         and before any old revision is replaced.
    }

    /// 9.1 under OrderedReady: pods in ascending order, the first that is not available ends it.
    fn fill(&mut self) -> ControlFlow<Wait> {
        for ordinal in self.view.start()..self.view.end() {
            let name = identity::pod_name(self.view.name(), ordinal);
            let Some(&pod) = self.replicas.get(&ordinal) else {
                return Break(self.create(ordinal).unwrap_or(Wait::Healthy(name)));
            };
            if terminating(pod) {
                return Break(Wait::Gone(name));
            }
            match self.view.health(pod) {
                Health::Finished => {
                    self.delete(pod, "it has ended");
                    return Break(Wait::Gone(name));
                }
                Health::Pending => {
                    let actions = claims::while_pending(self.view, ordinal, pod);
                    self.extend(actions);
                    return Break(Wait::Healthy(name));
                }
                Health::Unready | Health::Settling => return Break(Wait::Healthy(name)),
                Health::Available => self.repair(ordinal, pod),
            }
        }
        Continue(())
    }

    /// 9.1 under Parallel: no pod waits for another.
    fn fill_all(&mut self) {
        for ordinal in self.view.start()..self.view.end() {
            if self.moved >= BATCH_MAX {
                return;
            }
            match self.replicas.get(&ordinal).copied() {
                None => {
                    let obstacle = self.create(ordinal);
                    self.plan.waits.extend(obstacle);
                }
                Some(pod) if self.view.health(pod) == Health::Finished => {
                    if !terminating(pod) {
                        self.delete(pod, "it has ended");
                    }
                }
                Some(pod) => {
                    if self.view.health(pod) == Health::Pending {
                        let actions = claims::while_pending(self.view, ordinal, pod);
                        self.extend(actions);
                    }
                    self.repair(ordinal, pod);
                }
            }
        }
    }

    /// Claims, then the pod (L2); says what stands in the way, if anything does.
    fn create(&mut self, ordinal: i64) -> Option<Wait> {
        let name = identity::pod_name(self.view.name(), ordinal);
        let set = self.view.name();
        let prepared = claims::before_create(self.view, ordinal);
        self.moved += 1;
        let stuck = prepared.obstacle.is_some();
        self.extend(prepared.actions);
        if stuck {
            return prepared.obstacle;
        }
        let failed = format!("Create Pod {name} in StatefulSet {set} failed error: {{error}}");
        if let Some(squatter) = self.squatter(&name) {
            // Departs from upstream (E1), which stalls here without a word.
            let error = format!("pods {name:?} already exists");
            let message = failed.replace("{error}", &error);
            let mut action = Action::new(Verb::Note, squatter);
            action.events =
                Some(self.outcome(Some(Note::warning("FailedCreate", message)), Vec::new()));
            self.push(action);
            return Some(Wait::Gone(name));
        }
        let current = identity::wants_current(self.view, ordinal);
        let revision = if current { &self.revisions.current } else { &self.revisions.update };
        let pod = identity::new_pod(self.view, ordinal, revision);
        let mut action = Action::new(Verb::Create(Box::new(pod)), "the set wants it");
        let message = format!("Create Pod {name} in StatefulSet {set} successful");
        action.events = Some(self.outcome(
            Some(Note::normal("SuccessfulCreate", message)),
            vec![Note::warning("FailedCreate", failed)],
        ));
        self.push_after(action);
        None
    }

    /// Why the pod of this name is not the set's, if there is one.
    fn squatter(&self, name: &str) -> Option<&'static str> {
        let named = |pod: &&std::sync::Arc<Pod>| pod.metadata.name.as_deref() == Some(name);
        let pod = self.view.pods.iter().find(named)?;
        Some(match controller_of(&pod.metadata) {
            Some(_) => "a pod of another controller has its name",
            None => "a pod that its selector does not match has its name",
        })
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
        if !identity::storage_matches(self.view, pod, ordinal) {
            let mut changed = pod.clone();
            let others = changed.spec.as_mut().and_then(|spec| spec.volumes.take());
            let volumes = identity::volumes(self.view, ordinal, others.unwrap_or_default());
            changed.spec.get_or_insert_default().volumes = Some(volumes);
            let actions = claims::while_pending(self.view, ordinal, pod);
            self.extend(actions);
            let verb = Verb::Update { object: Box::new(changed), subresource: None };
            self.update(verb, pod, "a claim template has no volume in it");
        }
        let owners = claims::owners(self.view, ordinal, pod, false);
        self.extend(owners);
    }

    fn own_condemned(&mut self) {
        for (ordinal, pod) in self.condemned.clone() {
            let owners = claims::owners(self.view, ordinal, pod, true);
            self.extend(owners);
        }
    }

    /// 9.2 under OrderedReady: from the top, one at a time.
    ///
    /// A pod that may yet become ready goes only when it is the one unavailable pod. Departs from
    /// upstream (X2) for a broken pod, which nothing can make ready: it goes at once, or two such
    /// pods would hold each other for ever.
    fn shrink(&mut self) -> ControlFlow<Wait> {
        let Some((_, &pod)) = self.condemned.last_key_value() else { return Continue(()) };
        let name = pod.metadata.name.clone().unwrap_or_default();
        if terminating(pod) {
            return Break(Wait::Gone(name));
        }
        let healthy = self.view.health(pod) == Health::Available;
        let lower = self.condemned.values().rev().skip(1);
        let alone = lower.into_iter().all(|other| !self.view.unavailable(other));
        if !healthy && !alone && !broken(pod) {
            return Break(Wait::Healthy(name));
        }
        self.group += 1;
        self.delete(pod, "the set wants fewer pods");
        Break(Wait::Gone(name))
    }

    /// 9.2 under Parallel.
    fn shrink_all(&mut self) {
        self.group += 1;
        for (_, pod) in self.condemned.clone().into_iter().rev() {
            if !terminating(pod) && self.moved < BATCH_MAX {
                self.delete(pod, "the set wants fewer pods");
            }
        }
    }

    /// 9.3, or 9.4 with the gate.
    fn roll(&mut self) -> ControlFlow<Wait> {
        if !self.view.rolling() {
            return Continue(());
        }
        self.group += 1;
        let first = self.view.start() + self.view.partition().unwrap_or(0);
        let wanted = self.revisions.update.metadata.name.clone().unwrap_or_default();
        match self.view.options.max_unavailable {
            false => self.roll_one(first, &wanted),
            true => self.roll_many(first, &wanted),
        }
    }

    /// U2: from the top, one pod a turn, each after the one above it is available.
    fn roll_one(&mut self, first: i64, wanted: &str) -> ControlFlow<Wait> {
        for ordinal in (first..self.view.end()).rev() {
            let name = identity::pod_name(self.view.name(), ordinal);
            match self.replicas.get(&ordinal).copied() {
                None => return Break(Wait::Healthy(name)),
                Some(pod) if terminating(pod) => return Break(Wait::Gone(name)),
                Some(pod) if revision_of(pod) != wanted => {
                    self.replace(pod);
                    return Break(Wait::Gone(name));
                }
                Some(pod) if self.view.unavailable(pod) => return Break(Wait::Healthy(name)),
                Some(_) => (),
            }
        }
        Continue(())
    }

    /// M1 to M4. Departs from upstream (M5): an old pod that is unavailable anyway costs nothing.
    fn roll_many(&mut self, first: i64, wanted: &str) -> ControlFlow<Wait> {
        let slots = self.view.replicas();
        let down = slots
            - i64::try_from(
                self.replicas.values().filter(|pod| !self.view.unavailable(pod)).count(),
            )
            .unwrap_or(slots);
        let mut left = max_unavailable(self.view) - down;
        let mut waiting = None;
        for (_, pod) in self.replicas.clone().range(first..).rev() {
            let name = pod.metadata.name.clone().unwrap_or_default();
            if terminating(pod) {
                waiting.get_or_insert(Wait::Gone(name));
            } else if revision_of(pod) == wanted {
                if self.view.unavailable(pod) {
                    waiting.get_or_insert(Wait::Healthy(name));
                }
            } else if self.view.unavailable(pod) || left > 0 {
                left -= i64::from(!self.view.unavailable(pod));
                self.replace(pod);
                waiting.get_or_insert(Wait::Gone(name));
            }
        }
        waiting.map_or(Continue(()), Break)
    }

    fn replace(&mut self, pod: &Pod) {
        let current = self.revisions.current.metadata.name.as_deref();
        // Departs from upstream (T8), which counts below zero here.
        self.replaced += i32::from(Some(revision_of(pod)) == current);
        self.delete(pod, "it is of an old revision");
    }

    fn delete(&mut self, pod: &Pod, why: &str) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let set = self.view.name();
        let target = Target::of(pod);
        let mut action = Action::delete(target, why);
        let done = format!("Delete Pod {name} in StatefulSet {set} successful");
        let failed = format!("Delete Pod {name} in StatefulSet {set} failed error: {{error}}");
        action.events = Some(self.outcome(
            Some(Note::normal("SuccessfulDelete", done)),
            vec![Note::warning("FailedDelete", failed)],
        ));
        self.moved += 1;
        self.push(action);
    }

    fn update(&mut self, verb: Verb, pod: &Pod, why: &str) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let set = self.view.name();
        let mut action = Action::new(verb, why);
        let done = format!("Update Pod {name} in StatefulSet {set} successful");
        let failed = format!("Update Pod {name} in StatefulSet {set} failed error: {{error}}");
        action.events = Some(self.outcome(
            Some(Note::normal("SuccessfulUpdate", done)),
            vec![Note::warning("FailedUpdate", failed)],
        ));
        self.push_after(action);
    }

    fn outcome(&self, success: Option<Note>, failure: Vec<Note>) -> Outcome {
        Outcome { regarding: Target::of(&*self.view.set), success, failure }
    }

    fn extend(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.push(action);
        }
    }

    fn push(&mut self, mut action: Action) {
        action.group = self.group;
        self.plan.actions.push(action);
    }

    /// In the group after this one: a pod follows its claims.
    fn push_after(&mut self, mut action: Action) {
        action.group = self.group + 1;
        self.plan.actions.push(action);
    }
}

/// How many pods may be unavailable at once (M1): a percentage is rounded down, at least one.
fn max_unavailable(view: &View) -> i64 {
    let strategy = view.spec().update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = match rolling.and_then(|rolling| rolling.max_unavailable.as_ref()) {
        Some(IntOrString::Int(number)) => i64::from(*number),
        Some(IntOrString::String(percent)) => {
            let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            view.replicas().saturating_mul(percent) / 100
        }
        None => 1,
    };
    wanted.max(1)
}
