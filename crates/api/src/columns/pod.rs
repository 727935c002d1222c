//! The cells of a pod: one word for the state of many containers.
//!
//! The word is the phase, unless the pod or a container says something more telling: the first
//! init container that has not finished, else the first container that waits or has ended.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus,
};
use serde_json::Value;

use super::{age, age_of, name, or};

pub(crate) fn pod(it: &Pod, now: Timestamp) -> Vec<Value> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let spec = it.spec.as_ref().unwrap_or(&no_spec);
    let status = it.status.as_ref().unwrap_or(&no_status);
    let view = View { sidecars: sidecars(spec), spec, status };
    let seen = view.summary(it.metadata.deletion_timestamp.is_some());
    let restarts = match seen.last_restart {
        Some(_) if seen.restarts != 0 => {
            format!("{} ({} ago)", seen.restarts, age::since(seen.last_restart, now))
        }
        _ => seen.restarts.to_string(),
    };
    let first = status.pod_ips.iter().flatten().next().map(|address| address.ip.as_str());
    let address = first.or(status.pod_ip.as_deref()).unwrap_or_default();
    vec![
        name(&it.metadata),
        format!("{}/{}", seen.ready, spec.containers.len() + view.sidecars.len()).into(),
        seen.word.into(),
        restarts.into(),
        age_of(&it.metadata, now),
        or(address, "<none>").into(),
        or(spec.node_name.as_deref().unwrap_or_default(), "<none>").into(),
        or(status.nominated_node_name.as_deref().unwrap_or_default(), "<none>").into(),
        gates(spec, status).into(),
    ]
}

struct View<'a> {
    spec: &'a PodSpec,
    status: &'a PodStatus,
    sidecars: BTreeSet<&'a str>,
}

#[derive(Default)]
struct Summary {
    word: String,
    ready: usize,
    restarts: i32,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count_restarts(&mut self, container: &ContainerStatus) {
        self.restarts += container.restart_count;
        let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let at = ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0);
        self.last_restart = self.last_restart.max(at);
    }
}

impl View<'_> {
    fn summary(&self, deleted: bool) -> Summary {
        let phase = self.status.phase.as_deref().unwrap_or_default();
        let reason = self.status.reason.as_deref().unwrap_or_default();
        let gated = self.condition("PodScheduled").is_some_and(|(_, why)| why == "SchedulingGated");
        let word = if gated { "SchedulingGated" } else { or(reason, phase) };
        let mut seen = Summary { word: word.to_owned(), ..Summary::default() };
        let initializing = self.add_init(&mut seen);
        if !initializing
            || self.condition("Initialized").is_some_and(|(status, _)| status == "True")
        {
            self.add_main(&mut seen);
        }
        if deleted && reason == "NodeLost" {
            seen.word = "Unknown".to_owned();
        } else if deleted && !matches!(phase, "Succeeded" | "Failed") {
            seen.word = "Terminating".to_owned();
        }
        seen
    }

    /// Init containers up to the first that is not done; whether there is one.
    fn add_init(&self, seen: &mut Summary) -> bool {
        for (at, container) in self.status.init_container_statuses.iter().flatten().enumerate() {
            seen.count_restarts(container);
            let state = container.state.clone().unwrap_or_default();
            let waiting = state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default();
            match state.terminated {
                Some(ended) if ended.exit_code == 0 => continue,
                _ if self.is_sidecar(container) && container.started == Some(true) => {
                    seen.ready += usize::from(container.ready);
                    continue;
                }
                Some(ended) => seen.word = format!("Init:{}", end(&ended)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => {
                    seen.word = format!("Init:{waiting}");
                }
                None => {
                    let all = self.spec.init_containers.as_ref().map_or(0, Vec::len);
                    seen.word = format!("Init:{at}/{all}");
                }
            }
            return true;
        }
        false
    }

    /// The containers proper, with the restarts of sidecars; init containers' no longer count.
    fn add_main(&self, seen: &mut Summary) {
        (seen.restarts, seen.last_restart) = (0, None);
        for container in self.status.init_container_statuses.iter().flatten() {
            if self.is_sidecar(container) {
                seen.count_restarts(container);
            }
        }
        let mut running = false;
        for container in self.status.container_statuses.iter().flatten().rev() {
            seen.count_restarts(container);
            let state = container.state.clone().unwrap_or_default();
            let waiting = state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default();
            if !waiting.is_empty() {
                seen.word = waiting;
            } else if let Some(ended) = state.terminated {
                seen.word = end(&ended);
            } else if container.ready && state.running.is_some() {
                running = true;
                seen.ready += 1;
            }
        }
        if seen.word == "Completed" && running {
            let ready = self.condition("Ready").is_some_and(|(status, _)| status == "True");
            seen.word = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn is_sidecar(&self, container: &ContainerStatus) -> bool {
        self.sidecars.contains(container.name.as_str())
    }

    fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        let found = self.status.conditions.iter().flatten().find(|one| one.type_ == kind)?;
        Some((&found.status, found.reason.as_deref().unwrap_or_default()))
    }
}

fn sidecars(spec: &PodSpec) -> BTreeSet<&str> {
    let init = spec.init_containers.iter().flatten();
    init.filter(|one| one.restart_policy.as_deref() == Some("Always"))
        .map(|one| one.name.as_str())
        .collect()
}

fn end(ended: &ContainerStateTerminated) -> String {
    match (ended.reason.as_deref().unwrap_or_default(), ended.signal.unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", ended.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|gate| {
        let mut conditions = status.conditions.iter().flatten();
        conditions
            .find(|condition| condition.type_ == gate.condition_type)
            .is_some_and(|condition| condition.status == "True")
    });
    format!("{}/{}", open.count(), gates.len())
}
