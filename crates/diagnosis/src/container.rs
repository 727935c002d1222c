//! A pod's containers: image, start, crash, probe.

use std::fmt::Write as _;

use api::k8s::{
    api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Event, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    explanation::{Case, Cause, Finding, Reason},
    pod::{condition, missing_object},
    snapshot::{Log, first_seen, last_seen, name_of},
};

/// A node starts with a pod within seconds of its assignment.
const SILENCE_S: i64 = 60;
/// A container that ended this long ago may still come to rest.
const LATELY_S: i64 = 600;
/// Lines of a log that are quoted.
const QUOTED: usize = 3;

impl Case<'_> {
    /// The first container that is not as the pod needs it.
    pub(crate) fn containers(&self, pod: &Pod) -> Option<Finding> {
        let status = pod.status.as_ref()?;
        let init = status.init_container_statuses.iter().flatten();
        let main = status.container_statuses.iter().flatten();
        let mut early = None;
        for (container, is_init) in init.map(|c| (c, true)).chain(main.map(|c| (c, false))) {
            let Some(finding) = self.container(pod, container, is_init) else { continue };
            let finding = finding.through("container", &container.name);
            if finding.state == crate::State::Stuck {
                return Some(finding);
            }
            early.get_or_insert(finding);
        }
        early.or_else(|| self.not_begun(pod))
    }

    fn container(&self, pod: &Pod, seen: &ContainerStatus, is_init: bool) -> Option<Finding> {
        let state = seen.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            return match reason {
                "CrashLoopBackOff" => Some(self.crash(pod, seen, last_exit(seen))),
                "CreateContainerConfigError" => Some(self.config(pod, message)),
                "CreateContainerError" | "RunContainerError" | "StartError" => {
                    let why = format!("it cannot be started: {message}");
                    let cure = self.edit(pod);
                    Some(Cause::new(Reason::ContainerStart, why, cure).stuck())
                }
                "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "RegistryUnavailable"
                | "ImageInspectError"
                | "SignatureValidationFailed" => Some(self.image(pod, seen, reason, message)),
                _ => self.mount(pod).or_else(|| self.starting(pod, is_init)),
            };
        }
        if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            let fine = is_init && ended.exit_code == 0;
            return (!fine).then(|| self.crash(pod, seen, Some(ended)));
        }
        if is_init && seen.started != Some(true) {
            let since = running_since(seen);
            let why = "this init container runs, and the others wait for its end";
            let logs = self.logs(pod, &seen.name, false);
            let cure = format!("none needed while it works; {logs} shows what it does");
            return Some(Cause::new(Reason::Initializing, why, cure).since(since).waiting());
        }
        if seen.ready {
            return None;
        }
        self.unready(pod, seen)
    }

    /// It runs, and is not ready: a probe, or it ended lately.
    fn unready(&self, pod: &Pod, seen: &ContainerStatus) -> Option<Finding> {
        if let Some(event) = self.unhealthy(pod, &seen.name) {
            return Some(self.probe(pod, seen, event));
        }
        let ended = last_exit(seen);
        let lately = ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0);
        if seen.restart_count > 0 && ended.is_some() && self.age_s(lately) < LATELY_S {
            return Some(self.crash(pod, seen, ended));
        }
        let wanted = container_of(pod, &seen.name)?;
        let probe = wanted.startup_probe.as_ref().or(wanted.readiness_probe.as_ref())?;
        let why = format!("its probe {} has not answered yet", asks(probe));
        let cure = format!(
            "none needed yet: it is asked every {}s after {}s",
            probe.period_seconds.unwrap_or(10),
            probe.initial_delay_seconds.unwrap_or(0)
        );
        Some(Cause::new(Reason::Starting, why, cure).since(running_since(seen)).waiting())
    }

    /// The newest failed answer of one of this container's probes, since it runs.
    fn unhealthy(&self, pod: &Pod, container: &str) -> Option<&Event> {
        let path = format!("{{{container}}}");
        self.seen.events("Pod", &pod.metadata).into_iter().find(|event| {
            let field = event.involved_object.field_path.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some("Unhealthy")
                && (field.is_empty() || field.ends_with(&path))
                && self.age_s(last_seen(event)) < LATELY_S
        })
    }

    fn probe(&self, pod: &Pod, seen: &ContainerStatus, event: &Event) -> Finding {
        let message = event.message.as_deref().unwrap_or_default();
        let lower = message.to_ascii_lowercase();
        let wanted = container_of(pod, &seen.name);
        let (kind, probe) = match () {
            () if lower.starts_with("startup") => {
                ("startupProbe", wanted.and_then(|c| c.startup_probe.as_ref()))
            }
            () if lower.starts_with("liveness") => {
                ("livenessProbe", wanted.and_then(|c| c.liveness_probe.as_ref()))
            }
            () => ("readinessProbe", wanted.and_then(|c| c.readiness_probe.as_ref())),
        };
        let (_, answer) = message.split_once("failed: ").unwrap_or(("", message));
        let asked = probe.map(asks).unwrap_or_default();
        let mut why = format!("its {kind} {asked} fails; the last answer: {}", one_line(answer));
        if kind == "livenessProbe" && seen.restart_count > 0 {
            let count = seen.restart_count;
            write!(why, "; it was restarted {count} times for it").unwrap_or_default();
        }
        let cure = format!(
            "mend what the program answers ({}), or the probe: {}",
            self.logs(pod, &seen.name, false),
            self.edit(pod)
        );
        let since = condition(pod, "ContainersReady")
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0)
            .or_else(|| first_seen(event));
        let finding = Cause::new(Reason::ProbeFails, why, cure).since(since).stuck();
        finding.through("probe", kind)
    }

    fn crash(
        &self,
        pod: &Pod,
        seen: &ContainerStatus,
        ended: Option<&ContainerStateTerminated>,
    ) -> Finding {
        let name = name_of(&pod.metadata);
        let code = ended.map_or(0, |ended| ended.exit_code);
        let since = ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0);
        let ended_as = ended.and_then(|ended| ended.reason.as_deref()).unwrap_or_default();
        let previous = seen.state.as_ref().is_none_or(|state| state.terminated.is_none());
        let log = Log { pod: name.to_owned(), container: seen.name.clone(), previous };
        let lines = self.seen.logs.get(&log);
        let times = match seen.restart_count {
            0 => String::new(),
            1 => ", after 1 restart".to_owned(),
            count => format!(", after {count} restarts"),
        };
        let mut why = match (ended_as, code) {
            ("OOMKilled", _) => format!(
                "it was killed for using more memory than its limit{}{times}",
                limit(pod, seen)
            ),
            (_, 0) => format!("its program ends by itself, with exit code 0{times}"),
            (_, 137) => format!("its program was killed (exit code 137){times}"),
            _ => format!("its program ended with exit code {code}{times}"),
        };
        if let Some(message) =
            ended.and_then(|ended| ended.message.as_deref()).filter(|m| !m.is_empty())
        {
            write!(why, ", saying {:?}", one_line(message)).unwrap_or_default();
        }
        match lines {
            Some(lines) if lines.is_empty() => why += "; its log is empty",
            Some(lines) => {
                let last = &lines[lines.len().saturating_sub(QUOTED)..];
                let quoted: Vec<String> =
                    last.iter().map(|line| format!("{:?}", line.trim_end())).collect();
                write!(why, "; its last lines: {}", quoted.join(" ")).unwrap_or_default();
            }
            None => (),
        }
        let logs = self.logs(pod, &seen.name, previous);
        let (reason, cure) = match (ended_as, code) {
            ("OOMKilled", _) => {
                (Reason::OutOfMemory, format!("raise its memory limit: {}", self.edit(pod)))
            }
            (_, 0) => (
                Reason::CrashLoop,
                format!("give it a command that keeps running: {}", self.edit(pod)),
            ),
            (_, 126..=128) => (
                Reason::CrashLoop,
                format!("name a program that the image has: {}", self.edit(pod)),
            ),
            _ => {
                (Reason::CrashLoop, format!("mend what its log says ({logs}): {}", self.edit(pod)))
            }
        };
        let mut cause = Cause::new(reason, why, cure).since(since);
        if lines.is_none() {
            cause.log = Some(log);
        }
        cause.stuck()
    }

    fn image(&self, pod: &Pod, seen: &ContainerStatus, reason: &str, message: &str) -> Finding {
        let image = container_of(pod, &seen.name).and_then(|c| c.image.as_deref());
        let image = image.unwrap_or(&seen.image);
        let event = self.seen.event(
            "Pod",
            &pod.metadata,
            &["Failed", "InspectFailed", "ErrImageNeverPull"],
        );
        let pulled = self.seen.events("Pod", &pod.metadata).into_iter().find_map(|event| {
            event.message.as_deref().filter(|text| text.starts_with("Failed to pull image"))
        });
        let said = match message.is_empty()
            || message.starts_with("Back-off") && !message.contains(": ")
        {
            true => pulled.unwrap_or(message),
            false => message,
        };
        let said = bare(said, image);
        let lower = said.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let set_image = match crate::snapshot::controller_of(&pod.metadata) {
            Some(owner) => {
                let kind = owner.kind.to_ascii_lowercase();
                self.kubectl(&format!("set image {kind}/{} {}=IMAGE", owner.name, seen.name))
            }
            None => self.kubectl(&format!(
                "set image pod/{} {}=IMAGE",
                name_of(&pod.metadata),
                seen.name
            )),
        };
        let cure = match () {
            () if reason == "InvalidImageName" => format!("that is no image's name: {set_image}"),
            () if reason == "ErrImageNeverPull" => {
                format!(
                    "bring it to the node (`stead image import FILE`), or allow a pull (imagePullPolicy): {}",
                    self.edit(pod)
                )
            }
            () if has(&[
                "unauthorized",
                "authentication required",
                "denied",
                "forbidden",
                "401",
                "403",
            ]) =>
            {
                format!(
                    "give the registry's credentials (imagePullSecrets), or another image: {set_image}"
                )
            }
            () if has(&["not found", "manifest unknown", "name unknown", "404"]) => {
                format!("name an image that exists: {set_image}")
            }
            () => format!(
                "make the registry reachable from the node, bring the image there (`stead image \
                 import FILE`), or name another: {set_image}"
            ),
        };
        let why = format!("{reason}: {said}");
        let since = event.and_then(first_seen);
        Cause::new(Reason::ImagePull, why, cure).since(since).stuck().through("image", image)
    }

    fn config(&self, pod: &Pod, message: &str) -> Finding {
        let missing = missing_object(message);
        let cure = match &missing {
            Some((kind @ ("configmap" | "secret"), name)) => {
                let word = if *kind == "secret" { "secret generic" } else { kind };
                let create =
                    self.kubectl(&format!("create {word} {name} --from-literal=KEY=VALUE"));
                format!("{create}, or {}", self.edit(pod))
            }
            _ => self.edit(pod),
        };
        let finding = Cause::new(Reason::ContainerConfig, message, cure).stuck();
        match missing {
            Some((kind, name)) => finding.through(kind, name),
            None => finding,
        }
    }

    fn starting(&self, pod: &Pod, is_init: bool) -> Option<Finding> {
        let since = condition(pod, "PodScheduled")
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0);
        let waits_for_init =
            is_init || condition(pod, "Initialized").is_none_or(|c| c.status == "True");
        waits_for_init.then(|| {
            let why = "its node prepares it: network, volumes, image";
            let describe = self.kubectl(&format!("describe pod {}", name_of(&pod.metadata)));
            let cause = Cause::new(
                Reason::Starting,
                why,
                format!("none needed; {describe} shows how far it is"),
            );
            cause.since(since).waiting()
        })
    }

    /// Assigned, and its node has said nothing of it.
    fn not_begun(&self, pod: &Pod) -> Option<Finding> {
        if let Some(finding) = self.mount(pod) {
            return Some(finding);
        }
        let status = pod.status.as_ref()?;
        if status.container_statuses.as_ref().is_some_and(|list| !list.is_empty()) {
            return None;
        }
        let placed = condition(pod, "PodScheduled");
        let since = placed.and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0);
        let node = pod.spec.as_ref()?.node_name.as_deref().unwrap_or_default();
        let why = "the pod was given to it, and it has not begun with it";
        let cure = format!("look at the agent of node {node} (its log; is it running?)");
        let cause = Cause::new(Reason::NodeSilent, why, cure).since(since);
        let finding = if self.age_s(since) > SILENCE_S { cause.stuck() } else { cause.waiting() };
        Some(finding.through("node", node))
    }

    fn logs(&self, pod: &Pod, container: &str, previous: bool) -> String {
        let previous = if previous { " --previous" } else { "" };
        self.kubectl(&format!("logs {} -c {container}{previous}", name_of(&pod.metadata)))
    }

    /// Whether no container runs any more.
    pub(crate) fn all_ended(&self, pod: &Pod) -> bool {
        let status = pod.status.iter();
        status
            .flat_map(|status| status.container_statuses.iter().flatten())
            .all(|container| container.state.as_ref().is_none_or(|state| state.running.is_none()))
    }

    /// How the first container that failed did so.
    pub(crate) fn exit_of(&self, pod: &Pod) -> String {
        let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
        let ends = statuses.filter_map(|c| Some((c, c.state.as_ref()?.terminated.as_ref()?)));
        let worst = ends.max_by_key(|(_, ended)| ended.exit_code != 0);
        worst.map_or_else(
            || "without a reason".to_owned(),
            |(container, ended)| {
                format!("container {} ended with exit code {}", container.name, ended.exit_code)
            },
        )
    }
}

