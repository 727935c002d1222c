//! What the policy is told: whether it is in force, what became of the rollout, what was given up.
//!
//! Events beyond upstream's are recorded on the policy, never on the set.

use std::sync::Arc;

use api::{
    k8s::apimachinery::pkg::apis::meta::v1::{Condition, Time},
    policy::{StatefulSetPolicy, StatefulSetPolicyStatus},
};
use jiff::Timestamp;

use super::{
    conditions::whole,
    deadline::Clock,
    policy::{Refusal, Rules, judge, staying},
    revision::{Revisions, template},
    view::View,
};
use crate::{Action, Note, Outcome, Plan, Target};

/// What policies are told whose set is not there: `policies` all name one `set`.
#[must_use]
pub fn without_set(set: &str, policies: &[Arc<StatefulSetPolicy>], now: Timestamp) -> Plan {
    let message = format!("StatefulSet {set:?} is not found");
    let refusal = Refusal { reason: "SetNotFound", message };
    let actions = staying(policies).flat_map(|policy| refuse(policy, &refusal, now));
    let mut actions: Vec<Action> = actions.collect();
    actions.sort_by_key(|action| action.group);
    Plan { actions, ..Plan::default() }
}

/// What the set's policies are told in this turn; `complete` when every pod is as it shall be.
pub(super) fn of(view: &View, revisions: &Revisions, clock: Clock, complete: bool) -> Vec<Action> {
    match judge(&view.set, &view.policies) {
        None => Vec::new(),
        Some(Err(refusal)) => {
            let told = staying(&view.policies).flat_map(|one| refuse(one, &refusal, view.now));
            told.collect()
        }
        Some(Ok(rules)) => {
            let mut told: Vec<Action> = Vec::new();
            if let Some(policy) = view.policy() {
                let mut report = Report::new(policy, view.now);
                report.tell(view, &rules, revisions, clock, complete);
                told = report.actions();
            }
            told
        }
    }
}

/// After the deadline, where the policy says so: the set takes back the template of its last completed
/// revision. The policy is told first, so that what was given up is known whatever happens then.
pub(super) fn give_up(view: &View, revisions: &Revisions, clock: Clock) -> Option<Vec<Action>> {
    let Clock::Exceeded { since } = clock else { return None };
    let (policy, rules) = (view.policy()?, view.rules.as_ref().filter(|rules| rules.returns)?);
    let update = revisions.update.metadata.name.as_deref()?;
    let back = completed(view, revisions).filter(|back| back != update)?;
    let known = |one: &&Arc<api::k8s::api::apps::v1::ControllerRevision>| {
        one.metadata.name.as_ref() == Some(&back)
    };
    let template = template(revisions.all.iter().find(known)?)?;
    let mut report = Report::new(policy, view.now);
    report.tell(view, rules, revisions, clock, false);
    report.status.last_completed_revision = Some(back.clone());
    report.status.returned_from = Some(update.to_owned());
    let seconds = rules.deadline_s.unwrap_or(0);
    let message = format!(
        "revision {update} made no progress since {since}, for more than {seconds} s: the \
         StatefulSet returns to revision {back}"
    );
    report.put("RolledBack", "True", "DeadlineExceeded", message.clone());
    let mut actions = report.actions();
    let mut set = (*view.set).clone();
    set.spec.get_or_insert_default().template = template;
    let mut action = Action::update(set, None, "its rollout made no progress before the deadline");
    action.events = Some(Outcome {
        regarding: Target::of(&**policy),
        success: Some(Note::warning("RolledBack", message)),
        failure: vec![Note::warning(
            "FailedRollBack",
            format!("the StatefulSet could not be returned to revision {back}: {{error}}"),
        )],
    });
    let last = actions.iter().map(|action| action.group).max().unwrap_or(0);
    actions.push(action.in_group(last + 1));
    actions.sort_by_key(|action| action.group);
    Some(actions)
}

/// The revision of the last completed rollout, as far as is known: where nothing is on record, the
/// current one, if a pod of it serves.
fn completed(view: &View, revisions: &Revisions) -> Option<String> {
    if let Some(known) = view.last_completed() {
        return Some(known.to_owned());
    }
    let current = revisions.current.metadata.name.clone()?;
    let other = revisions.update.metadata.name.as_ref() != Some(&current);
    (other && view.serves(&current)).then_some(current)
}

fn refuse(policy: &Arc<StatefulSetPolicy>, refusal: &Refusal, now: Timestamp) -> Vec<Action> {
    let mut report = Report::new(policy, now);
    report.accept("False", refusal.reason, refusal.message.clone());
    report.actions()
}

