//! The one decision: from a pod and what is seen of it to a plan.

use jiff::Timestamp;

use crate::{
    containers::units,
    ending::{self, Ending},
    events::{normal, warning},
    living,
    observed::{Desired, Observed},
    plan::{Plan, Step},
    status::{OVERDUE, status},
    statuses::Draft,
};

/// What to do with one pod now.
///
/// Total: any input has an answer. A second call on the same view gives the same plan; steps
/// that are under way (`Observed::busy`) are not planned again.
///
/// Source of behaviour: kubernetes v1.36 `pkg/kubelet/kuberuntime/kuberuntime_manager.go`
/// (`computePodActions`, `SyncPod`) and `pkg/kubelet/kubelet.go` (`SyncPod`,
/// `SyncTerminatingPod`, `SyncTerminatedPod`).
#[must_use]
pub fn sync(want: Desired<'_>, seen: &Observed, now: Timestamp) -> Plan {
    let units = units(want.pod);
    let mut draft = Draft::default();
    let why = ending::why(want, seen, &units, now);
    let ended = match why {
        None => {
            living::decide(want, seen, &units, now, &mut draft);
            if let Some(at) = ending::deadline(want.pod) {
                draft.plan.look_at(at);
            }
            false
        }
        Some(why) => {
            announce(why, seen, &mut draft);
            ending::decide(want, seen, &units, why, now, &mut draft)
        }
    };
    if why == Some(Ending::Gone) {
        return draft.plan;
    }
    let wanted = status(want, seen, &units, &draft, why, ended, now);
    let mut plan = draft.plan;
    let shown = want.pod.status.as_ref();
    if shown != Some(&wanted) {
        plan.steps.insert(0, Step::SetStatus(Box::new(wanted)));
    } else if ended && want.pod.metadata.deletion_timestamp.is_some() {
        plan.steps.push(Step::DeletePod { uid: want.pod.metadata.uid.clone().unwrap_or_default() });
    }
    plan
}

fn announce(why: Ending, seen: &Observed, draft: &mut Draft) {
    match why {
        Ending::Overdue => {
            let mut event = normal("DeadlineExceeded", "", OVERDUE.to_owned());
            event.once = Some("deadline".to_owned());
            draft.event(seen, event);
        }
        Ending::Refused => {
            if let Some(refusal) = &seen.refused {
                let mut event = warning(reason(&refusal.reason), "", refusal.message.clone());
                event.once = Some("refused".to_owned());
                draft.event(seen, event);
            }
        }
        Ending::Deleted | Ending::Gone | Ending::Finished => {}
    }
}

/// The event's reason: the refusal's own, where upstream knows it.
fn reason(of: &str) -> &'static str {
    [
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "OutOfephemeral-storage",
        "NodeAffinity",
        "NodePorts",
        "NodeName",
    ]
    .into_iter()
    .find(|known| *known == of)
    .unwrap_or("FailedAdmission")
}
