//! What the agent asks of a node: the words of CRI, without its wire.
//!
//! Three implementations: our keepers ([`crate`]'s own), any CRI runtime over gRPC (later), and a
//! fake kernel for simulation. All calls are safe to repeat: a second one with the same ids finds
//! what the first one made.

use std::{collections::BTreeMap, net::IpAddr, os::fd::OwnedFd, path::PathBuf, time::SystemTime};

use futures::{future::BoxFuture, stream::BoxStream};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A node's containers, images and pod networks.
pub trait Runtime: Send + Sync + 'static {
    /// Starts the pod's keeper: its cgroup, namespaces, network. Idempotent by `uid` and `attempt`.
    fn run_pod(&self, config: PodConfig) -> BoxFuture<'_, Result<PodState, RuntimeError>>;
    /// Kills what runs in it and takes its network down; the record stays for `pods`.
    fn stop_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Removes the stopped pod with its containers, root file systems and records (not its logs).
    fn remove_pod(&self, uid: &str) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Every pod that a keeper holds or left a record of, with its containers.
    fn pods(&self) -> BoxFuture<'_, Result<Vec<PodState>, RuntimeError>>;
    /// Prepares and starts one container of a running pod, returning when its program runs.
    fn start_container(
        &self,
        pod_uid: &str,
        config: ContainerConfig,
    ) -> BoxFuture<'_, Result<ContainerState, RuntimeError>>;
    /// Sends `signal`, and SIGKILL `grace_s` seconds later; returns when it has exited.
    fn stop_container(
        &self,
        pod_uid: &str,
        container_id: &str,
        signal: Option<i32>,
        grace_s: u64,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Removes an exited container's root file system and record.
    fn remove_container(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Runs a program inside a running container.
    fn exec(
        &self,
        pod_uid: &str,
        container_id: &str,
        config: ExecConfig,
    ) -> BoxFuture<'_, Result<Exec, RuntimeError>>;
    /// Connects to a running container's own standard streams.
    fn attach(
        &self,
        pod_uid: &str,
        container_id: &str,
    ) -> BoxFuture<'_, Result<Streams, RuntimeError>>;
    /// A TCP connection to a port, made inside the pod's network namespace (`127.0.0.1`).
    fn dial(&self, pod_uid: &str, port: u16) -> BoxFuture<'_, Result<OwnedFd, RuntimeError>>;
    /// Sets the size of a container's or exec's terminal.
    fn resize(
        &self,
        pod_uid: &str,
        container_id: &str,
        exec_id: Option<&str>,
        columns: u16,
        rows: u16,
    ) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// What its cgroup says it uses now.
    fn usage(&self, pod_uid: &str) -> BoxFuture<'_, Result<Vec<Usage>, RuntimeError>>;
    /// "Look again at this pod": exits, starts, keepers found or lost. Carries no facts.
    fn wakes(&self) -> BoxStream<'static, String>;

    /// Makes sure that the image is here.
    fn pull(&self, request: PullRequest) -> BoxFuture<'_, Result<Image, ImageError>>;
    /// The image that this reference names, if it is here.
    fn image(&self, reference: &str) -> BoxFuture<'_, Result<Option<Image>, ImageError>>;
    /// Every image here.
    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, ImageError>>;
    /// Adds the images of an OCI layout or docker archive file.
    fn import(&self, file: PathBuf) -> BoxFuture<'_, Result<Vec<Image>, ImageError>>;
    /// Forgets a name; the image goes with its last one when no container uses it.
    fn remove_image(&self, reference: &str) -> BoxFuture<'_, Result<(), ImageError>>;
}

/// What a pod needs before its first container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PodConfig {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Grows when the same pod's sandbox has to be made again.
    pub attempt: u32,
    /// Host name inside.
    pub hostname: String,
    /// Shares the node's network.
    pub host_network: bool,
    /// Shares the node's processes.
    pub host_pid: bool,
    /// Shares the node's IPC objects.
    pub host_ipc: bool,
    /// All containers see each other's processes.
    pub share_processes: bool,
    /// Address from the node's podCIDR, chosen by the runtime when absent.
    pub address: Option<IpAddr>,
    /// Ports of the node that lead to the pod.
    pub host_ports: Vec<HostPort>,
    /// `net.*` and other namespaced kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Parent cgroup's limits for the whole pod.
    pub resources: Resources,
    /// Guaranteed, Burstable, BestEffort: decides the cgroup's place.
    pub qos: String,
    /// Where containers' logs go: `<log_dir>/<container>/<attempt>.log`.
    pub log_dir: PathBuf,
    /// Kept with the record: whatever the agent wants to find again.
    pub annotations: BTreeMap<String, String>,
}

