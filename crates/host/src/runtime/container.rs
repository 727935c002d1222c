//! A container in the words of CRI: its settings, its state, and programs run inside it.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::PathBuf, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::Resources;

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
