//! Container statuses: states, reasons, counts, as upstream shows them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, Pod, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    config::{IMAGE_NAME, IMAGE_REFERENCE},
    containers::{Kind, Seat, Unit, previous_status, ran_before},
    living::started,
    observed::{Desired, Held, HeldPhase, Observed},
    plan::{Event, Plan, Step},
};

/// A plan in the making, and what it found to say of each container.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    /// Why a container waits: reason and message, by name.
    pub(crate) waiting: BTreeMap<String, (String, Option<String>)>,
}

impl Draft {
    pub(crate) fn wait_for(&mut self, name: &str, reason: &str, message: Option<String>) {
        self.waiting.insert(name.to_owned(), (reason.to_owned(), message));
    }

    /// Says it, unless it was said already.
    pub(crate) fn event(&mut self, seen: &Observed, event: Event) {
        if event.once.as_ref().is_none_or(|key| !seen.announced.contains(key)) {
            self.plan.steps.push(Step::Event(event));
        }
    }
}

/// The statuses of `units`, in their order.
pub(crate) fn statuses<'a>(
    want: Desired<'_>,
    seen: &Observed,
    units: impl Iterator<Item = &'a Unit<'a>>,
    draft: &Draft,
    began: bool,
    ended: bool,
) -> Vec<ContainerStatus> {
    units.map(|unit| one(want, seen, unit, draft, began, ended)).collect()
}

fn one(
    want: Desired<'_>,
    seen: &Observed,
    unit: &Unit<'_>,
    draft: &Draft,
    began: bool,
    ended: bool,
) -> ContainerStatus {
    let name = unit.name();
    let seat = Seat::of(seen, name);
    let previous = previous_status(want.pod, name);
    let mut status = ContainerStatus {
        name: name.to_owned(),
        image: unit.container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..ContainerStatus::default()
    };
    if let Some(held) = seat.newest {
        identity(&mut status, held);
    } else if let Some(previous) = previous.filter(|p| ran_before(p)) {
        status.restart_count = previous.restart_count;
    }
    status.last_state = seat
        .before
        .and_then(|held| ended_state(held, true))
        .or_else(|| previous.and_then(|p| p.last_state.clone()).filter(|s| s.terminated.is_some()));
    let failed_start = failed_start(&seat);
    if let Some((reason, message)) = draft.waiting.get(name) {
        let last =
            failed_start.or_else(|| seat.newest.and_then(|held| ended_state(held, !seat.current)));
        status.last_state = last.or_else(|| lost(previous)).or(status.last_state);
        status.state = Some(waiting(reason, message.clone()));
    } else if let Some((held, started_at)) = seat.running() {
        running(want, seen, unit, held, started_at, &mut status);
    } else if let Some(failed) = failed_start.filter(|_| seat.newest.is_none() || ended) {
        status.state = Some(failed);
    } else if let Some(state) = seat.newest.and_then(|held| ended_state(held, !seat.current)) {
        let done = state.terminated.as_ref().is_some_and(|t| t.exit_code == 0);
        status.ready = unit.kind == Kind::Init && done;
        status.state = Some(state);
    } else if ended && began {
        status.state =
            Some(unknown("The container could not be located when the pod was terminated"));
    } else {
        status.last_state = lost(previous).or(status.last_state);
        let waits_for_init = !began && unit.kind == Kind::Main
            || unit.kind == Kind::Init
            || unit.kind == Kind::Sidecar;
        let reason = if has_init(want.pod) && waits_for_init {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        status.state = Some(waiting(reason, None));
    }
    status
}

/// Who it is: id, image, count.
fn identity(status: &mut ContainerStatus, held: &Held) {
    let noted = |key: &str| held.annotations.get(key).filter(|value| !value.is_empty());
    status.container_id = Some(format!("stead://{}", held.id));
    status.image = noted(IMAGE_NAME).unwrap_or(&held.image).clone();
    status.image_id = noted(IMAGE_REFERENCE).unwrap_or(&held.image_id).clone();
    status.restart_count = i32::try_from(held.attempt).unwrap_or(i32::MAX);
}

fn running(
    want: Desired<'_>,
    seen: &Observed,
    unit: &Unit<'_>,
    held: &Held,
    started_at: Timestamp,
    status: &mut ContainerStatus,
) {
    let is_started = started(want, seen, &unit.container, held);
    status.started = Some(is_started);
    status.ready = is_started && unit.kind != Kind::Init && ready(want, seen, unit, held);
    status.state = Some(ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(Time(whole_seconds(started_at))) }),
        ..ContainerState::default()
    });
    if unit.kind != Kind::Ephemeral
        && let Some(resources) = &unit.container.resources
    {
        status.resources = Some(resources.clone());
        status.allocated_resources = resources.requests.clone().filter(|r| !r.is_empty());
    }
    let mounts: Vec<VolumeMountStatus> = unit
        .container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| VolumeMountStatus {
            mount_path: mount.mount_path.clone(),
            name: mount.name.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: mount
                .read_only
                .filter(|read_only| *read_only)
                .map(|_| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        })
        .collect();
    status.volume_mounts = Some(mounts).filter(|mounts| !mounts.is_empty());
}

