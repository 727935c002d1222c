//! What a decision may see: the pod as the API wants it and the node as the agent finds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};

use crate::restart::BackOff;

/// The pod as the API wants it.
#[derive(Debug, Clone, Copy)]
pub struct Desired<'a> {
    /// As last read; its `status` is what this node wrote last, or what was there before.
    pub pod: &'a Pod,
    /// The API no longer has this uid: it was deleted by force, or while the agent was away.
    pub gone: bool,
}

/// The node as the agent finds it, as far as one pod is concerned.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What the keeper says, or the record that it left.
    pub sandbox: Option<Sandbox>,
    /// Uid of another pod of the same namespace and name whose keeper lives here: nothing may
    /// start before it is gone.
    pub blocked_by: Option<String>,
    /// Why this node will not run the pod, once decided.
    pub refused: Option<Refusal>,
    /// Images, by container name.
    pub images: BTreeMap<String, ImageSeen>,
    /// The pod's volumes.
    pub volumes: VolumesSeen,
    /// Why the last sandbox could not be made.
    pub sandbox_failure: Option<Failure>,
    /// Why the last start failed, by container name.
    pub failures: BTreeMap<String, StartFailure>,
    /// Probe results, by container id.
    pub probes: BTreeMap<String, Probed>,
    /// Waiting times between restarts, by container name.
    pub back_offs: BTreeMap<String, BackOff>,
    /// What the agent is at just now.
    pub busy: BTreeMap<Work, Busy>,
    /// Keys of events that were written once and are not to be repeated.
    pub announced: BTreeSet<String>,
    /// The node.
    pub node: NodeSeen,
    /// ConfigMaps of the pod's namespace that were looked up; `None`: it does not exist.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Secrets of the pod's namespace that were looked up; `None`: it does not exist.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Services that give environment variables: the pod's namespace and `default/kubernetes`.
    pub services: Vec<Service>,
}

/// The node that the pod runs on.
#[derive(Debug, Clone, Default)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Its addresses, first the one that `status.hostIP` shows.
    pub addresses: Vec<IpAddr>,
    /// Bytes of memory it has; decides OOM scores.
    pub memory_bytes: u64,
    /// Thousandths of processors that pods may have; a resource field without a limit shows it.
    pub allocatable_cpu_milli: i64,
    /// Bytes that pods may have; a resource field without a limit shows it.
    pub allocatable_memory_bytes: i64,
}

/// Why the node will not run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `OutOfcpu`, `NodeAffinity`, `NodePorts` …
    pub reason: String,
    /// Upstream's sentence.
    pub message: String,
}

/// What the keeper holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Which sandbox of the pod.
    pub attempt: u32,
    /// The keeper lives and the namespaces are whole.
    pub alive: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Oldest first.
    pub containers: Vec<Held>,
}

/// One container of the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Counts the pod's containers of this name, from 0.
    pub attempt: u32,
    /// As the pod named the image.
    pub image: String,
    /// The local image's id.
    pub image_id: String,
    /// As given at its start: see [`crate::config`].
    pub annotations: BTreeMap<String, String>,
    /// How far it is.
    pub phase: HeldPhase,
    /// What it wrote to its termination message file, or its last log lines.
    pub message: Option<String>,
}

/// How far a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldPhase {
    /// Prepared, not started.
    Created,
    /// Its program runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its program ended.
    Exited {
        /// If it had started.
        started_at: Option<Timestamp>,
        /// When.
        finished_at: Timestamp,
        /// 128 + signal where one killed it.
        exit_code: i32,
        /// The signal that killed it.
        signal: Option<i32>,
        /// The kernel killed it for its memory.
        oom_killed: bool,
    },
}

/// What became of a container's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSeen {
    /// It is here, for the start with this attempt.
    Ready {
        /// For which attempt it was made sure of.
        attempt: u32,
        /// What it is.
        image: ImageFacts,
    },
    /// It could not be had.
    Failed {
        /// `ErrImagePull`, `InvalidImageName`, `ErrImageNeverPull`, `RegistryUnavailable`.
        reason: String,
        /// What the registry or the parser said.
        message: String,
        /// When.
        at: Timestamp,
        /// How long to leave the registry in peace.
        back_off: BackOff,
    },
}

/// What a start needs to know of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Digest of its config.
    pub id: String,
    /// Name with the manifest's digest, where known; shown as `imageID`.
    pub reference: String,
    /// Normalised name with tag; shown as `image`.
    pub name: String,
    /// `User` of its config.
    pub user: String,
}

/// The pod's volumes on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VolumesSeen {
    /// Nothing was tried yet.
    #[default]
    Untried,
    /// All are where containers can have them.
    Mounted,
    /// At least one could not be made.
    Failed {
        /// When.
        at: Timestamp,
        /// How often in a row.
        times: u32,
    },
    /// They were taken away after the last container.
    Unmounted,
}

/// A failure that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the system said.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// How often in a row.
    pub times: u32,
}

/// Why a container did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// `CreateContainerConfigError`, `CreateContainerError`, `RunContainerError`, `PostStartHookError`.
    pub reason: String,
    /// What the system said.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Of which attempt.
    pub attempt: u32,
}

/// What probes found of one container. `None`: no result yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probed {
    /// Startup.
    pub startup: Option<bool>,
    /// Liveness.
    pub liveness: Option<bool>,
    /// Readiness.
    pub readiness: Option<bool>,
}

/// Something the agent is at; it looks again when it ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Making the sandbox.
    RunPod,
    /// Taking it down.
    StopPod,
    /// Removing the record.
    RemovePod,
    /// Making the volumes.
    MountVolumes,
    /// Taking them away.
    UnmountVolumes,
    /// Fetching the image of the container with this name.
    Pull(String),
    /// Starting the container with this name, its postStart hook included.
    Start(String),
    /// Stopping the container with this id.
    Stop(String),
    /// Removing the container with this id.
    Remove(String),
}

/// How far the work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// A stop's end: its container is killed then.
    pub deadline: Option<Timestamp>,
}