/// A port of the node that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// On the node.
    pub host_port: u16,
    /// In the pod.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Only on this address of the node.
    pub host_ip: Option<IpAddr>,
}

/// Cgroup limits. `None` means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative share of CPU time (v1 `cpu.shares`, 2..=262144).
    pub cpu_shares: Option<u64>,
    /// CPU microseconds in each period.
    pub cpu_quota_us: Option<i64>,
    /// Length of the period.
    pub cpu_period_us: Option<u64>,
    /// Most bytes of memory.
    pub memory_max_bytes: Option<i64>,
    /// Most processes.
    pub pids_max: Option<i64>,
    /// Who the kernel kills first; lowering it may not be allowed, and is then left.
    pub oom_score_adj: Option<i32>,
}

/// One container, complete.
#[derive(Debug, Clone, Default)]
pub struct ContainerConfig {
    /// Name in the pod.
    pub name: String,
    /// Counts the pod's containers of this name, from 0.
    pub attempt: u32,
    /// As the pod names it.
    pub image: String,
    /// The local image's id (config digest).
    pub image_id: String,
    /// `None` takes the image's entrypoint.
    pub command: Option<Vec<String>>,
    /// `None` takes the image's cmd, unless `command` is given.
    pub args: Option<Vec<String>>,
    /// Over the image's.
    pub env: Vec<(String, String)>,
    /// Over the image's.
    pub working_dir: Option<String>,
    /// Volumes, /etc/hosts, /etc/resolv.conf, termination log …, in order.
    pub mounts: Vec<Mount>,
    /// Device files.
    pub devices: Vec<Device>,
    /// A terminal instead of three pipes.
    pub tty: bool,
    /// Standard input can be attached.
    pub stdin: bool,
    /// Standard input closes with the first client that leaves.
    pub stdin_once: bool,
    /// Who it runs as and what it may do.
    pub security: Security,
    /// Its own limits, within the pod's.
    pub resources: Resources,
    /// Sent instead of the image's stop signal, by number.
    pub stop_signal: Option<i32>,
    /// Kept with the record.
    pub annotations: BTreeMap<String, String>,
}

/// One mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the node.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// `None`, `HostToContainer` or `Bidirectional`.
    pub propagation: Option<String>,
}

/// One device file of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the node.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// `rwm`
    pub access: String,
}

/// A container's rights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `None`: the image's user.
    pub user: Option<i64>,
    /// `None`: the image's, or the user's group in the image's passwd file.
    pub group: Option<i64>,
    /// Added to those of the image's group file.
    pub supplemental_groups: Vec<i64>,
    /// Refuse to run as uid 0.
    pub run_as_non_root: bool,
    /// Everything.
    pub privileged: bool,
    /// The root file system is not writable.
    pub read_only_root: bool,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// Over the default set; `ALL` is known.
    pub add_capabilities: Vec<String>,
    /// From the default set; `ALL` is known.
    pub drop_capabilities: Vec<String>,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// `/proc` unmasked.
    pub unmasked_proc: bool,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The runtime's default list.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// An OCI seccomp profile on the node.
    Localhost(PathBuf),
}

/// A pod as its keeper knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Which sandbox of the pod.
    pub attempt: u32,
    /// Its keeper lives and its namespaces are whole.
    pub alive: bool,
    /// Its addresses; empty with the node's network.
    pub addresses: Vec<IpAddr>,
    /// When it was made.
    pub created_at: SystemTime,
    /// As given.
    pub annotations: BTreeMap<String, String>,
    /// Oldest first; exited ones until removed.
    pub containers: Vec<ContainerState>,
}

/// A container as its keeper knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// As given.
    pub attempt: u32,
    /// As the pod names the image.
    pub image: String,
    /// The local image's id.
    pub image_id: String,
    /// As given.
    pub annotations: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: SystemTime,
    /// How far it is.
    pub phase: ContainerPhase,
}

/// How far a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerPhase {
    /// Prepared, not started.
    Created,
    /// Its program runs.
    Running {
        /// Process id on the node.
        pid: u32,
        /// Since when.
        started_at: SystemTime,
    },
    /// Its program ended.
    Exited {
        /// If it had started.
        started_at: Option<SystemTime>,
        /// When.
        finished_at: SystemTime,
        /// 128 + signal where one killed it.
        exit_code: i32,
        /// The signal that killed it.
        signal: Option<i32>,
        /// The kernel killed it for its memory.
        oom_killed: bool,
    },
}

