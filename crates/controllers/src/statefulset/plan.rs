//! Decides the next writes for one StatefulSet: the order of the rules is the contract.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use api::k8s::{api::core::v1::Pod, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    adopt, claims,
    conditions::{self, Facts},
    identity,
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
    decide(view, revision::choose(view))
}

/// The plan of a set whose pods and revisions are all its own already.
pub(super) fn decide(view: &View, revisions: Revisions) -> Plan {
    let plan = Turn::new(view, revisions).run();
    #[cfg(any(test, debug_assertions))]
    {
        let broken = super::judge::broken_promises(view, &plan);
        assert!(broken.is_empty(), "{broken:?} are broken by the plan {plan:#} for {view:?}");
    }
    plan
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
    /// Ordinals of the pods deleted so far.
    deleted: BTreeSet<i64>,
    /// The update revision is made by this very plan.
    unnamed: bool,
    /// Pods of the current revision deleted for their update.
    replaced: i32,
}

impl<'a> Turn<'a> {
    fn new(view: &'a View, mut revisions: Revisions) -> Self {
        let mut plan = Plan::default();
        if !view.deleting() {
            plan.actions = std::mem::take(&mut revisions.actions);
        }
        let unnamed = plan.actions.iter().any(|action| matches!(action.verb, Verb::Create(_)));
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
        Self {
            view,
            revisions,
            replicas,
            condemned,
            plan,
            group: 1,
            moved: 0,
            deleted: BTreeSet::new(),
            unnamed,
            replaced: 0,
        }
    }

    fn run(mut self) -> Plan {
        if !self.view.deleting()
            && let Break(wait) = self.stages()
        {
            self.plan.waits.push(wait);
        }
        let pods: Vec<&Pod> =
            self.replicas.values().chain(self.condemned.values()).copied().collect();
        let mut counts = status::count(self.view, &self.revisions, &pods, self.replaced);
        let facts = Facts {
            view: self.view,
            revisions: &self.revisions,
            replicas: &self.replicas,
            condemned: &self.condemned,
            waits: &self.plan.waits,
        };
        counts.conditions = conditions::of(&facts, self.view.set.status.as_ref());
        self.group += 1;
        if let Some(mut action) = status::write(self.view, counts) {
            // A status never names a revision that could not be made.
            action.always = !self.unnamed;
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
            self.roll()?;
            if self.plan.waits.is_empty() {
                self.plan.waits.extend(self.unfinished());
            }
            Continue(())
        } else {
            self.fill()?; //   Every wanted pod is available
            self.own_condemned();
            self.shrink()?; // before any surplus pod goes,
            self.roll() //     and before any old revision is replaced.
        }
    }

    /// What a set that nobody has to do anything for still waits for.
    fn unfinished(&self) -> Option<Wait> {
        let late = self.replicas.iter().find(|(_, pod)| self.view.unavailable(pod));
        let late = late.map(|(ordinal, pod)| self.wait_for(*ordinal, pod));
        late.or_else(|| {
            let (_, pod) = self.condemned.last_key_value()?;
            Some(Wait::Gone(pod.metadata.name.clone().unwrap_or_default()))
        })
    }

    /// What an unavailable pod is waited for: its health, or its end.
    fn wait_for(&self, ordinal: i64, pod: &Pod) -> Wait {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if self.going(ordinal, pod) { Wait::Gone(name) } else { Wait::Healthy(name) }
    }

    /// Deleted before, or by this plan.
    fn going(&self, ordinal: i64, pod: &Pod) -> bool {
        terminating(pod) || self.deleted.contains(&ordinal)
    }

    /// 9.1 under OrderedReady: pods in ascending order, the first that is not available ends it.
    fn fill(&mut self) -> ControlFlow<Wait> {
        for ordinal in self.view.start()..self.view.end() {
            let name = identity::pod_name(self.view.name(), ordinal);
            let Some(&pod) = self.replicas.get(&ordinal) else {
                return Break(self.create(ordinal).unwrap_or(Wait::Healthy(name)));
            };
            if self.view.health(pod) == Health::Pending {
                self.extend(claims::lost(self.view, ordinal));
                self.extend(claims::owners(self.view, ordinal, pod, false));
            }
            if terminating(pod) {
                return Break(Wait::Gone(name));
            }
            match self.view.health(pod) {
                Health::Finished => {
                    self.delete(ordinal, pod, "it has ended");
                    return Break(Wait::Gone(name));
                }
                Health::Pending => return Break(Wait::Healthy(name)),
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
                        self.delete(ordinal, pod, "it has ended");
                    }
                }
                Some(pod) => self.repair(ordinal, pod),
            }
        }
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
        let current = identity::wants_current(self.view, ordinal);
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
            self.push_after(action)
        } else {
            self.push(action)
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
            self.extend(claims::lost(self.view, ordinal));
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
        let Some((&ordinal, &pod)) = self.condemned.last_key_value() else { return Continue(()) };
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
        self.delete(ordinal, pod, "the set wants fewer pods");
        Break(Wait::Gone(name))
    }

    /// 9.2 under Parallel.
    fn shrink_all(&mut self) {
        self.group += 1;
        for (ordinal, pod) in self.condemned.clone().into_iter().rev() {
            if !terminating(pod) && self.moved < BATCH_MAX {
                self.delete(ordinal, pod, "the set wants fewer pods");
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
                None if self.plan.waits.is_empty() => return Break(Wait::Healthy(name)),
                None => return Continue(()), // What keeps it from being made is said already.
                Some(pod) if self.going(ordinal, pod) => return Break(Wait::Gone(name)),
                Some(pod) if revision_of(pod) != wanted => {
                    self.replace(ordinal, pod);
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
        let up = self.replicas.values().filter(|pod| !self.view.unavailable(pod)).count();
        let down = slots - i64::try_from(up).unwrap_or(slots);
        let mut left = max_unavailable(self.view) - down;
        let mut waiting = None;
        let mut held = false;
        for (ordinal, pod) in self.replicas.clone().split_off(&first).into_iter().rev() {
            let unavailable = self.view.unavailable(pod);
            let outdated = revision_of(pod) != wanted;
            if self.moved >= BATCH_MAX || self.going(ordinal, pod) || !outdated {
                if unavailable {
                    waiting = waiting.or_else(|| Some(self.wait_for(ordinal, pod)));
                }
            } else if unavailable || left > 0 {
                left -= i64::from(!unavailable);
                self.replace(ordinal, pod);
                waiting = waiting.or_else(|| Some(self.wait_for(ordinal, pod)));
            } else {
                held = true;
            }
        }
        // The budget may be spent by pods below the partition, which are not looked at here.
        let waiting = waiting.or_else(|| self.unfinished().filter(|_| held));
        waiting.map_or(Continue(()), Break)
    }

    fn replace(&mut self, ordinal: i64, pod: &Pod) {
        let current = self.revisions.current.metadata.name.as_deref();
        // Departs from upstream (T8), which counts below zero here.
        self.replaced += i32::from(Some(revision_of(pod)) == current);
        self.delete(ordinal, pod, "it is of an old revision");
    }

    fn delete(&mut self, ordinal: i64, pod: &Pod, why: &str) {
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
        self.deleted.insert(ordinal);
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