/// A policy's status as it grows, and what is said of its changes.
struct Report<'a> {
    policy: &'a Arc<StatefulSetPolicy>,
    status: StatefulSetPolicyStatus,
    notes: Vec<Note>,
    now: Timestamp,
}

impl<'a> Report<'a> {
    fn new(policy: &'a Arc<StatefulSetPolicy>, now: Timestamp) -> Self {
        let mut status = policy.status.clone().unwrap_or_default();
        status.observed_generation = policy.metadata.generation;
        Self { policy, status, notes: Vec::new(), now: whole(now) }
    }

    fn tell(
        &mut self,
        view: &View,
        rules: &Rules,
        revisions: &Revisions,
        clock: Clock,
        complete: bool,
    ) {
        let set = view.name();
        self.accept("True", "Accepted", format!("StatefulSet {set:?} follows this policy"));
        let update = revisions.update.metadata.name.clone().unwrap_or_default();
        self.status.last_completed_revision = match complete {
            true => Some(update.clone()),
            false => completed(view, revisions),
        };
        self.clock(&update, clock, rules);
        self.pause(rules.paused);
        let back = self.status.last_completed_revision.as_ref() == Some(&update);
        let again = matches!(clock, Clock::Exceeded { .. });
        let given_up = self.status.returned_from.as_ref();
        if given_up.is_some_and(|old| !(back && *old != update || again && *old == update)) {
            self.status.returned_from = None;
            self.drop("RolledBack");
        }
    }

    /// Progressing, with the last progress as its time.
    fn clock(&mut self, update: &str, clock: Clock, rules: &Rules) {
        let seconds = rules.deadline_s.unwrap_or(0);
        match clock {
            Clock::Off => self.drop("Progressing"),
            Clock::Stopped => (),
            Clock::Runs { since, .. } => {
                let message = format!("revision {update} has {seconds} s for each step");
                self.put_at("Progressing", "True", "RollingOut", message, since);
            }
            Clock::Exceeded { since } => {
                let reason = "ProgressDeadlineExceeded";
                let message = format!(
                    "revision {update} made no progress since {since}, for more than {seconds} s"
                );
                if self.find("Progressing").is_none_or(|old| old.reason != reason) {
                    self.notes.push(Note::warning(reason, message.clone()));
                }
                self.put_at("Progressing", "False", reason, message, since);
            }
        }
    }

    fn pause(&mut self, paused: bool) {
        let was = self.find("Paused").is_some();
        match (was, paused) {
            (false, true) => {
                let message = "no pod is replaced for its revision".to_owned();
                self.notes.push(Note::normal("Paused", message.clone()));
                self.put("Paused", "True", "Paused", message);
            }
            (true, false) => {
                self.drop("Paused");
                self.notes.push(Note::normal("Resumed", "pods are replaced for their revision"));
            }
            _ => (),
        }
    }

    fn accept(&mut self, status: &str, reason: &'static str, message: String) {
        let same = self.find("Accepted").is_some_and(|old| old.reason == reason);
        if !same {
            let note = match status {
                "True" => Note::normal(reason, message.clone()),
                _ => Note::warning(reason, message.clone()),
            };
            self.notes.push(note);
        }
        self.put("Accepted", status, reason, message);
    }

    fn find(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
    }

    fn drop(&mut self, kind: &str) {
        if let Some(conditions) = &mut self.status.conditions {
            conditions.retain(|condition| condition.type_ != kind);
        }
    }

    /// A condition; its time is that of its last change of status.
    fn put(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let old = self.find(kind).filter(|old| old.status == status);
        let since = old.map_or(self.now, |old| old.last_transition_time.0);
        self.put_at(kind, status, reason, message, since);
    }

    fn put_at(&mut self, kind: &str, status: &str, reason: &str, message: String, at: Timestamp) {
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: Time(at),
            observed_generation: self.status.observed_generation,
        };
        let conditions = self.status.conditions.get_or_insert_default();
        match conditions.iter_mut().find(|old| old.type_ == kind) {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }

    /// The write, if anything differs, and then what is said of it.
    fn actions(self) -> Vec<Action> {
        if self.policy.status.as_ref() == Some(&self.status) {
            return Vec::new();
        }
        let mut policy = (**self.policy).clone();
        policy.status = Some(self.status);
        let mut told = Action::update(policy, Some("status"), "the policy is told of its set");
        told.always = true;
        let target = Target::of(&**self.policy);
        let notes = self.notes.into_iter().map(|note| {
            Action::note(target.clone(), note, "the policy is told of its set").in_group(1)
        });
        std::iter::once(told).chain(notes).collect()
    }
}