/// A program to run inside a container.
#[derive(Debug, Clone, Default)]
pub struct ExecConfig {
    /// Program and arguments.
    pub command: Vec<String>,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Standard input is wanted.
    pub stdin: bool,
    /// Standard output is wanted.
    pub stdout: bool,
    /// Standard error is wanted (never with a terminal).
    pub stderr: bool,
}

/// A running exec.
#[derive(Debug)]
pub struct Exec {
    /// For `resize`.
    pub id: String,
    /// Its streams.
    pub streams: Streams,
    /// Its exit code, once; 128 + signal where one killed it.
    pub exit: tokio::sync::oneshot::Receiver<i32>,
}

/// Ends of pipes, or one terminal in `terminal`.
#[derive(Debug, Default)]
pub struct Streams {
    /// Write end.
    pub stdin: Option<OwnedFd>,
    /// Read end.
    pub stdout: Option<OwnedFd>,
    /// Read end.
    pub stderr: Option<OwnedFd>,
    /// Both ways, instead of the three.
    pub terminal: Option<OwnedFd>,
}

/// What a cgroup uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Empty for the whole pod.
    pub container_id: String,
    /// CPU time since its start.
    pub cpu_ns: u64,
    /// Memory without pages that can be dropped.
    pub working_set_bytes: u64,
    /// Processes.
    pub pids: u64,
}

/// An image to fetch.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// As the pod names it.
    pub reference: String,
    /// Pairs of registry host and credentials, from imagePullSecrets.
    pub credentials: Vec<Credential>,
}

/// One registry login.
#[derive(Clone, Default)]
pub struct Credential {
    /// Host, or host and path prefix, of the docker config's `auths`.
    pub registry: String,
    /// User.
    pub username: String,
    /// Password; never printed.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}@{})", self.username, self.registry)
    }
}

/// An image that is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Digest of its config: `sha256:…`.
    pub id: String,
    /// Normalised names with tags: `docker.io/library/nginx:1.9.1`.
    pub tags: Vec<String>,
    /// Names with the manifest's digest.
    pub digests: Vec<String>,
    /// Unpacked size.
    pub size_bytes: u64,
    /// `User` of its config.
    pub user: String,
    /// `StopSignal` of its config, by number.
    pub stop_signal: Option<i32>,
    /// `Volumes` of its config.
    pub volumes: Vec<String>,
}

/// What went wrong with a pod or container: one variant per remedy.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No keeper and no record of it.
    #[error("pod {0} is not known here")]
    NoPod(String),
    /// No such container in that pod.
    #[error("container {0} is not known here")]
    NoContainer(String),
    /// It has exited or never started.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The image is not here any more.
    #[error("image {0} is not here")]
    NoImage(String),
    /// The container's settings cannot be carried out; upstream's CreateContainerError.
    #[error("{0}")]
    Create(String),
    /// The pod asks for what its image contradicts; upstream's CreateContainerConfigError.
    #[error("{0}")]
    Config(String),
    /// The program could not be started; upstream's RunContainerError (StartError, exit 128).
    #[error("{0}")]
    Start(String),
    /// The pod's namespaces or network could not be made; upstream's FailedCreatePodSandBox.
    #[error("{0}")]
    Sandbox(String),
    /// Nothing listens there.
    #[error("port {port}: {source}")]
    Dial {
        /// Which port.
        port: u16,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The keeper did not answer, or answered nonsense.
    #[error("keeper of pod {uid}: {what}")]
    Keeper {
        /// Whose.
        uid: String,
        /// What happened.
        what: String,
    },
    /// The kernel or the disk said no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What went wrong with an image: one variant per remedy.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Not a valid name: upstream's InvalidImageName.
    #[error("couldn't parse image name {reference:?}: {why}")]
    Name {
        /// As given.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// The registry does not have it, or will not give it.
    #[error("failed to pull and unpack image {reference:?}: {why}")]
    Refused {
        /// As given.
        reference: String,
        /// What the registry said.
        why: String,
    },
    /// The registry does not answer: upstream's RegistryUnavailable.
    #[error("failed to pull and unpack image {reference:?}: {why}")]
    Unreachable {
        /// As given.
        reference: String,
        /// What happened.
        why: String,
    },
    /// The file is no image, or a damaged one.
    #[error("{}: {why}", file.display())]
    Archive {
        /// Which file.
        file: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// It is for another processor.
    #[error("{reference}: the image is for {found}, this node is {wanted}")]
    Platform {
        /// The image.
        reference: String,
        /// Its platform.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// No such image.
    #[error("image {0} is not here")]
    Absent(String),
    /// Containers use it.
    #[error("image {reference} is used by {user}")]
    InUse {
        /// The image.
        reference: String,
        /// Who uses it.
        user: String,
    },
    /// The disk said no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}