/// Ready by its probe; without a result of ours, what was said of this very container holds.
fn ready(want: Desired<'_>, seen: &Observed, unit: &Unit<'_>, held: &Held) -> bool {
    if unit.container.readiness_probe.is_none() {
        return true;
    }
    let result = seen.probes.get(&held.id).and_then(|probed| probed.readiness);
    result.unwrap_or_else(|| {
        previous_status(want.pod, unit.name()).is_some_and(|status| {
            status.ready && status.container_id.as_deref() == Some(&format!("stead://{}", held.id))
        })
    })
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn unknown(message: &str) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(message.to_owned()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// The status showed it running, and neither keeper nor record is here.
fn lost(previous: Option<&ContainerStatus>) -> Option<ContainerState> {
    let state = previous?.state.as_ref()?;
    if state.running.is_some() {
        return Some(unknown(
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ));
    }
    state.terminated.is_some().then(|| state.clone())
}

/// A program that could not be started, as runtimes show it.
fn failed_start(seat: &Seat<'_>) -> Option<ContainerState> {
    let failure = seat.failure.filter(|failure| failure.reason == "RunContainerError")?;
    if let Some(HeldPhase::Exited { finished_at, .. }) = seat.newest.map(|held| &held.phase)
        && *finished_at > failure.at
    {
        return None;
    }
    Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 128,
            reason: Some("StartError".to_owned()),
            message: Some(failure.message.clone()),
            finished_at: Some(Time(whole_seconds(failure.at))),
            started_at: Some(Time(Timestamp::UNIX_EPOCH)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    })
}

/// How it ended; `lost`: its sandbox is gone, so that whatever ran in it has ended.
fn ended_state(held: &Held, lost: bool) -> Option<ContainerState> {
    let id = Some(format!("stead://{}", held.id));
    let terminated = match &held.phase {
        HeldPhase::Exited { started_at, finished_at, exit_code, oom_killed, .. } => {
            let reason = match (oom_killed, exit_code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            };
            ContainerStateTerminated {
                container_id: id,
                exit_code: *exit_code,
                reason: Some(reason.to_owned()),
                message: held.message.clone().filter(|message| !message.is_empty()),
                started_at: started_at.map(|at| Time(whole_seconds(at))),
                finished_at: Some(Time(whole_seconds(*finished_at))),
                ..ContainerStateTerminated::default()
            }
        }
        HeldPhase::Running { started_at } if lost => ContainerStateTerminated {
            container_id: id,
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container could not be located when the pod was terminated".to_owned(),
            ),
            started_at: Some(Time(whole_seconds(*started_at))),
            ..ContainerStateTerminated::default()
        },
        HeldPhase::Running { .. } | HeldPhase::Created => return None,
    };
    Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() })
}

/// The API's times have whole seconds.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Whether every init container is behind the pod.
pub(crate) fn initialized(want: Desired<'_>, seen: &Observed, units: &[Unit<'_>]) -> bool {
    let main_began = units
        .iter()
        .filter(|unit| unit.kind == Kind::Main)
        .any(|unit| Seat::of(seen, unit.name()).current);
    main_began
        || units.iter().all(|unit| {
            let seat = Seat::of(seen, unit.name());
            match unit.kind {
                Kind::Init => seat.current_exit().is_some_and(|exit| exit.code == 0),
                Kind::Sidecar => seat
                    .running()
                    .is_some_and(|(held, _)| started(want, seen, &unit.container, held)),
                Kind::Main | Kind::Ephemeral => true,
            }
        })
}

/// `spec.initContainers` is not empty.
pub(crate) fn has_init(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some())
}
