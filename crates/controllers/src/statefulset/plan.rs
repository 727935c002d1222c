//! Decides the next writes for one StatefulSet: the order of the rules is the contract.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow::{self, Break, Continue},
};

use api::k8s::api::core::v1::Pod;
use jiff::Timestamp;

use super::{
    adopt, claims,
    conditions::{self, Facts},
    deadline::{self, Clock},
    report,
    revision::{self, Revisions},
    status,
    view::{View, controller_of, terminating},
};
use crate::{Action, Note, Outcome, Plan, Target, Verb, Wait};

/// Pods created or deleted by one plan at the most; what is left follows in the next one, so that a
/// set of a million replicas costs bounded work a turn. 500 is upstream's largest batch.
pub(super) const BATCH_MAX: usize = 500;

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
pub(super) struct Turn<'a> {
    pub(super) view: &'a View,
    pub(super) revisions: Revisions,
    /// Owned pods whose ordinal is wanted.
    pub(super) replicas: BTreeMap<i64, &'a Pod>,
    /// Owned pods whose ordinal is not.
    pub(super) condemned: BTreeMap<i64, &'a Pod>,
    pub(super) plan: Plan,
    pub(super) group: u32,
    /// Pods created or deleted so far.
    pub(super) moved: usize,
    /// Ordinals of the pods deleted so far.
    pub(super) deleted: BTreeSet<i64>,
    /// The update revision is made by this very plan.
    unnamed: bool,
    /// Pods of the current revision deleted for their update.
    pub(super) replaced: i32,
    /// When the next claim of a pending pod may be made again.
    pub(super) remakes: Option<Timestamp>,
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
            remakes: None,
        }
    }

    fn run(mut self) -> Plan {
        let view = self.view;
        let pods: Vec<&Pod> =
            self.replicas.values().chain(self.condemned.values()).copied().collect();
        let clock = match view.deleting() {
            true => Clock::Off,
            false => deadline::clock(view, &self.revisions, &pods),
        };
        if let Some(actions) = report::give_up(view, &self.revisions, clock) {
            return Plan { actions, ..Plan::default() };
        }
        if !view.deleting()
            && let Break(wait) = self.stages()
        {
            self.plan.waits.push(wait);
        }
        let mut counts = status::count(view, &self.revisions, &pods, self.replaced);
        let facts = Facts {
            view,
            revisions: &self.revisions,
            replicas: &self.replicas,
            condemned: &self.condemned,
            waits: &self.plan.waits,
            clock,
        };
        counts.conditions = conditions::of(&facts, view.set.status.as_ref());
        self.group += 1;
        let told = report::of(view, &self.revisions, clock, status::complete(view, &counts));
        for mut action in told.into_iter().filter(|_| !view.deleting()) {
            action.always &= !self.unnamed;
            action.group += self.group;
            self.group = self.group.max(action.group);
            self.plan.actions.push(action);
        }
        if let Some(mut action) = status::write(view, counts) {
            // A status never names a revision that could not be made.
            action.always = !self.unnamed;
            self.push(action);
        }
        if !view.deleting() {
            for action in revision::truncate(view, &self.revisions) {
                self.push(action);
            }
        }
        let late = match clock {
            Clock::Runs { until, .. } => Some(until),
            _ => None,
        };
        let settles = status::look_again(view, &pods);
        self.plan.look_again = [late, settles, self.remakes].into_iter().flatten().min();
        self.plan.actions.sort_by_key(|action| action.group);
        self.plan
    }

    fn stages(&mut self) -> ControlFlow<Wait> {
        self.replace_broken();
        self.drop_claims();
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
    pub(super) fn unfinished(&self) -> Option<Wait> {
        let late = self.replicas.iter().find(|(_, pod)| self.view.unavailable(pod));
        let late = late.map(|(ordinal, pod)| self.wait_for(*ordinal, pod));
        late.or_else(|| {
            let (_, pod) = self.condemned.last_key_value()?;
            Some(Wait::Gone(pod.metadata.name.clone().unwrap_or_default()))
        })
    }

    /// What an unavailable pod is waited for: its health, or its end.
    pub(super) fn wait_for(&self, ordinal: i64, pod: &Pod) -> Wait {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if self.going(ordinal, pod) { Wait::Gone(name) } else { Wait::Healthy(name) }
    }

    /// Deleted before, or by this plan.
    pub(super) fn going(&self, ordinal: i64, pod: &Pod) -> bool {
        terminating(pod) || self.deleted.contains(&ordinal)
    }

    fn own_condemned(&mut self) {
        for (ordinal, pod) in self.condemned.clone() {
            let owners = claims::owners(self.view, ordinal, pod, true);
            self.extend(owners);
        }
    }

    /// Claims of reserved ordinals go once no pod has their ordinal, where the policy says so.
    fn drop_claims(&mut self) {
        let dropped = claims::reserved(self.view);
        self.extend(dropped);
    }

    pub(super) fn delete(&mut self, ordinal: i64, pod: &Pod, why: &str) {
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

    pub(super) fn update(&mut self, verb: Verb, pod: &Pod, why: &str) {
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

    pub(super) fn outcome(&self, success: Option<Note>, failure: Vec<Note>) -> Outcome {
        Outcome { regarding: Target::of(&*self.view.set), success, failure }
    }

    pub(super) fn extend(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.push(action);
        }
    }

    pub(super) fn push(&mut self, mut action: Action) {
        action.group = self.group;
        self.plan.actions.push(action);
    }

    /// In the group after this one: a pod follows its claims.
    pub(super) fn push_after(&mut self, mut action: Action) {
        action.group = self.group + 1;
        self.plan.actions.push(action);
    }
}