fn last_exit(seen: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    seen.last_state.as_ref()?.terminated.as_ref()
}

fn running_since(seen: &ContainerStatus) -> Option<jiff::Timestamp> {
    Some(seen.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
}

fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.find(|container| container.name == name)
}

fn limit(pod: &Pod, seen: &ContainerStatus) -> String {
    let resources = container_of(pod, &seen.name).and_then(|c| c.resources.as_ref());
    let limit = resources.and_then(|resources| resources.limits.as_ref()?.get("memory"));
    limit.map(|limit| format!(" of {}", limit.0)).unwrap_or_default()
}

/// What a probe asks: `GET :80/healthz`, `TCP :5432`, `exec [cat /ready]`.
fn asks(probe: &Probe) -> String {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    if let Some(get) = &probe.http_get {
        let path = get.path.as_deref().unwrap_or("/");
        return format!("(GET :{}{path})", port(&get.port));
    }
    if let Some(tcp) = &probe.tcp_socket {
        return format!("(TCP :{})", port(&tcp.port));
    }
    if let Some(grpc) = &probe.grpc {
        return format!("(gRPC :{})", grpc.port);
    }
    let command = probe.exec.iter().flat_map(|exec| exec.command.iter().flatten());
    format!("(exec {})", command.map(String::as_str).collect::<Vec<_>>().join(" "))
}

/// The message without what the line says anyway.
fn bare(message: &str, image: &str) -> String {
    let back_off = format!("Back-off pulling image \"{image}\": ");
    let text = message.strip_prefix(&back_off).unwrap_or(message);
    let text = text.strip_prefix("ErrImagePull: ").unwrap_or(text);
    let failed = format!("Failed to pull image \"{image}\": ");
    one_line(text.strip_prefix(&failed).unwrap_or(text))
}

/// The text in one line.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}
