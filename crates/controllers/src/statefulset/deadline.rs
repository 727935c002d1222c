//! The clock of a rollout: when it last moved, and whether it has stood still for too long.
//!
//! It is kept in the policy's condition `Progressing`, whose transition time is the last progress.

use api::k8s::api::{apps::v1::StatefulSetStatus, core::v1::Pod};
use jiff::{SignedDuration, Timestamp};

use super::{
    conditions::whole,
    revision::Revisions,
    status,
    view::{View, revision_of},
};

/// How a rollout with a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Nothing is counted: no deadline, or nothing to roll out.
    Off,
    /// The rollout is paused: what was counted stays.
    Stopped,
    /// It moved last at `since`, and has until `until`.
    Runs { since: Timestamp, until: Timestamp },
    /// It moved last at `since`, which is too long ago.
    Exceeded { since: Timestamp },
}

/// The set's clock in this view; `pods` are the set's.
pub(super) fn clock(view: &View, revisions: &Revisions, pods: &[&Pod]) -> Clock {
    let Some(deadline_s) = view.rules.as_ref().and_then(|rules| rules.deadline_s) else {
        return Clock::Off;
    };
    if !view.rolling() || rolled_out(view, revisions, pods) {
        return Clock::Off;
    }
    if view.paused() {
        return Clock::Stopped;
    }
    let counts = status::count(view, revisions, pods, 0);
    let old = view.policy_condition("Progressing");
    let since = match old.filter(|_| !moved(view, &counts)) {
        None => whole(view.now),
        Some(old) => {
            // What the pause took does not count.
            let paused = view.policy_condition("Paused").filter(|one| one.status == "True");
            let pause = paused.map(|one| view.now.duration_since(one.last_transition_time.0));
            let pause = pause.unwrap_or(SignedDuration::ZERO).max(SignedDuration::ZERO);
            let since = old.last_transition_time.0.checked_add(pause).ok();
            whole(since.unwrap_or(view.now))
        }
    };
    match since.checked_add(SignedDuration::from_secs(deadline_s)) {
        Ok(until) if until > view.now => Clock::Runs { since, until },
        Ok(_) => Clock::Exceeded { since },
        Err(_) => Clock::Off, // Beyond the end of time.
    }
}

/// Every wanted pod from the partition on is at the update revision and available.
fn rolled_out(view: &View, revisions: &Revisions, pods: &[&Pod]) -> bool {
    let update = revisions.update.metadata.name.as_deref().unwrap_or_default();
    let partition = view.partition().unwrap_or(0);
    let done = pods.iter().filter(|pod| {
        let position = view.ordinal(pod).and_then(|ordinal| view.position(ordinal));
        position.is_some_and(|position| position >= partition)
            && revision_of(pod) == update
            && !view.unavailable(pod)
    });
    let wanted = (view.replicas() - partition).max(0);
    // A set that was complete and lost a pod since is not rolling out.
    view.last_completed() == Some(update) && view.given_up().is_none()
        || i64::try_from(done.count()) == Ok(wanted)
}

/// The view shows more of the rollout than the set's status tells.
fn moved(view: &View, counts: &StatefulSetStatus) -> bool {
    let old = view.set.status.clone().unwrap_or_default();
    let more = |new: Option<i32>, old: Option<i32>| new.unwrap_or(0) > old.unwrap_or(0);
    old.update_revision != counts.update_revision
        || old.observed_generation != view.set.metadata.generation
        || more(counts.updated_replicas, old.updated_replicas)
        || more(counts.available_replicas, view.told_available())
}
