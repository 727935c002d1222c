//! Containers that exist only in words: what an image is called decides how it behaves.
//!
//! `run:1` runs until it is stopped, `crash:1` ends at once with 1, `nostart:1` cannot be started,
//! `none:1` is in no registry, `stubborn:1` ends only when its grace does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use host::runtime::{
    ContainerConfig, ContainerPhase, ContainerState, ExecConfig, ImageError, PodConfig, PodState,
    RuntimeError,
};
use testkit::{Event, Nature, Words};

/// A node that notes what it is asked, and is never slow.
pub(crate) type Noted = Words<Notes>;

/// What was asked; clones are the same notes.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Exit code of every exec.
    exec_code: i32,
    /// What was asked, in order.
    log: Vec<String>,
    /// Environment and mounts of each start, by container name.
    starts: BTreeMap<String, ContainerConfig>,
    /// Uids of the pods that have a sandbox, by name.
    alive: BTreeMap<String, String>,
}

/// A node with every image that there is.
pub(crate) fn noted() -> Noted {
    let words = Words::new(Notes::default(), 0);
    ["run:1", "crash:1", "nostart:1", "stubborn:1"].iter().for_each(|one| words.add_image(one));
    words
}

/// Ids of running containers, by pod name.
pub(crate) fn running(words: &Noted) -> BTreeMap<String, Vec<String>> {
    let pods = words.running().into_iter();
    pods.map(|(pod, all)| (pod.name, all.into_iter().map(|one| one.id).collect())).collect()
}

impl Notes {
    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }

    /// What was asked since the last time.
    pub(crate) fn log(&self) -> Vec<String> {
        self.with(|inner| std::mem::take(&mut inner.log))
    }

    /// How the container of this name was started last.
    pub(crate) fn start(&self, name: &str) -> ContainerConfig {
        self.with(|inner| inner.starts[name].clone())
    }

    pub(crate) fn exec_code(&self, code: i32) {
        self.with(|inner| inner.exec_code = code);
    }
}

impl Nature for Notes {
    fn now(&self) -> SystemTime {
        SystemTime::from(k8s_openapi::jiff::Timestamp::now())
    }

    fn hear(&self, pod: &PodState, event: Event<'_>) {
        let name = &pod.name;
        let said = match event {
            Event::Ran => {
                let other = self.with(|inner| inner.alive.insert(name.clone(), pod.uid.clone()));
                assert!(other.is_none_or(|uid| uid == pod.uid), "two pods {name} at once");
                format!("run pod {name} {}", pod.attempt)
            }
            Event::Started(container, config) => {
                self.with(|inner| inner.starts.insert(container.name.clone(), config.clone()));
                format!("start {} {}", container.name, container.attempt)
            }
            Event::Ended(..) => return,
            Event::Stopping(container, grace_s) => {
                format!("stop {} within {grace_s}", container.name)
            }
            Event::Stopped => {
                let runs =
                    |one: &ContainerState| matches!(one.phase, ContainerPhase::Running { .. });
                assert!(!pod.containers.iter().any(runs), "stopped above its containers");
                self.with(|inner| inner.alive.remove(name));
                format!("stop pod {name}")
            }
            Event::Removed => format!("remove pod {name}"),
        };
        self.with(|inner| inner.log.push(said));
    }

    fn sandbox(&self, _: &PodConfig) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        if config.image == "nostart:1" {
            let why = "exec: \"nope\": executable file not found in $PATH".to_owned();
            return Err(RuntimeError::Start(why));
        }
        Ok(())
    }

    fn lifetime(&self, image: &str) -> Option<Duration> {
        (image == "crash:1").then_some(Duration::ZERO)
    }

    async fn stop(&self, container: &ContainerState, grace_s: u64) -> i32 {
        if container.image != "stubborn:1" {
            return 143;
        }
        tokio::time::sleep(Duration::from_secs(grace_s)).await;
        137
    }

    fn exec(&self, _: &str, _: &ContainerState, config: &ExecConfig) -> i32 {
        self.with(|inner| {
            inner.log.push(format!("exec {}", config.command.join(" ")));
            inner.exec_code
        })
    }

    async fn pull(&self, reference: &str) -> Result<(), ImageError> {
        let (reference, why) = (reference.to_owned(), "not found".to_owned());
        Err(ImageError::Refused { reference, why })
    }
}
