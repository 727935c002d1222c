//! A pod that is to stop, whatever the reason: containers, sidecars, sandbox, volumes, record.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    containers::{Kind, Seat, Unit},
    living::{collect_garbage, probe_wish, spec_grace_s, stop},
    observed::{Busy, Desired, Observed, VolumesSeen, Work},
    plan::{ProbeKind, Step},
    restart::pod_policy,
    statuses::Draft,
};

/// Seconds that a container gets at least, unless it is to be killed. Source: kubelet v1.36
/// `kuberuntime_manager.go`, `minimumGracePeriodInSeconds`.
const GRACE_MIN_S: i64 = 2;

/// Why a pod is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The API asked for it.
    Deleted,
    /// The API does not know it any more.
    Gone,
    /// The node would not have it.
    Refused,
    /// It ran longer than it may.
    Overdue,
    /// It is finished by its own restart policy, or the API says so.
    Finished,
}

/// Why the pod is to stop, if it is.
pub(crate) fn why(
    want: Desired<'_>,
    seen: &Observed,
    units: &[Unit<'_>],
    now: Timestamp,
) -> Option<Ending> {
    let pod = want.pod;
    if want.gone {
        return Some(Ending::Gone);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Ending::Deleted);
    }
    if seen.refused.is_some() {
        return Some(Ending::Refused);
    }
    if overdue(pod, now) {
        return Some(Ending::Overdue);
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Failed" | "Succeeded")) || finished(pod, seen, units) {
        return Some(Ending::Finished);
    }
    None
}

/// When `activeDeadlineSeconds` runs out.
pub(crate) fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
}

fn overdue(pod: &Pod, now: Timestamp) -> bool {
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    reason == Some("DeadlineExceeded") || deadline(pod).is_some_and(|at| at <= now)
}

/// Every container ended for good, or an init container failed for good.
fn finished(pod: &Pod, seen: &Observed, units: &[Unit<'_>]) -> bool {
    let failed_init = units.iter().filter(|unit| unit.kind == Kind::Init).any(|unit| {
        let exit = Seat::of(seen, unit.name()).exit();
        exit.is_some_and(|exit| exit.code != 0 && !unit.restarts(pod, exit.code))
    });
    let mut mains = units.iter().filter(|unit| unit.kind == Kind::Main).peekable();
    if failed_init && pod_policy(pod) == "Never" {
        return true;
    }
    mains.peek().is_some()
        && mains.all(|unit| {
            let exit = Seat::of(seen, unit.name()).exit();
            exit.is_some_and(|exit| !unit.restarts(pod, exit.code))
                && !seen.busy.contains_key(&Work::Start(unit.name().to_owned()))
        })
}

/// Decides for a pod that is to stop. Returns whether nothing of it runs any more and its
/// volumes are away, so that only the API's word is missing.
pub(crate) fn decide(
    want: Desired<'_>,
    seen: &Observed,
    units: &[Unit<'_>],
    ending: Ending,
    now: Timestamp,
    draft: &mut Draft,
) -> bool {
    let (grace_s, kill_at) = grace(want, ending, now);
    let running = |unit: &&Unit<'_>| Seat::of(seen, unit.name()).running().is_some();
    let mut left = false;
    for unit in units.iter().filter(|u| u.kind != Kind::Sidecar).filter(running) {
        left = true;
        stop_one(unit, seen, grace_s, now, draft);
        readiness(unit, seen, draft);
    }
    if !left {
        // Sidecars serve the others: the last one begun stops first.
        if let Some(unit) = units.iter().rev().filter(|u| u.kind == Kind::Sidecar).find(running) {
            left = true;
            let remaining = kill_at.map_or(grace_s, |at| at.duration_since(now).as_secs());
            let grace_s = if grace_s == 0 {
                0
            } else {
                remaining.clamp(GRACE_MIN_S, grace_s.max(GRACE_MIN_S))
            };
            stop_one(unit, seen, grace_s, now, draft);
        }
    }
    let starting = seen
        .busy
        .keys()
        .any(|work| matches!(work, Work::Start(_) | Work::RunPod | Work::MountVolumes));
    if left || starting {
        draft.plan.waits.push("containers to stop".to_owned());
        return false;
    }
    if seen.sandbox.as_ref().is_some_and(|sandbox| sandbox.alive) {
        if !seen.busy.contains_key(&Work::StopPod) {
            draft.plan.steps.push(Step::StopPod);
        }
        return false;
    }
    if seen.volumes != VolumesSeen::Unmounted && ending != Ending::Refused {
        if !seen.busy.contains_key(&Work::UnmountVolumes) {
            draft.plan.steps.push(Step::UnmountVolumes);
        }
        return false;
    }
    if ending == Ending::Gone {
        if seen.sandbox.is_none() {
            draft.plan.done = true;
        } else if !seen.busy.contains_key(&Work::RemovePod) {
            draft.plan.steps.push(Step::RemovePod);
        }
        return false;
    }
    collect_garbage(seen, units, draft);
    true
}

/// Seconds of grace from now, and when all must have ended, where that is known.
fn grace(want: Desired<'_>, ending: Ending, now: Timestamp) -> (i64, Option<Timestamp>) {
    let meta = &want.pod.metadata;
    let asked = meta.deletion_grace_period_seconds;
    let until = meta.deletion_timestamp.as_ref().map(|time| time.0);
    match ending {
        Ending::Gone => {
            // Deleted by force: whoever did it wants it gone, yet not torn.
            (asked.unwrap_or(1).clamp(1, GRACE_MIN_S), Some(now))
        }
        Ending::Deleted => (asked.unwrap_or_else(|| spec_grace_s(want)).max(0), until),
        Ending::Refused | Ending::Overdue | Ending::Finished => (spec_grace_s(want).max(0), None),
    }
}

fn stop_one(unit: &Unit<'_>, seen: &Observed, grace_s: i64, now: Timestamp, draft: &mut Draft) {
    let Some((held, _)) = Seat::of(seen, unit.name()).running() else {
        return;
    };
    let kill_at = now.checked_add(jiff::SignedDuration::from_secs(grace_s)).unwrap_or(now);
    let why = match seen.busy.get(&Work::Stop(held.id.clone())) {
        None => Some(format!("Stopping container {}", unit.name())),
        // Someone has shortened the grace since: ask again, with less.
        Some(Busy { deadline: Some(at) })
            if at.duration_since(kill_at).as_secs() > 1 && grace_s <= 1 =>
        {
            None
        }
        Some(_) => return,
    };
    draft.plan.steps.push(stop(unit, held, grace_s, why));
}

/// A stopping container is still asked whether it is ready, as upstream does.
fn readiness(unit: &Unit<'_>, seen: &Observed, draft: &mut Draft) {
    let seat = Seat::of(seen, unit.name());
    if let (Some((held, started_at)), Some(probe)) =
        (seat.running(), &unit.container.readiness_probe)
    {
        let wish = probe_wish(unit, held, started_at, ProbeKind::Readiness, probe);
        draft.plan.probes.push(wish);
    }
}
