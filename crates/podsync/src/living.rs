//! A pod that is to run: volumes, sandbox, init containers in order, containers, restarts.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{
    config::container_wish,
    containers::{Exit, Kind, Seat, Unit, next_attempt},
    events::{go_duration, normal, pod_words, warning},
    observed::{Desired, Held, HeldPhase, ImageFacts, ImageSeen, Observed, VolumesSeen, Work},
    plan::{Plan, ProbeKind, ProbeWish, Step},
    restart::BackOff,
    statuses::Draft,
};

/// How long `ErrImagePull` shows before `ImagePullBackOff`, seconds: upstream's next look at the
/// pod comes about then.
const PULL_ERROR_SHOWN_S: i64 = 1;
/// How long `RunContainerError` shows before `CrashLoopBackOff`, seconds.
const START_ERROR_SHOWN_S: i64 = 1;
/// Between two tries to create a container, seconds: upstream's pod worker's period.
const CREATE_AGAIN_S: i64 = 10;
/// Longest time between two tries to make volumes, seconds. Source: kubelet v1.36
/// `exponentialbackoff`, 2m2s at most, from 500 ms.
const MOUNT_AGAIN_MAX_MS: i64 = 122_000;

/// Decides for a pod that is to run.
pub(crate) fn decide(
    want: Desired<'_>,
    seen: &Observed,
    units: &[Unit<'_>],
    now: Timestamp,
    draft: &mut Draft,
) {
    if !volumes_ready(seen, now, &mut draft.plan) || !sandbox_ready(seen, now, &mut draft.plan) {
        return;
    }
    let living = Living { want, seen, now };
    for unit in units.iter().filter(|unit| unit.kind == Kind::Ephemeral) {
        living.keep(unit, draft);
    }
    let main_began = units
        .iter()
        .filter(|unit| unit.kind == Kind::Main)
        .any(|unit| Seat::of(seen, unit.name()).current);
    let mut ready = true;
    for unit in units.iter().filter(|u| matches!(u.kind, Kind::Init | Kind::Sidecar)) {
        if main_began {
            if unit.kind == Kind::Sidecar {
                living.keep(unit, draft);
            }
            continue;
        }
        if !living.init_done(unit, draft) {
            ready = false;
            draft.plan.waits.push(format!("init container {}", unit.name()));
            break;
        }
    }
    if ready {
        for unit in units.iter().filter(|unit| unit.kind == Kind::Main) {
            living.keep(unit, draft);
        }
    }
    collect_garbage(seen, units, draft);
}

fn later(now: Timestamp, ms: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_millis(ms)).unwrap_or(now)
}

fn volumes_ready(seen: &Observed, now: Timestamp, plan: &mut Plan) -> bool {
    let again = match &seen.volumes {
        VolumesSeen::Mounted => return true,
        VolumesSeen::Untried | VolumesSeen::Unmounted => now,
        VolumesSeen::Failed { at, times } => {
            let wait_ms = 500_i64 << (*times).saturating_sub(1).min(8);
            later(*at, wait_ms.min(MOUNT_AGAIN_MAX_MS))
        }
    };
    plan.waits.push("volumes".to_owned());
    if seen.busy.contains_key(&Work::MountVolumes) {
    } else if again <= now {
        plan.steps.push(Step::MountVolumes);
    } else {
        plan.look_at(again);
    }
    false
}

fn sandbox_ready(seen: &Observed, now: Timestamp, plan: &mut Plan) -> bool {
    let old = seen.sandbox.as_ref();
    // A keeper is seen alive before its network and its address are there.
    let making = seen.busy.contains_key(&Work::RunPod);
    if !making && old.is_some_and(|sandbox| sandbox.alive) {
        return true;
    }
    if let Some(other) = &seen.blocked_by {
        plan.waits.push(format!("the pod of this name with uid {other} to be gone"));
        return false;
    }
    plan.waits.push("sandbox".to_owned());
    if making {
        return false;
    }
    if let Some(failure) = &seen.sandbox_failure {
        let again =
            later(failure.at, (1000_i64 << failure.times.min(4)).min(CREATE_AGAIN_S * 1000));
        if again > now {
            plan.look_at(again);
            return false;
        }
    }
    let attempt = old.map_or(0, |sandbox| sandbox.attempt + 1);
    if old.is_some_and(|sandbox| !sandbox.containers.is_empty()) && seen.sandbox_failure.is_none() {
        let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
        plan.steps.push(Step::Event(normal("SandboxChanged", "", message)));
    }
    plan.steps.push(Step::RunPod { attempt });
    false
}

