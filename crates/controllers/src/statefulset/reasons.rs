//! What is the matter with a pod, in words that stay the same until something changes.
//!
//! The words go into the set's conditions, where each change is a write, so they hold instants, never
//! durations, and no word in them flips while a container goes round its back-off.

use api::k8s::api::core::v1::{ContainerStatus, Pod};
use jiff::{SignedDuration, Timestamp};

use super::view::{Health, View, condition, phase, ready, terminating};

/// Why a pod is not available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// `CamelCase` machine word: the container's or the pod's own where it has one.
    pub(super) reason: String,
    /// The whole sentence: which pod, what it waits for, since when.
    pub(super) sentence: String,
    /// Nothing but a person or a new pod will end it, as far as the pod's status tells.
    pub(super) lasting: bool,
}

impl Trouble {
    pub(super) fn new(reason: &str, sentence: String, lasting: bool) -> Self {
        Self { reason: reason.to_owned(), sentence, lasting }
    }
}

/// What keeps this pod from being available; `None` when nothing does.
pub(super) fn trouble(view: &View, pod: &Pod) -> Option<Trouble> {
    if terminating(pod) {
        return Some(leaving(pod));
    }
    match view.health(pod) {
        Health::Available => None,
        Health::Settling => Some(settling(view, pod)),
        Health::Finished => Some(ended(pod)),
        Health::Pending | Health::Unready => Some(unready(pod)),
    }
}

/// On its way out: since when, and what holds it.
fn leaving(pod: &Pod) -> Trouble {
    let meta = &pod.metadata;
    // The timestamp is the end of its grace.
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    let asked = meta.deletion_timestamp.as_ref().and_then(|at| at.0.checked_sub(grace).ok());
    let mut sentence = format!("pod {} is being deleted{}", name(pod), since(asked));
    let holders = meta.finalizers.as_deref().unwrap_or_default();
    if !holders.is_empty() {
        sentence += &format!(", held by finalizer {}", holders.join(", "));
    }
    Trouble::new("PodTerminating", sentence, !holders.is_empty())
}

fn settling(view: &View, pod: &Pod) -> Trouble {
    let at = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    let sentence = format!(
        "pod {} is Ready{} and counts as available after {} s of it",
        name(pod),
        since(at.map(|at| at.0)),
        view.min_ready_s(),
    );
    Trouble::new("PodSettling", sentence, false)
}

fn ended(pod: &Pod) -> Trouble {
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    let reason = reason.filter(|reason| !reason.is_empty());
    let phase = phase(pod);
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let sentence = format!("pod {} has ended as {phase}{}{why}", name(pod), since(unready_at(pod)));
    Trouble::new(reason.unwrap_or("PodEnded"), sentence, false)
}

fn unready(pod: &Pod) -> Trouble {
    let placed = condition(pod, "PodScheduled");
    if let Some(placed) = placed.filter(|placed| placed.status == "False") {
        let reason = placed.reason.as_deref().unwrap_or("Unschedulable");
        let at = placed.last_transition_time.as_ref().map(|at| at.0).or_else(|| born(pod));
        let sentence = format!("pod {} is not scheduled{}: {reason}", name(pod), since(at));
        return Trouble::new(reason, sentence, reason == "Unschedulable");
    }
    let sentence = format!("pod {} is not Ready{}", name(pod), since(unready_at(pod)));
    match containers(pod).find_map(|status| Some((status, stuck(status)?))) {
        Some((container, reason)) => {
            let sentence = format!("{sentence}: container {} is in {reason}", container.name);
            Trouble::new(reason, sentence, true)
        }
        None => Trouble::new("PodNotReady", sentence, false),
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

/// The word for a container that cannot be started or kept running: one word for each round of
/// trying, pulling or running and waiting in between.
fn stuck(container: &ContainerStatus) -> Option<&str> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("ErrImagePull" | "ImagePullBackOff") => return Some("ImagePullBackOff"),
        Some(
            reason @ ("CrashLoopBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"),
        ) => return Some(reason),
        _ => (),
    }
    let ended = state.and_then(|state| state.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let failed = ended.or(before).is_some_and(|end| end.exit_code != 0);
    (failed && !container.ready).then_some("CrashLoopBackOff")
}

/// Since when it is not Ready; a pod that never said so, since it was made.
fn unready_at(pod: &Pod) -> Option<Timestamp> {
    let condition = condition(pod, "Ready").filter(|_| !ready(pod));
    let said = condition.and_then(|ready| ready.last_transition_time.as_ref());
    said.map(|at| at.0).or_else(|| born(pod))
}

fn born(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|at| at.0)
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// ` since <instant>`, or nothing where that is not known.
pub(super) fn since(at: Option<Timestamp>) -> String {
    at.map(|at| format!(" since {at}")).unwrap_or_default()
}
