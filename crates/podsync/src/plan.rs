//! What was decided: steps in order, the status to show, and when to look again.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LifecycleHandler, PodStatus, Probe};

use crate::{config::ContainerWish, observed::Work, restart::BackOff};

/// What to do with one pod now.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In this order; long ones go on while the agent looks again.
    pub steps: Vec<Step>,
    /// The probes that should run; all others stop.
    pub probes: Vec<ProbeWish>,
    /// Look again at this time even if nothing happens.
    pub look_again: Option<Timestamp>,
    /// What the pod waits for, in words.
    pub waits: Vec<String>,
    /// Nothing of the pod is left here: forget it.
    pub done: bool,
}

impl Plan {
    /// Asks for a look no later than `at`.
    pub(crate) fn look_at(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |other| other.min(at)));
    }
}

/// One step. Where a [`Work`] goes with it, the agent notes it as busy until it ends.
#[derive(Debug, Clone)]
pub enum Step {
    /// Make the sandbox.
    RunPod {
        /// Which sandbox of the pod, from 0.
        attempt: u32,
    },
    /// Make sure that a container's image is here.
    PullImage {
        /// The container.
        container: String,
        /// For which start.
        attempt: u32,
        /// As the pod names it.
        reference: String,
        /// `Always`, `IfNotPresent`, `Never`.
        policy: String,
        /// For `spec.containers{x}` in events.
        field_path: String,
        /// What to wait after a failure.
        back_off: BackOff,
    },
    /// Make the pod's volumes.
    MountVolumes,
    /// Take the pod's volumes away.
    UnmountVolumes,
    /// Start a container and run its postStart hook.
    StartContainer(Box<ContainerWish>),
    /// Run preStop, ask it to stop, kill it at the end of its grace.
    StopContainer {
        /// Which.
        id: String,
        /// Its name, for events.
        name: String,
        /// For `spec.containers{x}` in events.
        field_path: String,
        /// Run before the signal, within the grace.
        pre_stop: Option<LifecycleHandler>,
        /// Seconds until SIGKILL, counted from now, preStop included.
        grace_s: u64,
        /// Instead of the image's.
        signal: Option<i32>,
        /// The Killing event's sentence; `None` when it was said already.
        why: Option<String>,
    },
    /// Remove an exited container's record and files.
    RemoveContainer {
        /// Which.
        id: String,
    },
    /// Take the sandbox down.
    StopPod,
    /// Remove the sandbox's record.
    RemovePod,
    /// Write an event about the pod.
    Event(Event),
    /// Write the status.
    SetStatus(Box<PodStatus>),
    /// Confirm to the API that nothing runs any more: delete with grace 0 and this uid.
    DeletePod {
        /// Whose.
        uid: String,
    },
}

impl Step {
    /// The work that this step begins, if it is one that goes on by itself.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        Some(match self {
            Step::RunPod { .. } => Work::RunPod,
            Step::PullImage { container, .. } => Work::Pull(container.clone()),
            Step::MountVolumes => Work::MountVolumes,
            Step::UnmountVolumes => Work::UnmountVolumes,
            Step::StartContainer(wish) => Work::Start(wish.name.clone()),
            Step::StopContainer { id, .. } => Work::Stop(id.clone()),
            Step::RemoveContainer { id } => Work::Remove(id.clone()),
            Step::StopPod => Work::StopPod,
            Step::RemovePod => Work::RemovePod,
            Step::Event(_) | Step::SetStatus(_) | Step::DeletePod { .. } => return None,
        })
    }
}

/// An event about the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    /// In `CamelCase`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// `spec.containers{x}`, or empty for the whole pod.
    pub field_path: String,
    /// Not written again while the agent remembers this key.
    pub once: Option<String>,
}

/// A probe that should run.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeWish {
    /// The container's id: a restarted container is probed anew.
    pub container_id: String,
    /// Its name.
    pub container: String,
    /// For `spec.containers{x}` in events.
    pub field_path: String,
    /// Which of the three.
    pub kind: ProbeKind,
    /// Parameters.
    pub probe: Probe,
    /// Since when the container runs; the initial delay counts from it.
    pub started_at: Timestamp,
    /// Number of a named port, resolved.
    pub port: Option<u16>,
}

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Before it succeeds, the other two do not run.
    Startup,
    /// A failure restarts the container.
    Liveness,
    /// A failure takes the pod out of Services.
    Readiness,
}

impl ProbeKind {
    /// As events begin: `Readiness probe failed: …`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}
