//! A pod in the words of CRI: its settings, its limits, its state.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::ContainerState;

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
