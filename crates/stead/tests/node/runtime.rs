//! Containers that exist only in words: what an image is called decides how it behaves.
//!
//! `run:1` runs until it is stopped, `crash:1` ends at once with 1, `nostart:1` cannot be started,
//! `none:1` is in no registry, `stubborn:1` ends only when its grace does.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use host::runtime::{
    ContainerConfig, ContainerPhase, ContainerState, Exec, ExecConfig, Image, ImageError,
    PodConfig, PodState, PullRequest, Runtime, RuntimeError, Streams, Usage,
};
use tokio::sync::{broadcast, oneshot};

/// A node's worth of words; clones are the same node.
#[derive(Clone)]
pub(crate) struct Words {
    inner: Arc<Mutex<Inner>>,
    wakes: broadcast::Sender<String>,
}

#[derive(Default)]
struct Inner {
    pods: BTreeMap<String, PodState>,
    next: u32,
    /// Exit code of every exec.
    exec_code: i32,
    /// What was asked, in order.
    log: Vec<String>,
    /// Environment and mounts of each start, by container name.
    starts: BTreeMap<String, ContainerConfig>,
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_millis(
            u64::try_from(k8s_openapi::jiff::Timestamp::now().as_millisecond()).unwrap(),
        )
}

impl Words {
    pub(crate) fn new() -> Words {
        Words { inner: Arc::default(), wakes: broadcast::channel(1000).0 }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        work(&mut self.inner.lock().unwrap())
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

    /// Ids of running containers, by pod name.
    pub(crate) fn running(&self) -> BTreeMap<String, Vec<String>> {
        self.with(|inner| {
            let running = |pod: &PodState| {
                pod.containers
                    .iter()
                    .filter(|c| matches!(c.phase, ContainerPhase::Running { .. }))
                    .map(|c| c.id.clone())
                    .collect()
            };
            inner.pods.values().map(|pod| (pod.name.clone(), running(pod))).collect()
        })
    }

    /// Power goes: records stay, nothing runs.
    pub(crate) fn reboot(&self) {
        self.with(|inner| {
            for pod in inner.pods.values_mut() {
                pod.alive = false;
                pod.containers.iter_mut().for_each(|c| end(c, 255));
            }
        });
    }

    fn exit(&self, uid: &str, id: &str, code: i32) {
        self.with(|inner| {
            let pod = inner.pods.get_mut(uid);
            let held = pod.and_then(|pod| pod.containers.iter_mut().find(|c| c.id == id));
            if let Some(held) = held {
                end(held, code);
            }
        });
        drop(self.wakes.send(uid.to_owned()));
    }
}

fn end(held: &mut ContainerState, exit_code: i32) {
    if let ContainerPhase::Running { started_at, .. } = held.phase {
        held.phase = ContainerPhase::Exited {
            started_at: Some(started_at),
            finished_at: now(),
            exit_code,
            signal: None,
            oom_killed: false,
        };
    }
}

fn done<T: Send + 'static, E: Send + 'static>(
    value: Result<T, E>,
) -> BoxFuture<'static, Result<T, E>> {
    std::future::ready(value).boxed()
}

