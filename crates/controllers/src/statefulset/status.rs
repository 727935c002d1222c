//! What the set's status says (T1 to T10).

use api::k8s::api::{apps::v1::StatefulSetStatus, core::v1::Pod};
use jiff::{SignedDuration, Timestamp};

use super::{
    revision::Revisions,
    view::{Health, View, created, ready, revision_of, running_and_ready, terminating},
};
use crate::{Action, Verb};

/// Counts the set's pods as they are in this view.
///
/// `replaced` is how many pods of the current revision this plan deletes to update them.
pub(super) fn count(
    view: &View,
    revisions: &Revisions,
    pods: &[&Pod],
    replaced: i32,
) -> StatefulSetStatus {
    let current = revisions.current.metadata.name.clone().unwrap_or_default();
    let update = revisions.update.metadata.name.clone().unwrap_or_default();
    let number = |wanted: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| created(pod) && wanted(pod)).count())
            .unwrap_or(i32::MAX)
    };
    let at = |name: &str| number(&|pod| !terminating(pod) && revision_of(pod) == name);
    let mut status = StatefulSetStatus {
        observed_generation: view.set.metadata.generation,
        replicas: number(&|_| true),
        ready_replicas: Some(number(&running_and_ready)),
        available_replicas: Some(number(&|pod| view.health(pod) == Health::Available)),
        current_replicas: Some((at(&current) - replaced).max(0)),
        updated_replicas: Some(at(&update)),
        current_revision: Some(current),
        update_revision: Some(update),
        collision_count: Some(revisions.collisions),
        // Departs from upstream (T7): what others wrote here stays, and ours are put beside.
        conditions: view.set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    if complete(view, &status) {
        status.current_revision.clone_from(&status.update_revision);
        status.current_replicas = status.updated_replicas;
    }
    status
}

/// Every wanted pod is at the update revision and available.
///
/// Departs from upstream (T4): availability counts, not readiness, and OnDelete completes too.
pub(super) fn complete(view: &View, status: &StatefulSetStatus) -> bool {
    let replicas = view.replicas();
    let all = |count: Option<i32>| i64::from(count.unwrap_or(0)) == replicas;
    all(Some(status.replicas)) && all(status.updated_replicas) && all(status.available_replicas)
}

/// The write, if anything that matters differs (T6), conditions among it.
///
/// A count that is absent is 0: other API servers leave zeros out.
pub(super) fn write(view: &View, mut status: StatefulSetStatus) -> Option<Action> {
    let mut old = view.set.status.clone().unwrap_or_default();
    old.available_replicas = view.told_available();
    status.observed_generation = status.observed_generation.max(old.observed_generation);
    if weighed(&status) == weighed(&old) && status.conditions == old.conditions {
        return None;
    }
    let mut object = (*view.set).clone();
    object.status = Some(status);
    let verb = Verb::Update { object: Box::new(object), subresource: Some("status") };
    Some(Action::new(verb, "the counts have changed"))
}

/// What is worth a write.
fn weighed(status: &StatefulSetStatus) -> (i64, [i32; 5], [&str; 2]) {
    let counts = [
        status.replicas,
        status.ready_replicas.unwrap_or(0),
        status.available_replicas.unwrap_or(0),
        status.current_replicas.unwrap_or(0),
        status.updated_replicas.unwrap_or(0),
    ];
    let names = [&status.current_revision, &status.update_revision];
    let names = names.map(|name| name.as_deref().unwrap_or_default());
    (status.observed_generation.unwrap_or(0), counts, names)
}

/// When the next pod becomes available by nothing but time (T10).
pub(super) fn look_again(view: &View, pods: &[&Pod]) -> Option<Timestamp> {
    if view.min_ready_s() == 0 {
        return None;
    }
    let settling = pods.iter().filter(|pod| ready(pod) && view.health(pod) == Health::Settling);
    let span = SignedDuration::from_secs(view.min_ready_s());
    let later = view.now.checked_add(span).ok(); // For a pod that does not say since when.
    settling.filter_map(|pod| view.available_at(pod).or(later)).min()
}