/// Keeps the newest exited container of each name for `logs --previous`; older ones go.
pub(crate) fn collect_garbage(seen: &Observed, units: &[Unit<'_>], draft: &mut Draft) {
    let Some(sandbox) = &seen.sandbox else { return };
    for unit in units {
        let mut exited: Vec<&Held> = sandbox
            .containers
            .iter()
            .filter(|held| held.name == unit.name())
            .filter(|held| matches!(held.phase, HeldPhase::Exited { .. }))
            .collect();
        exited.sort_by_key(|held| held.attempt);
        exited.pop();
        for held in exited {
            if !seen.busy.contains_key(&Work::Remove(held.id.clone())) {
                draft.plan.steps.push(Step::RemoveContainer { id: held.id.clone() });
            }
        }
    }
}

struct Living<'a> {
    want: Desired<'a>,
    seen: &'a Observed,
    now: Timestamp,
}

impl Living<'_> {
    /// An init container or sidecar lets the next one begin.
    fn init_done(&self, unit: &Unit<'_>, draft: &mut Draft) -> bool {
        let seat = Seat::of(self.seen, unit.name());
        if unit.kind == Kind::Sidecar {
            self.keep(unit, draft);
            return seat.running().is_some_and(|(held, _)| self.started(&unit.container, held));
        }
        match seat.current_exit() {
            Some(Exit { code: 0, .. }) => true,
            _ => {
                self.keep(unit, draft);
                false
            }
        }
    }

    /// Its postStart hook and startup probe are behind it.
    fn started(&self, container: &Container, held: &Held) -> bool {
        started(self.want, self.seen, container, held)
    }

    /// Runs it if it is to run, and restarts it where that is due.
    fn keep(&self, unit: &Unit<'_>, draft: &mut Draft) {
        let seat = Seat::of(self.seen, unit.name());
        if let Some((held, started_at)) = seat.running() {
            self.watch(unit, held, started_at, draft);
            return;
        }
        if let Some(exit) = seat.exit()
            && (seat.current || unit.kind != Kind::Init)
            && !unit.restarts(self.want.pod, exit.code)
        {
            return;
        }
        if unit.kind == Kind::Ephemeral && seat.newest.is_some() {
            return;
        }
        self.start(unit, &seat, draft);
    }

    /// A running container: its probes, and what ends it.
    fn watch(&self, unit: &Unit<'_>, held: &Held, started_at: Timestamp, draft: &mut Draft) {
        let name = unit.name();
        if self.seen.busy.contains_key(&Work::Start(name.to_owned()))
            || self.seen.busy.contains_key(&Work::Stop(held.id.clone()))
        {
            return;
        }
        let probed = self.seen.probes.get(&held.id).copied().unwrap_or_default();
        let wanted = unit.container.image.as_deref().unwrap_or("");
        let hook = self
            .seen
            .failures
            .get(name)
            .is_some_and(|f| f.reason == "PostStartHookError" && f.attempt == held.attempt);
        let (why, probe) = if unit.kind != Kind::Ephemeral && held.image != wanted {
            (format!("Container {name} definition changed, will be restarted"), None)
        } else if hook {
            ("FailedPostStartHook".to_owned(), None)
        } else if probed.startup == Some(false) {
            let why = format!("Container {name} failed startup probe, will be restarted");
            (why, unit.container.startup_probe.as_ref())
        } else if probed.liveness == Some(false) {
            let why = format!("Container {name} failed liveness probe, will be restarted");
            (why, unit.container.liveness_probe.as_ref())
        } else {
            self.probes(unit, held, started_at, draft);
            return;
        };
        let grace = probe
            .and_then(|probe| probe.termination_grace_period_seconds)
            .unwrap_or_else(|| spec_grace_s(self.want));
        draft.plan.steps.push(stop(unit, held, grace, Some(why)));
    }

    fn probes(&self, unit: &Unit<'_>, held: &Held, started_at: Timestamp, draft: &mut Draft) {
        let started = self.started(&unit.container, held);
        let container = &unit.container;
        let kinds = [
            (ProbeKind::Startup, &container.startup_probe, !started),
            (ProbeKind::Liveness, &container.liveness_probe, started),
            (ProbeKind::Readiness, &container.readiness_probe, started),
        ];
        for (kind, probe, due) in kinds {
            if let (Some(probe), true) = (probe, due) {
                draft.plan.probes.push(probe_wish(unit, held, started_at, kind, probe));
            }
        }
    }

    fn start(&self, unit: &Unit<'_>, seat: &Seat<'_>, draft: &mut Draft) {
        let name = unit.name();
        let busy = &self.seen.busy;
        if busy.contains_key(&Work::Start(name.to_owned()))
            || busy.contains_key(&Work::Pull(name.to_owned()))
            || seat.newest.is_some_and(|held| busy.contains_key(&Work::Stop(held.id.clone())))
        {
            return;
        }
        if self.backs_off(unit, seat, draft) || self.failed_lately(unit, draft) {
            return;
        }
        let attempt = next_attempt(self.want.pod, self.seen, name);
        let Some(image) = self.image(unit, attempt, draft) else {
            return;
        };
        let addresses = self.seen.sandbox.as_ref().map_or(&[][..], |s| s.addresses.as_slice());
        match container_wish(self.want.pod, unit, self.seen, &image, attempt, addresses) {
            Ok(mut wish) => {
                wish.back_off = self.back_off(name).grown(self.now);
                if attempt == 0 {
                    // The first run costs nothing: the first restart is at once, as upstream's.
                    wish.back_off = BackOff::default();
                }
                draft.plan.steps.push(Step::StartContainer(Box::new(wish)));
            }
            Err(error) => {
                let message = error.to_string();
                let mut event = warning("Failed", &unit.field_path(), format!("Error: {message}"));
                event.once = Some(format!("config/{name}/{message}"));
                draft.event(self.seen, event);
                draft.wait_for(name, "CreateContainerConfigError", Some(message));
            }
        }
    }

    fn back_off(&self, name: &str) -> BackOff {
        self.seen.back_offs.get(name).copied().unwrap_or_default()
    }

    /// It crashed and has to wait.
    fn backs_off(&self, unit: &Unit<'_>, seat: &Seat<'_>, draft: &mut Draft) -> bool {
        let name = unit.name();
        let Some(exit) = seat.exit() else { return false };
        let back_off = self.back_off(name);
        let Some(until) = back_off.until(exit.at).filter(|until| *until > self.now) else {
            return false;
        };
        let words = pod_words(self.want.pod);
        let delay = go_duration(u64::try_from(back_off.delay_s).unwrap_or(0) * 1000);
        let message = format!("back-off {delay} restarting failed container={name} pod={words}");
        // A program that would not start is named first, then counted among the crashes.
        let shown_until = later(exit.at, START_ERROR_SHOWN_S * 1000);
        if let Some(failure) = seat.failure.filter(|failure| failure.at == exit.at)
            && self.now < shown_until
        {
            draft.wait_for(name, &failure.reason, Some(failure.message.clone()));
            draft.plan.look_at(shown_until);
            return true;
        }
        draft.wait_for(name, "CrashLoopBackOff", Some(message));
        let message = format!("Back-off restarting failed container {name} in pod {words}");
        let mut event = warning("BackOff", &unit.field_path(), message);
        event.once = Some(format!("back-off/{name}/{}", exit.at));
        draft.event(self.seen, event);
        draft.plan.look_at(until);
        true
    }

    /// Its last start failed before its program began, and it is too early for another try.
    fn failed_lately(&self, unit: &Unit<'_>, draft: &mut Draft) -> bool {
        let Some(failure) = self.seen.failures.get(unit.name()) else {
            return false;
        };
        if failure.reason != "CreateContainerError"
            && failure.reason != "CreateContainerConfigError"
        {
            return false;
        }
        let again = later(failure.at, CREATE_AGAIN_S * 1000);
        if again <= self.now {
            return false;
        }
        draft.wait_for(unit.name(), &failure.reason, Some(failure.message.clone()));
        draft.plan.look_at(again);
        true
    }

    /// Its image, or the step that gets it.
    fn image(&self, unit: &Unit<'_>, attempt: u32, draft: &mut Draft) -> Option<ImageFacts> {
        let name = unit.name();
        let reference = unit.container.image.clone().unwrap_or_default();
        let mut back_off = BackOff::default();
        match self.seen.images.get(name) {
            Some(ImageSeen::Ready { attempt: of, image }) if *of == attempt => {
                return Some(image.clone());
            }
            Some(ImageSeen::Failed { reason, message, at, back_off: last }) => {
                back_off = *last;
                if let Some(until) = last.until(*at).filter(|until| *until > self.now) {
                    self.pull_failed(unit, reason, message, *at, draft);
                    draft.plan.look_at(until);
                    return None;
                }
            }
            _ => {}
        }
        draft.plan.steps.push(Step::PullImage {
            container: name.to_owned(),
            attempt,
            policy: pull_policy(&unit.container, &reference).to_owned(),
            reference,
            field_path: unit.field_path(),
            back_off,
        });
        None
    }

    fn pull_failed(
        &self,
        unit: &Unit<'_>,
        reason: &str,
        message: &str,
        at: Timestamp,
        draft: &mut Draft,
    ) {
        let name = unit.name();
        let shown_until = later(at, PULL_ERROR_SHOWN_S * 1000);
        let image = unit.container.image.as_deref().unwrap_or("");
        let backs_off = matches!(reason, "ErrImagePull" | "RegistryUnavailable");
        if !backs_off || self.now < shown_until {
            let mut event = warning("Failed", &unit.field_path(), format!("Error: {reason}"));
            event.once = Some(format!("pull/{name}/{at}"));
            draft.event(self.seen, event);
            draft.wait_for(name, reason, Some(message.to_owned()));
            if backs_off {
                draft.plan.look_at(shown_until);
            }
            return;
        }
        let sentence = format!("Back-off pulling image \"{image}\"");
        let mut event = normal("BackOff", &unit.field_path(), sentence.clone());
        event.once = Some(format!("pull-back-off/{name}/{at}"));
        draft.event(self.seen, event);
        let text = "Error: ImagePullBackOff".to_owned();
        let mut event = warning("Failed", &unit.field_path(), text);
        event.once = Some(format!("pull-back-off-error/{name}/{at}"));
        draft.event(self.seen, event);
        let message = format!("{sentence}: {reason}: {message}");
        draft.wait_for(name, "ImagePullBackOff", Some(message));
    }
}

