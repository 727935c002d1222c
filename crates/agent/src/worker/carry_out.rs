//! Beginning what was decided, and taking in what has come of it.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use podsync::{
    Plan, Step,
    events::warning,
    observed::{Busy, Failure, ImageSeen, StartFailure, VolumesSeen},
    plan::{Event, ProbeWish},
};
use tokio::task::{Id, JoinError};

use super::{
    ANNOUNCED_MAX, CONFLICT_AGAIN_MS, REFRESH_AGAIN_S, WRITE_AGAIN_MS, Worker, jobs,
    jobs::{Done, Unwritten},
};
use crate::{probe, volumes::Volumes};

impl Worker {
    pub(super) fn carry_out(&mut self, plan: Plan) {
        for step in plan.steps {
            self.begin(step);
        }
        self.keep_probes(plan.probes);
    }

    fn begin(&mut self, step: Step) {
        let work = step.work();
        if let Some(work) = &work {
            tracing::debug!(pod = self.name, ?work, "begins");
        }
        let shared = Arc::clone(&self.shared);
        let pod = Arc::clone(&self.pod);
        let mut deadline = None;
        let job = match step {
            Step::Event(event) => return self.say(event),
            Step::SetStatus(status) => return self.write(Some(status)),
            Step::DeletePod { .. } => return self.write(None),
            Step::RunPod { attempt } => self.jobs.spawn(jobs::run_pod(shared, pod, attempt)),
            Step::PullImage { container, attempt, reference, policy, field_path, back_off } => {
                let wish = crate::pull::Wish { attempt, reference, policy, field_path, back_off };
                self.jobs.spawn(jobs::pull(shared, pod, container, wish))
            }
            Step::MountVolumes => {
                let state = self.shared.states.get(&self.uid);
                let seen = self.observed(state.as_ref());
                self.memory.signature = Some(super::signature(&pod, &seen));
                let tokens = self.mounted.tokens.clone();
                self.jobs.spawn(jobs::mount(shared, pod, seen, tokens))
            }
            Step::UnmountVolumes => self.jobs.spawn(jobs::unmount(shared, self.uid.clone())),
            Step::StartContainer(wish) => {
                let volumes = self.mounted.mounted.clone();
                self.jobs.spawn(jobs::start(shared, pod, *wish, volumes))
            }
            Step::StopContainer { id, name, field_path, pre_stop, grace_s, signal, why } => {
                let grace = SignedDuration::from_secs(i64::try_from(grace_s).unwrap_or(i64::MAX));
                deadline = self.shared.clock.now().checked_add(grace).ok();
                let stop = jobs::Stop { id, name, field_path, pre_stop, grace_s, signal, why };
                self.jobs.spawn(jobs::stop(shared, pod, stop))
            }
            Step::RemoveContainer { id } => {
                self.jobs.spawn(jobs::remove_container(shared, self.uid.clone(), id))
            }
            Step::StopPod => self.jobs.spawn(jobs::stop_pod(shared, self.uid.clone())),
            Step::RemovePod => self.jobs.spawn(jobs::remove_pod(shared, self.uid.clone())),
        };
        if let Some(work) = work {
            self.works.insert(job.id(), work.clone());
            self.memory.busy.insert(work, Busy { deadline });
        }
    }

    pub(super) fn say(&mut self, event: Event) {
        if let Some(key) = &event.once {
            if self.memory.announced.len() >= ANNOUNCED_MAX {
                self.memory.announced.clear();
            }
            if !self.memory.announced.insert(key.clone()) {
                return;
            }
        }
        self.shared.recorder.note(&self.pod, event);
    }

