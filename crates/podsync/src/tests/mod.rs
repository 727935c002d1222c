//! Rows: a small world that carries steps out at once, and what the pod shows in it.

mod life;
mod parts;
mod trouble;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use crate::{
    Desired, Observed, Plan, Step,
    config::ContainerWish,
    observed::{
        Busy, Held, HeldPhase, ImageFacts, ImageSeen, NodeSeen, Sandbox, VolumesSeen, Work,
    },
    restart::BackOff,
    sync,
};

/// A pod and the node around it; `look` decides once and carries out what it can.
struct World {
    pod: Pod,
    gone: bool,
    seen: Observed,
    now: Timestamp,
    log: Vec<String>,
    /// Images that a pull gets; others fail.
    images: Vec<&'static str>,
    last: Plan,
}

/// `web-0` with one container `c` of image `i:1`, changed by `spec`.
fn pod(spec: Value) -> Pod {
    let mut all = json!({
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u1", "generation": 1},
        "spec": {
            "nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent"}],
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    if let (Some(target), Some(changes)) = (all["spec"].as_object_mut(), spec.as_object()) {
        target.extend(changes.clone());
    }
    serde_json::from_value(all).unwrap()
}

impl World {
    fn new(spec: Value) -> World {
        World {
            pod: pod(spec),
            gone: false,
            seen: Observed {
                node: NodeSeen {
                    name: "n1".into(),
                    addresses: vec!["192.0.2.1".parse().unwrap()],
                    memory_bytes: 8 << 30,
                    ..NodeSeen::default()
                },
                ..Observed::default()
            },
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            log: Vec::new(),
            images: vec!["i:1", "i:2", "setup:1", "side:1"],
            last: Plan::default(),
        }
    }

    fn wait(&mut self, seconds: i64) -> &mut World {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self
    }

    /// Looks until nothing is left to do but wait.
    fn settle(&mut self) -> &mut World {
        for _ in 0..50 {
            let plan = sync(Desired { pod: &self.pod, gone: self.gone }, &self.seen, self.now);
            let idle = plan.steps.is_empty();
            self.last = plan.clone();
            for step in plan.steps {
                self.carry_out(step);
            }
            if idle || self.last.done {
                return self;
            }
        }
        panic!("never settles: {}", self.log.join("\n"));
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::RunPod { attempt } => {
                self.log.push(format!("run pod, attempt {attempt}"));
                let old = self.seen.sandbox.take();
                self.seen.sandbox = Some(Sandbox {
                    attempt,
                    alive: true,
                    addresses: vec!["10.244.0.5".parse().unwrap()],
                    created_at: self.now,
                    containers: old.map(|sandbox| sandbox.containers).unwrap_or_default(),
                });
            }
            Step::PullImage { container, attempt, reference, back_off, .. } => {
                self.pull(container, attempt, &reference, back_off);
            }
            Step::MountVolumes => self.seen.volumes = VolumesSeen::Mounted,
            Step::UnmountVolumes => self.seen.volumes = VolumesSeen::Unmounted,
            Step::StartContainer(wish) => self.start(*wish),
            Step::StopContainer { id, name, grace_s, why, pre_stop, .. } => {
                let hook = if pre_stop.is_some() { " after preStop" } else { "" };
                let why = why.unwrap_or_else(|| "again".into());
                self.log.push(format!("stop {name} within {grace_s} s{hook}: {why}"));
                let deadline = self
                    .now
                    .checked_add(SignedDuration::from_secs(i64::try_from(grace_s).unwrap()))
                    .ok();
                self.seen.busy.insert(Work::Stop(id), Busy { deadline });
            }
            Step::RemoveContainer { id } => {
                self.log.push(format!("remove {id}"));
                self.held().retain(|held| held.id != id);
            }
            Step::StopPod => {
                self.log.push("stop pod".into());
                if let Some(sandbox) = &mut self.seen.sandbox {
                    sandbox.alive = false;
                }
            }
            Step::RemovePod => {
                self.log.push("remove pod".into());
                self.seen.sandbox = None;
            }
            Step::Event(event) => {
                let path = match event.field_path.as_str() {
                    "" => String::new(),
                    path => format!(" {path}"),
                };
                self.log.push(format!("{} {}{path}: {}", event.kind, event.reason, event.message));
                self.seen.announced.extend(event.once);
            }
            Step::SetStatus(status) => self.pod.status = Some(*status),
            Step::DeletePod { uid } => {
                self.log.push(format!("confirm deletion of {uid}"));
                self.gone = true;
            }
        }
    }

    fn pull(&mut self, container: String, attempt: u32, reference: &str, back_off: BackOff) {
        let seen = if self.images.contains(&reference) {
            let image = ImageFacts {
                id: format!("sha256:{reference}"),
                reference: format!("docker.io/library/{reference}@sha256:d"),
                name: format!("docker.io/library/{reference}"),
                user: String::new(),
            };
            ImageSeen::Ready { attempt, image }
        } else {
            self.log.push(format!("pull of {reference} failed"));
            ImageSeen::Failed {
                reason: "ErrImagePull".into(),
                message: "no such image".into(),
                at: self.now,
                back_off: back_off.grown(self.now),
            }
        };
        self.seen.images.insert(container, seen);
    }

    fn start(&mut self, wish: ContainerWish) {
        self.log.push(format!("start {} attempt {}", wish.name, wish.attempt));
        self.seen.back_offs.insert(wish.name.clone(), wish.back_off);
        let started_at = self.now;
        self.held().push(Held {
            id: format!("{}-{}", wish.name, wish.attempt),
            name: wish.name,
            attempt: wish.attempt,
            image: wish.image,
            image_id: wish.image_id,
            annotations: wish.annotations,
            phase: HeldPhase::Running { started_at },
            message: None,
        });
    }

    fn held(&mut self) -> &mut Vec<Held> {
        &mut self.seen.sandbox.as_mut().unwrap().containers
    }

    /// The container's program ends.
    fn exit(&mut self, name: &str, exit_code: i32) -> &mut World {
        let finished_at = self.now;
        let held = self.held().iter_mut().rfind(|held| held.name == name).unwrap();
        let HeldPhase::Running { started_at } = held.phase else {
            panic!("{name} does not run");
        };
        held.phase = HeldPhase::Exited {
            started_at: Some(started_at),
            finished_at,
            exit_code,
            signal: None,
            oom_killed: false,
        };
        let id = held.id.clone();
        self.seen.busy.remove(&Work::Stop(id));
        self
    }

    fn delete(&mut self, grace_s: i64) -> &mut World {
        let at = self.now.checked_add(SignedDuration::from_secs(grace_s)).unwrap();
        self.pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self
    }

    /// What happened since the last time, then what the pod shows.
    fn show(&mut self) -> String {
        let mut lines = std::mem::take(&mut self.log);
        let status = self.pod.status.clone().unwrap_or_default();
        let words = [status.phase.clone(), status.reason.clone(), status.message.clone()];
        lines.push(words.into_iter().flatten().collect::<Vec<_>>().join(" "));
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .flatten()
            .map(|c| {
                let why = [c.reason.clone(), c.message.clone()];
                let why = why.into_iter().flatten().collect::<Vec<_>>().join(": ");
                let why = if why.is_empty() { why } else { format!(" ({why})") };
                format!("{}={}{why}", c.type_, c.status)
            })
            .collect();
        lines.push(conditions.join(", "));
        for one in status.init_container_statuses.iter().flatten() {
            lines.push(words_of(one));
        }
        for one in status.container_statuses.iter().flatten() {
            lines.push(words_of(one));
        }
        if let Some(at) = self.last.look_again {
            lines.push(format!("look again in {} s", at.duration_since(self.now).as_secs()));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn words_of(status: &ContainerStatus) -> String {
    let state = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        let Some(state) = state else { return String::new() };
        if state.running.is_some() {
            return "running".to_owned();
        }
        if let Some(t) = &state.terminated {
            let message = t.message.as_ref().map(|m| format!(" {m}")).unwrap_or_default();
            return format!(
                "terminated {} {}{message}",
                t.reason.clone().unwrap_or_default(),
                t.exit_code
            );
        }
        let waiting = state.waiting.clone().unwrap_or_default();
        let words = [waiting.reason, waiting.message];
        format!("waiting {}", words.into_iter().flatten().collect::<Vec<_>>().join(": "))
    };
    let last = match state(&status.last_state) {
        last if last.is_empty() => last,
        last => format!("; last {last}"),
    };
    format!(
        "{}: {}{last}; restarts {}, ready {}, started {}",
        status.name,
        state(&status.state),
        status.restart_count,
        status.ready,
        status.started == Some(true)
    )
}

/// Nothing yet, with this waiting time.
fn back_off(delay_s: i64, at: &str) -> BackOff {
    BackOff { delay_s, updated_at: Some(at.parse().unwrap()) }
}

/// A map out of pairs.
fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
