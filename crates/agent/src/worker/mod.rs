//! One pod: look, decide, begin what is due, sleep until something wakes it.

mod carry_out;
mod jobs;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use client::version_of;
use host::runtime::{ContainerPhase, PodState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use podsync::{
    Desired, Observed,
    observed::{Busy, Failure, ImageSeen, Probed, Refusal, StartFailure, VolumesSeen, Work},
    plan::{Plan, ProbeKind},
    restart::BackOff,
    sync,
    volumes::{References, VolumeWish, references, volume_wish},
};
use tokio::{
    sync::{Notify, mpsc},
    task::{AbortHandle, Id, JoinSet},
};

use crate::{folders, probe::Report, shared::Shared, volumes::Volumes, wire};
use jobs::Done;

/// Most keys of events that were said once; past it they are forgotten and may be said again.
const ANNOUNCED_MAX: usize = 500;
/// Reports of probes that wait for the worker.
const REPORTS_MAX: usize = 32;
/// After a write that the API server refused or did not answer, milliseconds.
const WRITE_AGAIN_MS: i64 = 1000;
/// Between two tries to write a pod's files anew, seconds.
const REFRESH_AGAIN_S: i64 = 10;
/// After a write that met a newer version, milliseconds: the watch is about to show it.
const CONFLICT_AGAIN_MS: i64 = 20;

/// What a worker remembers between looks.
#[derive(Debug, Default)]
struct Memory {
    refused: Option<Option<Refusal>>,
    images: BTreeMap<String, ImageSeen>,
    volumes: VolumesSeen,
    sandbox_failure: Option<Failure>,
    failures: BTreeMap<String, StartFailure>,
    probes: BTreeMap<String, Probed>,
    back_offs: BTreeMap<String, BackOff>,
    busy: BTreeMap<Work, Busy>,
    announced: BTreeSet<String>,
    /// Termination messages, by container id.
    messages: BTreeMap<String, String>,
    /// What the files of the volumes were made from.
    signature: Option<u64>,
}

/// One pod's worker.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    namespace: String,
    name: String,
    uid: String,
    wake: Arc<Notify>,
    pod: Arc<Pod>,
    gone: bool,
    memory: Memory,
    mounted: Volumes,
    jobs: JoinSet<Done>,
    /// Which work a job does, so that one that panics does not block it for ever.
    works: BTreeMap<Id, Work>,
    probes: BTreeMap<(String, ProbeKind), AbortHandle>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    writing: bool,
    refreshing: bool,
    write_again: Option<Timestamp>,
    /// After files that could not be written anew.
    refresh_again: Option<Timestamp>,
    wanted: Option<References>,
    /// The version of the pod whose deletion was confirmed: once is enough.
    confirmed: Option<String>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Pod>, gone: bool, wake: Arc<Notify>) -> Worker {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Worker {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            shared,
            wake,
            pod,
            gone,
            memory: Memory::default(),
            mounted: Volumes::default(),
            jobs: JoinSet::new(),
            works: BTreeMap::new(),
            probes: BTreeMap::new(),
            reports: mpsc::channel(REPORTS_MAX),
            writing: false,
            refreshing: false,
            write_again: None,
            refresh_again: None,
            wanted: None,
            confirmed: None,
        }
    }

    /// Works until nothing of the pod is left on this node.
    pub(crate) async fn run(mut self) {
        loop {
            let plan = self.look().await;
            if plan.done {
                break;
            }
            let again = self.next_look(&plan);
            self.carry_out(plan);
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                Some(done) = self.jobs.join_next_with_id() => self.finish(done),
                Some(report) = self.reports.1.recv() => self.take(report),
                () = sleep(again) => {}
            }
            // Whatever else has come meanwhile is one look.
            while let Some(done) = self.jobs.try_join_next_with_id() {
                self.finish(done);
            }
            while let Ok(report) = self.reports.1.try_recv() {
                self.take(report);
            }
        }
        self.leave().await;
    }

    /// Nothing runs any more: what the node kept for the pod goes.
    async fn leave(mut self) {
        for probe in self.probes.values() {
            probe.abort();
        }
        self.jobs.abort_all();
        self.shared.config_maps.release(&self.uid);
        self.shared.secrets.release(&self.uid);
        self.shared.dismiss(&self.uid);
        let config = self.shared.config.clone();
        let uid = self.uid.clone();
        let logs = config.log_folder(&self.namespace, &self.name, &self.uid);
        let removed = crate::blocking::blocking(move || {
            folders::remove_pod_folder(&config, &uid)?;
            if logs.exists() { std::fs::remove_dir_all(logs) } else { Ok(()) }
        });
        match removed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, pod = self.name, namespace = self.namespace, "the pod's files were not all removed");
            }
            Err(error) => tracing::error!(%error, "removing a pod's files panicked"),
        }
    }

    async fn look(&mut self) -> Plan {
        self.refresh().await;
        if self.gone && self.shared.states.get(&self.uid).is_none() && self.memory.busy.is_empty() {
            // Not even a record: whatever is left are files.
            return Plan { done: true, ..Plan::default() };
        }
        if self.memory.refused.is_none() && !self.gone {
            self.memory.refused = Some(self.shared.admit(&self.pod));
        }
        let state = self.shared.states.get(&self.uid);
        if let Some(state) = &state {
            self.hear_last_words(state).await;
        }
        let mut seen = self.observed(state.as_ref());
        if matches!(seen.volumes, VolumesSeen::Failed { .. })
            && self.memory.signature != Some(signature(&self.pod, &seen))
        {
            // What was missing may be there now: no need to wait for the next try.
            self.memory.volumes = VolumesSeen::Untried;
            seen.volumes = VolumesSeen::Untried;
        }
        let now = self.shared.clock.now();
        self.write_again = self.write_again.filter(|at| *at > now);
        let want = Desired { pod: &self.pod, gone: self.gone };
        let plan = sync(want, &seen, now);
        self.keep_files_true(&seen);
        plan
    }

    /// The pod as the API has it now, and the objects that it names.
    async fn refresh(&mut self) {
        match self.shared.pod(&self.namespace, &self.name, &self.uid) {
            Some(pod) => {
                self.gone = false;
                if version_of(&pod.metadata) >= version_of(&self.pod.metadata) {
                    self.pod = pod;
                }
            }
            None => self.gone = true,
        }
        if self.gone {
            return;
        }
        let wanted = references(&self.pod);
        if self.wanted.as_ref() != Some(&wanted) {
            let (maps, secrets) = (&wanted.config_maps, &wanted.secrets);
            tokio::join!(
                self.shared.config_maps.want(&self.uid, &self.namespace, maps, &self.wake),
                self.shared.secrets.want(&self.uid, &self.namespace, secrets, &self.wake),
            );
            self.wanted = Some(wanted);
        }
    }

    fn observed(&self, state: Option<&PodState>) -> Observed {
        let memory = &self.memory;
        let none = References::default();
        let wanted = self.wanted.as_ref().unwrap_or(&none);
        let shared = &self.shared;
        let map = |name: &String| -> Option<ConfigMap> {
            shared.config_maps.get(&self.namespace, name).map(|map| map.as_ref().clone())
        };
        let secret = |name: &String| -> Option<Secret> {
            shared.secrets.get(&self.namespace, name).map(|secret| secret.as_ref().clone())
        };
        Observed {
            sandbox: state.map(|state| wire::sandbox(state, &memory.messages)),
            blocked_by: shared.states.namesake(&self.namespace, &self.name, &self.uid),
            refused: memory.refused.clone().flatten(),
            images: memory.images.clone(),
            volumes: memory.volumes.clone(),
            sandbox_failure: memory.sandbox_failure.clone(),
            failures: memory.failures.clone(),
            probes: memory.probes.clone(),
            back_offs: memory.back_offs.clone(),
            busy: memory.busy.clone(),
            announced: memory.announced.clone(),
            node: shared.node_seen(),
            config_maps: wanted.config_maps.iter().map(|n| (n.clone(), map(n))).collect(),
            secrets: wanted.secrets.iter().map(|n| (n.clone(), secret(n))).collect(),
            services: shared.services_for(&self.namespace),
        }
    }

    /// Reads the termination messages of containers that have ended since.
    async fn hear_last_words(&mut self, state: &PodState) {
        let known = &mut self.memory.messages;
        known.retain(|id, _| state.containers.iter().any(|container| container.id == *id));
        for container in &state.containers {
            let ContainerPhase::Exited { exit_code, .. } = container.phase else { continue };
            if known.contains_key(&container.id) {
                continue;
            }
            let pod = Arc::clone(&self.pod);
            let config = self.shared.config.clone();
            let (name, attempt) = (container.name.clone(), container.attempt);
            let read = crate::blocking::blocking(move || {
                let spec = pod.spec.as_ref();
                let spec = spec.and_then(|spec| {
                    let init = spec.init_containers.iter().flatten();
                    spec.containers.iter().chain(init).find(|container| container.name == name)
                });
                let place = (name.as_str(), attempt);
                folders::termination_message(&pod, spec, &config, place, exit_code != 0)
            });
            let message = read.await.unwrap_or_default();
            known.insert(container.id.clone(), message);
        }
    }

    /// Writes the volumes' files anew when what they are made from has changed, or a token is old.
    fn keep_files_true(&mut self, seen: &Observed) {
        if self.ends() || self.refreshing || self.memory.busy.contains_key(&Work::MountVolumes) {
            return;
        }
        let signature = signature(&self.pod, seen);
        let due = self.refresh_at().is_some_and(|at| at <= self.shared.clock.now());
        if self.memory.signature == Some(signature) && !due {
            return;
        }
        // Settings that led nowhere may lead somewhere now.
        self.memory.failures.retain(|_, failure| failure.reason != "CreateContainerConfigError");
        self.memory.signature = Some(signature);
        self.refreshing = true;
        self.spawn_refresh(seen.clone());
    }

    /// When the volumes' files are to be written anew: a token is old, or the last try failed.
    fn refresh_at(&self) -> Option<Timestamp> {
        self.refresh_again.or_else(|| self.mounted.renew_at())
    }

    fn ends(&self) -> bool {
        self.gone
            || self.pod.metadata.deletion_timestamp.is_some()
            || self.memory.volumes != VolumesSeen::Mounted
    }

    fn next_look(&self, plan: &Plan) -> Option<Duration> {
        let now = self.shared.clock.now();
        let renew = self.refresh_at().filter(|_| !self.refreshing && !self.ends());
        let at = [plan.look_again, renew, self.write_again].into_iter().flatten().min()?;
        let ms = at.duration_since(now).as_millis();
        Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0).max(1)))
    }

    fn take(&mut self, report: Report) {
        if let Some(event) = report.event {
            self.shared.recorder.note(&self.pod, event);
        }
        let Some(verdict) = report.verdict else { return };
        let probed = self.memory.probes.entry(report.container_id).or_default();
        match report.kind {
            ProbeKind::Startup => probed.startup = Some(verdict),
            ProbeKind::Liveness => probed.liveness = Some(verdict),
            ProbeKind::Readiness => probed.readiness = Some(verdict),
        }
    }
}

/// A number of all that the volumes' files are made from.
fn signature(pod: &Pod, seen: &Observed) -> u64 {
    let mut hash = DefaultHasher::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        match volume_wish(pod, volume, seen, &[]) {
            Ok(VolumeWish::Files { files, .. }) => files.hash(&mut hash),
            Ok(_) => {}
            Err(error) => error.to_string().hash(&mut hash),
        }
    }
    hash.finish()
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