    /// Writes the status, or confirms the deletion; one write at a time.
    fn write(&mut self, status: Option<Box<k8s_openapi::api::core::v1::PodStatus>>) {
        let now = self.shared.clock.now();
        if self.writing || self.write_again.is_some_and(|at| at > now) {
            return;
        }
        if status.is_none() {
            // With finalizers it stays, and there is nothing more to say.
            let meta = &self.pod.metadata;
            let held = meta.finalizers.iter().flatten().next().is_some();
            let said = self.confirmed.is_some() && self.confirmed == meta.resource_version;
            if said || held && meta.deletion_grace_period_seconds == Some(0) {
                return;
            }
            self.confirmed.clone_from(&meta.resource_version);
        }
        tracing::debug!(pod = self.name, deletes = status.is_none(), "writes");
        self.writing = true;
        self.write_again = None;
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.pod));
        match status {
            Some(status) => self.jobs.spawn(jobs::write_status(shared, pod, status)),
            None => self.jobs.spawn(jobs::confirm_deletion(shared, pod)),
        };
    }

    pub(super) fn spawn_refresh(&mut self, seen: podsync::Observed) {
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.pod));
        let tokens = self.mounted.tokens.clone();
        self.jobs.spawn(jobs::refresh(shared, pod, seen, tokens));
    }

    fn keep_probes(&mut self, wanted: Vec<ProbeWish>) {
        let keys: BTreeSet<_> =
            wanted.iter().map(|wish| (wish.container_id.clone(), wish.kind)).collect();
        self.probes.retain(|key, task| {
            let keep = keys.contains(key);
            if !keep {
                task.abort();
            }
            keep
        });
        let state = self.shared.states.get(&self.uid);
        self.memory.probes.retain(|id, _| {
            state.as_ref().is_some_and(|state| state.containers.iter().any(|c| c.id == *id))
        });
        for wish in wanted {
            let key = (wish.container_id.clone(), wish.kind);
            if self.probes.contains_key(&key) {
                continue;
            }
            let target = probe::Target {
                runtime: Arc::clone(&self.shared.runtime),
                clock: self.shared.clock.clone(),
                uid: self.uid.clone(),
                address: jobs::address(&self.shared, &self.pod),
            };
            let task = tokio::spawn(probe::run(wish, target, self.reports.0.clone()));
            self.probes.insert(key, task.abort_handle());
        }
    }

    pub(super) fn finish(&mut self, ended: Result<(Id, Done), JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(pod = self.name, namespace = self.namespace, %error, "a step panicked");
                }
                (error.id(), None)
            }
        };
        if let Some(work) = self.works.remove(&id) {
            self.memory.busy.remove(&work);
        }
        match done {
            Some(done) => self.learn(done),
            None => {
                // It may have been the write or the refresh: they are tried again.
                self.writing = false;
                self.refreshing = false;
            }
        }
    }

    fn learn(&mut self, done: Done) {
        let now = self.shared.clock.now();
        match done {
            Done::Nothing => {}
            Done::Written(answer) => {
                self.writing = false;
                match answer {
                    Ok(Some(pod)) => {
                        let newer = client::version_of(&pod.metadata)
                            >= client::version_of(&self.pod.metadata);
                        if newer && pod.metadata.uid.as_deref() == Some(&self.uid) {
                            self.pod = Arc::new(*pod);
                        }
                    }
                    Ok(None) => {}
                    Err(refused) => {
                        let ms = match refused {
                            Unwritten::Conflict => CONFLICT_AGAIN_MS,
                            Unwritten::Failed => WRITE_AGAIN_MS,
                        };
                        self.confirmed = None;
                        self.write_again = now.checked_add(SignedDuration::from_millis(ms)).ok();
                    }
                }
            }
            Done::Pulled(name, seen) => {
                if let ImageSeen::Ready { .. } = seen {
                    self.memory.announced.retain(|key| !key.starts_with("pull"));
                }
                self.memory.images.insert(name, seen);
            }
            Done::Mounted(volumes) => self.mounted(volumes),
            Done::Refreshed(volumes) => {
                self.refreshing = false;
                let again = SignedDuration::from_secs(REFRESH_AGAIN_S);
                self.refresh_again =
                    now.checked_add(again).ok().filter(|_| !volumes.failures.is_empty());
                for failure in &volumes.failures {
                    let mut event = warning("FailedMount", "", failure.clone());
                    event.once = Some(format!("refresh/{failure}"));
                    self.say(event);
                }
                self.mounted.tokens = volumes.tokens;
                self.mounted.mounted.extend(volumes.mounted);
            }
            Done::Unmounted(well) => {
                if well {
                    self.memory.volumes = VolumesSeen::Unmounted;
                    self.mounted = Volumes::default();
                }
            }
            Done::PodRun(Ok(())) => self.memory.sandbox_failure = None,
            Done::PodRun(Err(message)) => self.no_sandbox(message),
            Done::Started { name, attempt, back_off, failure } => {
                self.memory.back_offs.insert(name.clone(), back_off);
                match failure {
                    None => {
                        self.memory.failures.remove(&name);
                    }
                    Some((reason, message)) => {
                        tracing::debug!(pod = self.name, name, message, "did not start");
                        let failure = StartFailure { reason, message, at: now, attempt };
                        self.memory.failures.insert(name, failure);
                    }
                }
            }
        }
    }

    fn no_sandbox(&mut self, message: String) {
        let at = self.shared.clock.now();
        let why = message.trim_start_matches("failed to create pod sandbox: ");
        let text = format!("Failed to create pod sandbox: {why}");
        self.say(warning("FailedCreatePodSandBox", "", text));
        let times = self.memory.sandbox_failure.as_ref().map_or(0, |f| f.times) + 1;
        self.memory.sandbox_failure = Some(Failure { message, at, times });
    }

    fn mounted(&mut self, volumes: Volumes) {
        let now = self.shared.clock.now();
        if volumes.failures.is_empty() {
            self.memory.volumes = VolumesSeen::Mounted;
        } else {
            for failure in &volumes.failures {
                self.say(warning("FailedMount", "", failure.clone()));
            }
            let times = match &self.memory.volumes {
                VolumesSeen::Failed { times, .. } => times + 1,
                _ => 1,
            };
            self.memory.volumes = VolumesSeen::Failed { at: now, times };
        }
        self.mounted = volumes;
    }
}