/// The policy, or upstream's default for the name.
fn pull_policy<'a>(container: &'a Container, reference: &str) -> &'a str {
    if let Some(policy) = container.image_pull_policy.as_deref().filter(|p| !p.is_empty()) {
        return policy;
    }
    let last = reference.rsplit('/').next().unwrap_or("");
    if last.contains('@') {
        return "IfNotPresent";
    }
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// Seconds the pod's spec grants for stopping.
pub(crate) fn spec_grace_s(want: Desired<'_>) -> i64 {
    want.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30)
}

/// The step that stops a container within `grace_s`.
pub(crate) fn stop(unit: &Unit<'_>, held: &Held, grace_s: i64, why: Option<String>) -> Step {
    let lifecycle = unit.container.lifecycle.as_ref();
    Step::StopContainer {
        id: held.id.clone(),
        name: unit.name().to_owned(),
        field_path: unit.field_path(),
        pre_stop: lifecycle.and_then(|lifecycle| lifecycle.pre_stop.clone()),
        grace_s: u64::try_from(grace_s).unwrap_or(0),
        signal: crate::config::stop_signal(&unit.container),
        why,
    }
}

/// Its postStart hook and startup probe are behind it.
///
/// Without a result of ours (the agent has just begun) what the status said of this very
/// container holds.
pub(crate) fn started(
    want: Desired<'_>,
    seen: &Observed,
    container: &Container,
    held: &Held,
) -> bool {
    // Without a hook a container that runs has nothing more to wait for: to say so first, and that it
    // is ready in the next status, would cost every pod a write.
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    if hook.is_some() && seen.busy.contains_key(&Work::Start(container.name.clone())) {
        return false;
    }
    if container.startup_probe.is_none() {
        return true;
    }
    let result = seen.probes.get(&held.id).and_then(|probed| probed.startup);
    result.unwrap_or_else(|| {
        crate::containers::previous_status(want.pod, &container.name).is_some_and(|status| {
            status.container_id.as_deref() == Some(&format!("stead://{}", held.id))
                && status.started == Some(true)
        })
    })
}

/// A probe with its port's number.
pub(crate) fn probe_wish(
    unit: &Unit<'_>,
    held: &Held,
    started_at: Timestamp,
    kind: ProbeKind,
    probe: &Probe,
) -> ProbeWish {
    let named = probe
        .http_get
        .as_ref()
        .map(|get| &get.port)
        .or_else(|| probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
    let port = match named {
        Some(port) => resolve_port(port, unit.container.ports.as_deref().unwrap_or(&[])),
        None => probe.grpc.as_ref().and_then(|grpc| u16::try_from(grpc.port).ok()),
    };
    ProbeWish {
        container_id: held.id.clone(),
        container: unit.name().to_owned(),
        field_path: unit.field_path(),
        kind,
        probe: probe.clone(),
        started_at,
        port,
    }
}

/// A port's number, where a name may stand.
#[must_use]
pub fn resolve_port(port: &IntOrString, ports: &[ContainerPort]) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => ports
            .iter()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok())?,
    };
    u16::try_from(number).ok().filter(|port| *port > 0)
}
