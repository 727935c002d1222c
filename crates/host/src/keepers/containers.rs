//! Containers through their keeper: plans from images and wishes, starts, stops, streams.

use std::{io, os::fd::OwnedFd, path::PathBuf};

use super::{Keepers, calls, system};
use crate::{
    container::{plan::Plan, user::verify_non_root},
    keeper::{
        record::container_folder,
        wire::{Reply, Request, Start, Stream},
    },
    runtime::{
        ContainerConfig, ContainerPhase, ContainerState, Exec, ExecConfig, PodConfig, RuntimeError,
        Streams,
    },
};

/// containerd's default for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container needs of its image.
#[derive(Debug, Clone, Default)]
pub struct RootImage {
    /// Folders of the layers, uppermost first; at least one.
    pub layers: Vec<PathBuf>,
    /// `User` of its config.
    pub user: String,
    /// `Env` of its config: `NAME=value`.
    pub env: Vec<String>,
    /// `Entrypoint` of its config.
    pub entrypoint: Vec<String>,
    /// `Cmd` of its config.
    pub cmd: Vec<String>,
    /// `WorkingDir` of its config.
    pub working_dir: String,
    /// `StopSignal` of its config, by number.
    pub stop_signal: Option<i32>,
}

/// The program and its arguments: the pod's command hides the image's cmd too.
fn arguments(config: &ContainerConfig, image: &RootImage) -> Vec<String> {
    let given = config.args.clone();
    match &config.command {
        Some(command) if !command.is_empty() => {
            [command.clone(), given.unwrap_or_default()].concat()
        }
        _ => [
            image.entrypoint.clone(),
            given.filter(|args| !args.is_empty()).unwrap_or_else(|| image.cmd.clone()),
        ]
        .concat(),
    }
}

/// The image's environment under the pod's, in order, each name once.
fn environment(
    config: &ContainerConfig,
    image: &RootImage,
    hostname: &str,
) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match env.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => value.clone_into(&mut entry.1),
        None => env.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", DEFAULT_PATH);
    set("HOSTNAME", hostname);
    for (name, value) in image.env.iter().filter_map(|line| line.split_once('=')) {
        set(name, value);
    }
    for (name, value) in &config.env {
        set(name, value);
    }
    env
}

fn plan(
    pod: &PodConfig,
    config: &ContainerConfig,
    image: &RootImage,
    id: &str,
    cgroup: String,
) -> Result<Plan, RuntimeError> {
    let args = arguments(config, image);
    if args.is_empty() {
        return Err(RuntimeError::Create(format!(
            "failed to generate container {id:?} spec: failed to generate spec: no command specified"
        )));
    }
    let cwd = config
        .working_dir
        .clone()
        .filter(|cwd| !cwd.is_empty())
        .unwrap_or_else(|| image.working_dir.clone());
    Ok(Plan {
        args,
        env: environment(config, image, &pod.hostname),
        cwd: if cwd.is_empty() { "/".to_owned() } else { cwd },
        lower: image.layers.clone(),
        mounts: config.mounts.clone(),
        devices: config.devices.clone(),
        tty: config.tty,
        security: config.security.clone(),
        image_user: image.user.clone(),
        oom_score_adj: config.resources.oom_score_adj,
        stop_signal: config.stop_signal.or(image.stop_signal).unwrap_or(libc::SIGTERM),
        cgroup,
        host_ipc: pod.host_ipc,
        host_network: pod.host_network,
    })
}

/// Says once that containers' memory scores stay as they are: without the privilege we do without.
fn warn_of_oom_score(wanted: Option<i32>) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if wanted.is_some_and(|score| score < 0) && !crate::container::capability::may_lower_oom_score()
    {
        ONCE.call_once(|| {
            tracing::warn!("no CAP_SYS_RESOURCE: oom_score_adj of containers is not lowered")
        });
    }
}

