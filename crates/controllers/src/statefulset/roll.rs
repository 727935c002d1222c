//! Taking pods away: those that are not wanted (9.2), those of old revisions (9.3, 9.4), and broken
//! ones where the policy does not wait for them.

use std::ops::ControlFlow::{self, Break, Continue};

use api::k8s::api::core::v1::Pod;

use super::{
    claims, identity,
    plan::{BATCH_MAX, Turn},
    policy,
    view::{Health, broken, revision_of, terminating},
};
use crate::{Action, Note, Target, Wait};

impl Turn<'_> {
    /// Demand 1: a pod that is not available and not at the update revision is replaced at once, in
    /// both pod management policies, and costs no budget. Healthy pods are not touched.
    pub(super) fn replace_broken(&mut self) {
        let view = self.view;
        let Some(policy) = view.policy().filter(|_| view.rolling() && !view.paused()) else {
            return;
        };
        let update = self.revisions.update.metadata.name.clone().unwrap_or_default();
        let first = view.at(view.partition().unwrap_or(0));
        for (ordinal, pod) in self.replicas.clone().split_off(&first).into_iter().rev() {
            let revision = revision_of(pod);
            let stuck = revision != update && view.unavailable(pod) && !terminating(pod);
            if !stuck || !view.replaces_broken(revision) || self.moved >= BATCH_MAX {
                continue;
            }
            self.replace(ordinal, pod);
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let message = format!(
                "Pod {name} at revision {revision} is not available and is replaced at revision \
                 {update}"
            );
            let note = Note::normal("ReplacedBrokenPod", message);
            let why = "the policy replaces broken pods of old revisions";
            self.push_after(Action::note(Target::of(&**policy), note, why));
        }
    }

    /// 9.2 under OrderedReady: from the top, one at a time, or as many as the policy says.
    ///
    /// A pod that may yet become ready goes only when it is the one unavailable pod. Departs from
    /// upstream (X2) for a broken pod, which nothing can make ready: it goes at once, or two such
    /// pods would hold each other for ever.
    pub(super) fn shrink(&mut self) -> ControlFlow<Wait> {
        if self.condemned.is_empty() {
            return Continue(());
        }
        self.group += 1;
        let condemned = self.condemned.clone();
        let (mut first, mut going) = (None, 0);
        for (ordinal, pod) in condemned.iter().rev() {
            let name = pod.metadata.name.clone().unwrap_or_default();
            if !terminating(pod) {
                let healthy = self.view.health(pod) == Health::Available;
                let mut lower = condemned.range(..ordinal);
                let alone = lower.all(|(_, other)| !self.view.unavailable(other));
                let stuck = broken(pod) || claims::stranded(self.view, *ordinal, pod).is_some();
                if !healthy && !alone && !stuck {
                    first.get_or_insert(Wait::Healthy(name));
                    break;
                }
                self.delete(*ordinal, pod, "the set wants fewer pods");
            }
            first.get_or_insert(Wait::Gone(name));
            going += 1;
            if going >= self.view.pace() || self.moved >= BATCH_MAX {
                break;
            }
        }
        first.map_or(Continue(()), Break)
    }

    /// 9.2 under Parallel.
    pub(super) fn shrink_all(&mut self) {
        self.group += 1;
        let going = self.condemned.values().filter(|pod| terminating(pod)).count();
        let mut left = self.view.pace() - i64::try_from(going).unwrap_or(i64::MAX);
        for (ordinal, pod) in self.condemned.clone().into_iter().rev() {
            if !terminating(pod) && self.moved < BATCH_MAX && left > 0 {
                self.delete(ordinal, pod, "the set wants fewer pods");
                left -= 1;
            }
        }
    }

    /// 9.3, or 9.4 where the gate or the policy gives a budget.
    pub(super) fn roll(&mut self) -> ControlFlow<Wait> {
        if !self.view.rolling() {
            return Continue(());
        }
        let partition = self.view.partition().unwrap_or(0);
        let wanted = self.revisions.update.metadata.name.clone().unwrap_or_default();
        if let Some(policy) = self.view.policy().filter(|_| self.view.paused()) {
            let mut held = self.replicas.range(self.view.at(partition)..);
            return match held.any(|(_, pod)| revision_of(pod) != wanted) {
                true => Break(Wait::Resumed(policy::name(policy).to_owned())),
                false => Continue(()),
            };
        }
        self.group += 1;
        match self.view.budget() {
            None => self.roll_one(partition, &wanted),
            Some(budget) => self.roll_many(partition, budget, &wanted),
        }
    }

    /// U2: from the top, one pod a turn, each after the one above it is available.
    fn roll_one(&mut self, partition: i64, wanted: &str) -> ControlFlow<Wait> {
        for position in (partition..self.view.replicas()).rev() {
            let ordinal = self.view.at(position);
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
    fn roll_many(&mut self, partition: i64, budget: i64, wanted: &str) -> ControlFlow<Wait> {
        let slots = self.view.replicas();
        let up = self.replicas.values().filter(|pod| !self.view.unavailable(pod)).count();
        let down = slots - i64::try_from(up).unwrap_or(slots);
        let mut left = budget - down;
        let mut waiting = None;
        let mut held = false;
        let first = self.view.at(partition);
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
}
