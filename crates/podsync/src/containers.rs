//! A pod's containers of every sort, each beside what the keeper holds of it.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, EphemeralContainer, Pod};

use crate::{
    config::SANDBOX_ATTEMPT,
    observed::{Held, HeldPhase, Observed, StartFailure},
    restart::restarts,
};

/// What sort of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs to its end before the next begins.
    Init,
    /// An init container that goes on: `restartPolicy: Always`.
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// Added for debugging; never restarted.
    Ephemeral,
}

/// One container of the pod's spec.
#[derive(Debug, Clone)]
pub(crate) struct Unit<'a> {
    /// Its spec.
    pub(crate) container: Cow<'a, Container>,
    /// Its sort.
    pub(crate) kind: Kind,
}

impl Unit<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.container.name
    }

    /// As events name it.
    pub(crate) fn field_path(&self) -> String {
        let list = match self.kind {
            Kind::Init | Kind::Sidecar => "initContainers",
            Kind::Main => "containers",
            Kind::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{}}}", self.name())
    }

    /// Whether it runs again after this exit code.
    pub(crate) fn restarts(&self, pod: &Pod, exit_code: i32) -> bool {
        match self.kind {
            Kind::Sidecar => true,
            Kind::Ephemeral => false,
            Kind::Main => restarts(pod, &self.container, exit_code),
            Kind::Init => exit_code != 0 && restarts(pod, &self.container, exit_code),
        }
    }
}

/// Every container of the pod: init ones, main ones, ephemeral ones, each in the spec's order.
pub(crate) fn units(pod: &Pod) -> Vec<Unit<'_>> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let init = spec.init_containers.iter().flatten().map(|container| Unit {
        kind: if container.restart_policy.as_deref() == Some("Always") {
            Kind::Sidecar
        } else {
            Kind::Init
        },
        container: Cow::Borrowed(container),
    });
    let main = spec
        .containers
        .iter()
        .map(|container| Unit { kind: Kind::Main, container: Cow::Borrowed(container) });
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|container| Unit { kind: Kind::Ephemeral, container: Cow::Owned(plain(container)) });
    init.chain(main).chain(ephemeral).collect()
}

/// An ephemeral container's fields as a container's.
fn plain(from: &EphemeralContainer) -> Container {
    let from = from.clone();
    Container {
        args: from.args,
        command: from.command,
        env: from.env,
        env_from: from.env_from,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        name: from.name,
        security_context: from.security_context,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        tty: from.tty,
        volume_devices: from.volume_devices,
        volume_mounts: from.volume_mounts,
        working_dir: from.working_dir,
        ..Container::default()
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) at: Timestamp,
}

/// What is held of one container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seat<'a> {
    /// The newest, in whichever sandbox.
    pub(crate) newest: Option<&'a Held>,
    /// The one before it.
    pub(crate) before: Option<&'a Held>,
    /// The newest belongs to the living sandbox.
    pub(crate) current: bool,
    /// Its last start failed after all.
    pub(crate) failure: Option<&'a StartFailure>,
}

impl<'a> Seat<'a> {
    pub(crate) fn of(seen: &'a Observed, name: &str) -> Seat<'a> {
        let Some(sandbox) = &seen.sandbox else {
            return Seat { failure: seen.failures.get(name), ..Seat::default() };
        };
        let mut held: Vec<&Held> = sandbox.containers.iter().filter(|c| c.name == name).collect();
        held.sort_by_key(|c| c.attempt);
        let newest = held.pop();
        let wanted = sandbox.attempt.to_string();
        Seat {
            newest,
            before: held.pop(),
            current: sandbox.alive
                && newest.is_some_and(|c| {
                    c.annotations.get(SANDBOX_ATTEMPT).is_none_or(|attempt| *attempt == wanted)
                }),
            failure: seen.failures.get(name),
        }
    }

    /// It runs now.
    pub(crate) fn running(&self) -> Option<(&'a Held, Timestamp)> {
        match self.newest {
            Some(held) if self.current => match held.phase {
                HeldPhase::Running { started_at } => Some((held, started_at)),
                _ => None,
            },
            _ => None,
        }
    }

    /// How it ended last, a failed start of its program included.
    pub(crate) fn exit(&self) -> Option<Exit> {
        if self.running().is_some() {
            return None;
        }
        let failed = self
            .failure
            .filter(|f| f.reason == "RunContainerError")
            .map(|f| Exit { code: 128, at: f.at });
        match self.newest.map(|held| (&held.phase, self.current)) {
            Some((HeldPhase::Exited { exit_code, finished_at, .. }, _)) => {
                let exit = Exit { code: *exit_code, at: *finished_at };
                match failed {
                    Some(failed) if failed.at > exit.at => Some(failed),
                    _ => Some(exit),
                }
            }
            // It ran, and its sandbox is gone: killed, as far as anyone can tell.
            Some((HeldPhase::Running { started_at }, false)) => {
                Some(Exit { code: 137, at: *started_at })
            }
            _ => failed,
        }
    }

    /// It ended in the living sandbox with this exit.
    pub(crate) fn current_exit(&self) -> Option<Exit> {
        let exit = self.exit()?;
        let of_failure = self.failure.is_some_and(|f| f.at == exit.at);
        (self.current || of_failure).then_some(exit)
    }
}

/// The attempt of the next start: one more than any that is known of.
pub(crate) fn next_attempt(pod: &Pod, seen: &Observed, name: &str) -> u32 {
    let seat = Seat::of(seen, name);
    let held = seat.newest.map_or(0, |held| held.attempt + 1);
    let failed = seat
        .failure
        .filter(|f| f.reason == "RunContainerError" || f.reason == "PostStartHookError")
        .map_or(0, |f| f.attempt + 1);
    let shown = previous_status(pod, name).map_or(0, |status| {
        let count = u32::try_from(status.restart_count).unwrap_or(0);
        if ran_before(status) { count + 1 } else { count }
    });
    held.max(failed).max(shown)
}

/// The status says that a container of this name existed.
pub(crate) fn ran_before(status: &ContainerStatus) -> bool {
    let ended = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    ended || status.container_id.as_deref().is_some_and(|id| !id.is_empty())
}

/// What the API's status says of a container.
pub(crate) fn previous_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .flatten()
        .find(|status| status.name == name)
}