/// 64 hexadecimal digits that nobody had before.
fn fresh_id() -> Result<String, RuntimeError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| system("get random bytes")(io::Error::other("no entropy")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives each descriptor its place.
fn streams(kinds: &[Stream], descriptors: Vec<OwnedFd>) -> Streams {
    let mut streams = Streams::default();
    for (kind, fd) in kinds.iter().zip(descriptors) {
        let place = match kind {
            Stream::Stdin => &mut streams.stdin,
            Stream::Stdout => &mut streams.stdout,
            Stream::Stderr => &mut streams.stderr,
            Stream::Terminal => &mut streams.terminal,
        };
        *place = Some(fd);
    }
    streams
}

impl Keepers {
    fn config(&self, uid: &str) -> Result<(PodConfig, String), RuntimeError> {
        let pods = self.inner.lock_pods();
        let pod = pods.get(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        Ok((pod.record.config.clone(), pod.record.cgroup.clone()))
    }

    /// Starts a container of `image` in a running pod; returns when its program runs. One that has
    /// this name and attempt already is found.
    pub async fn start_container(
        &self,
        uid: &str,
        config: ContainerConfig,
        image: &RootImage,
    ) -> Result<ContainerState, RuntimeError> {
        let known = self.pod(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        let same = |c: &&ContainerState| c.name == config.name && c.attempt == config.attempt;
        if let Some(known) =
            known.containers.iter().find(same).filter(|c| c.phase != ContainerPhase::Created)
        {
            return Ok(known.clone());
        }
        let (pod, pod_cgroup) = self.config(uid)?;
        let full_name = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
        verify_non_root(&config.security, &image.user, &full_name, &config.name)
            .map_err(RuntimeError::Config)?;
        warn_of_oom_score(config.resources.oom_score_adj);
        let id = fresh_id()?;
        let cgroup = format!("{pod_cgroup}/{id}");
        let plan = plan(&pod, &config, image, &id, cgroup.clone())?;
        plan.capabilities().map_err(RuntimeError::Create)?;
        let folder = container_folder(&self.inner.folder(uid), &id);
        plan.save(&folder).map_err(system("write container's plan"))?;
        let start = Start {
            id: id.clone(),
            name: config.name,
            attempt: config.attempt,
            image: config.image,
            image_id: config.image_id,
            annotations: config.annotations,
            tty: config.tty,
            stdin: config.stdin,
            stdin_once: config.stdin_once,
            limits: config.resources,
            cgroup,
        };
        let answer = self.ask(uid, &Request::Start(start)).await;
        self.inner.refresh(uid);
        let state = answer.and_then(|(reply, _)| calls::container(uid, reply));
        let used = match &state {
            Ok(state) => state.id == id,
            Err(RuntimeError::Create(_) | RuntimeError::System { .. }) => false,
            Err(_) => true,
        };
        if !used {
            self.remove_container_files(uid, &id).await?;
        }
        state
    }

    /// Asks a container to end, kills it after `grace_s` seconds; returns when it has ended.
    pub async fn stop_container(
        &self,
        uid: &str,
        id: &str,
        signal: Option<i32>,
        grace_s: u64,
    ) -> Result<(), RuntimeError> {
        let pod = self.pod(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        let container = pod.containers.iter().find(|container| container.id == id);
        let container = container.ok_or_else(|| RuntimeError::NoContainer(id.to_owned()))?;
        if !pod.alive || matches!(container.phase, ContainerPhase::Exited { .. }) {
            return Ok(());
        }
        let planned = || {
            Plan::load(&container_folder(&self.inner.folder(uid), id)).map(|plan| plan.stop_signal)
        };
        let signal = signal.or_else(|| planned().ok()).unwrap_or(libc::SIGTERM);
        let request =
            Request::Stop { id: id.to_owned(), signal, grace_ms: grace_s.saturating_mul(1000) };
        self.ask(uid, &request).await.map(drop)
    }

    /// Removes an exited container's root file system and record. One that is not there is no error.
    pub async fn remove_container(&self, uid: &str, id: &str) -> Result<(), RuntimeError> {
        let pod = self.pod(uid).ok_or_else(|| RuntimeError::NoPod(uid.to_owned()))?;
        if pod.alive {
            self.ask(uid, &Request::Remove { id: id.to_owned() }).await?;
        } else if let Some(pod) = self.inner.lock_pods().get_mut(uid) {
            pod.state.containers.retain(|container| container.id != id);
            pod.state.save(&self.inner.folder(uid)).map_err(system("write pod's state"))?;
        }
        self.remove_container_files(uid, id).await
    }

    /// Runs a program in a running container. Dropping the receiver of its exit kills it.
    pub async fn exec(
        &self,
        uid: &str,
        id: &str,
        config: ExecConfig,
    ) -> Result<Exec, RuntimeError> {
        let request = Request::Exec {
            id: id.to_owned(),
            command: config.command,
            tty: config.tty,
            stdin: config.stdin,
            stdout: config.stdout,
            stderr: config.stderr,
        };
        let (reply, descriptors, mut call) = self.converse(uid, &request).await?;
        let Reply::Exec { id: exec, streams: kinds } = reply else {
            return Err(calls::unexpected(uid, &reply));
        };
        let (mut tell, exit) = tokio::sync::oneshot::channel();
        let uid = uid.to_owned();
        tokio::spawn(async move {
            tokio::select! {
                answer = call.receive() => match answer {
                    Ok((Reply::Exited { code }, _)) => {
                        if tell.send(code).is_err() {
                            tracing::trace!(uid, "nobody waits for the exec");
                        }
                    }
                    other => tracing::debug!(uid, ?other, "exec's connection ended"),
                },
                () = tell.closed() => {}
            }
        });
        Ok(Exec { id: exec, streams: streams(&kinds, descriptors), exit })
    }

    /// Connects to a running container's own streams; output from now on.
    pub async fn attach(&self, uid: &str, id: &str) -> Result<Streams, RuntimeError> {
        let (reply, descriptors) = self.ask(uid, &Request::Attach { id: id.to_owned() }).await?;
        let Reply::Attached { streams: kinds } = reply else {
            return Err(calls::unexpected(uid, &reply));
        };
        Ok(streams(&kinds, descriptors))
    }

    /// A TCP connection to `port` on the pod's loopback. It is in non-blocking mode.
    pub async fn dial(&self, uid: &str, port: u16) -> Result<OwnedFd, RuntimeError> {
        let answer = self.ask(uid, &Request::Dial { port }).await;
        let (reply, mut descriptors) = answer.map_err(|error| match error {
            RuntimeError::Dial { source, .. } => RuntimeError::Dial { port, source },
            other => other,
        })?;
        descriptors.pop().ok_or_else(|| calls::unexpected(uid, &reply))
    }

    /// Sets the size of a container's or exec's terminal.
    pub async fn resize(
        &self,
        uid: &str,
        id: &str,
        exec: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> Result<(), RuntimeError> {
        let request =
            Request::Resize { id: id.to_owned(), exec: exec.map(ToOwned::to_owned), columns, rows };
        self.ask(uid, &request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(command: Option<&[&str]>, args: Option<&[&str]>, expected: &Expect) {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let image =
            RootImage { entrypoint: own(&["entry"]), cmd: own(&["cmd"]), ..RootImage::default() };
        let config = ContainerConfig {
            command: command.map(own),
            args: args.map(own),
            ..ContainerConfig::default()
        };
        expected.assert_eq(&arguments(&config, &image).join(" "));
    }

    #[test]
    fn commands() {
        check(None, None, &expect!["entry cmd"]);
        check(None, Some(&["a"]), &expect!["entry a"]);
        check(Some(&["c"]), None, &expect!["c"]);
        check(Some(&["c"]), Some(&["a"]), &expect!["c a"]);
    }

    #[test]
    fn environments() {
        let image = RootImage { env: vec!["PATH=/x".into(), "A=1".into()], ..RootImage::default() };
        let config =
            ContainerConfig { env: vec![("A".into(), "2".into())], ..ContainerConfig::default() };
        expect![[r#"[("PATH", "/x"), ("HOSTNAME", "web-0"), ("A", "2")]"#]]
            .assert_eq(&format!("{:?}", environment(&config, &image, "web-0")));
    }
}