impl Runtime for Words {
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>> {
        done(Ok(self.with(|inner| {
            inner.log.push(format!("run pod {} {}", config.name, config.attempt));
            let alive = inner
                .pods
                .values()
                .any(|pod| pod.alive && pod.name == config.name && pod.uid != config.uid);
            assert!(!alive, "two pods {} at once", config.name);
            inner.next += 1;
            let address = format!("10.244.0.{}", inner.next).parse::<IpAddr>().unwrap();
            let old = inner.pods.remove(&config.uid).map(|pod| pod.containers).unwrap_or_default();
            let pod = PodState {
                uid: config.uid.clone(),
                namespace: config.namespace,
                name: config.name,
                attempt: config.attempt,
                alive: true,
                addresses: vec![address],
                created_at: now(),
                annotations: config.annotations,
                containers: old,
            };
            inner.pods.insert(config.uid, pod.clone());
            pod
        })))
    }

    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|inner| {
            let pod = inner.pods.get_mut(uid).unwrap();
            pod.alive = false;
            let running = |c: &ContainerState| matches!(c.phase, ContainerPhase::Running { .. });
            assert!(!pod.containers.iter().any(running), "stopped above its containers");
            let name = pod.name.clone();
            inner.log.push(format!("stop pod {name}"));
        });
        done(Ok(()))
    }

    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|inner| {
            let pod = inner.pods.remove(uid).unwrap();
            inner.log.push(format!("remove pod {}", pod.name));
        });
        done(Ok(()))
    }

    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>> {
        done(Ok(self.with(|inner| inner.pods.values().cloned().collect())))
    }

    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>> {
        if config.image == "nostart:1" {
            return done(Err(RuntimeError::Start(
                "exec: \"nope\": executable file not found in $PATH".into(),
            )));
        }
        let crash = config.image == "crash:1";
        let state = self.with(|inner| {
            inner.log.push(format!("start {} {}", config.name, config.attempt));
            inner.next += 1;
            let state = ContainerState {
                id: format!("{:064x}", inner.next),
                name: config.name.clone(),
                attempt: config.attempt,
                image: config.image.clone(),
                image_id: config.image_id.clone(),
                annotations: config.annotations.clone(),
                created_at: now(),
                phase: ContainerPhase::Running { pid: inner.next, started_at: now() },
            };
            let pod = inner.pods.get_mut(pod_uid).unwrap();
            assert!(pod.alive);
            pod.containers.push(state.clone());
            inner.starts.insert(config.name.clone(), config);
            state
        });
        if crash {
            self.exit(pod_uid, &state.id, 1);
        }
        done(Ok(state))
    }

    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        _: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        let (uid, id) = (pod_uid.to_owned(), container_id.to_owned());
        let stubborn = self.with(|inner| {
            let held = inner.pods[&uid].containers.iter().find(|c| c.id == id).unwrap().clone();
            inner.log.push(format!("stop {} within {grace_s}", held.name));
            held.image == "stubborn:1"
        });
        let words = self.clone();
        async move {
            if stubborn {
                tokio::time::sleep(Duration::from_secs(grace_s)).await;
            }
            words.exit(&uid, &id, if stubborn { 137 } else { 143 });
            Ok(())
        }
        .boxed()
    }

    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.with(|inner| {
            if let Some(pod) = inner.pods.get_mut(pod_uid) {
                pod.containers.retain(|c| c.id != container_id);
            }
        });
        done(Ok(()))
    }

    fn exec(
        &self,
        _: &str,
        _: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>> {
        let (send, exit) = oneshot::channel();
        let code = self.with(|inner| {
            inner.log.push(format!("exec {}", config.command.join(" ")));
            inner.exec_code
        });
        assert!(send.send(code).is_ok());
        done(Ok(Exec { id: "e".into(), streams: Streams::default(), exit }))
    }

    fn attach(&self, _: &str, id: &str) -> BoxFuture<'_, Result<Streams, RuntimeError>> {
        done(Err(RuntimeError::NotRunning(id.into())))
    }

    fn dial(
        &self,
        _: &str,
        port: u16,
    ) -> BoxFuture<'_, Result<std::os::fd::OwnedFd, RuntimeError>> {
        let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        done(Err(RuntimeError::Dial { port, source }))
    }

    fn resize(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: u16,
        _: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>> {
        done(Ok(()))
    }

    fn usage(&self, _: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>> {
        done(Ok(Vec::new()))
    }

    fn wakes(&self) -> BoxStream<'static, String> {
        let receiver = self.wakes.subscribe();
        futures::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.ok().map(|uid| (uid, receiver))
        })
        .boxed()
    }

    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>> {
        if request.reference == "none:1" {
            let (reference, why) = (request.reference, "not found".to_owned());
            return done(Err(ImageError::Refused { reference, why }));
        }
        done(Ok(image(&request.reference)))
    }

    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>> {
        done(Ok((reference != "none:1").then(|| image(reference))))
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        done(Ok(vec![image("run:1")]))
    }

    fn import(&self, _: std::path::PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>> {
        done(Ok(Vec::new()))
    }

    fn remove_image(&self, _: &str) -> BoxFuture<'_, Result<(), ImageError>> {
        done(Ok(()))
    }
}

fn image(reference: &str) -> Image {
    Image {
        id: "sha256:1".into(),
        tags: vec![format!("docker.io/library/{reference}")],
        digests: vec!["docker.io/library/run@sha256:d".into()],
        size_bytes: 1000,
        ..Image::default()
    }
}
