//! The Node object as its agent keeps it: labels, capacity, conditions, images.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
        NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};

use crate::statuses::whole_seconds;

/// Most images shown. Source: kubelet v1.36 `nodeStatusMaxImages`.
const IMAGES_MAX: usize = 50;
/// Below this much free memory the node is under pressure, bytes. Source: kubelet v1.36 default
/// `evictionHard`, `memory.available<100Mi`.
const MEMORY_MIN_BYTES: u64 = 100 << 20;

/// What the agent found out about its machine.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// Host name as the kernel says.
    pub hostname: String,
    /// First the one to reach it by.
    pub addresses: Vec<IpAddr>,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// Processors.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of memory that can be had now.
    pub memory_free_bytes: u64,
    /// Bytes of the data folder's disk.
    pub disk_bytes: u64,
    /// Bytes free on it.
    pub disk_free_bytes: u64,
    /// Inodes of it.
    pub inodes: u64,
    /// Inodes free on it.
    pub inodes_free: u64,
    /// Most processes.
    pub pids_max: u64,
    /// Processes now.
    pub pids: u64,
    /// Most pods.
    pub pods_max: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Firmware's product uuid.
    pub system_uuid: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// PRETTY_NAME of /etc/os-release.
    pub os_image: String,
    /// `v1.36.2+stead.X.Y.Z`.
    pub version: String,
    /// `stead://X.Y.Z`.
    pub runtime_version: String,
    /// Port of the kubelet API.
    pub kubelet_port: u16,
    /// Images: names and bytes.
    pub images: Vec<(Vec<String>, u64)>,
    /// Why the runtime is not ready, if it is not.
    pub runtime_error: Option<String>,
}

/// The node as it first registers: labels, and the status of [`node_status`].
#[must_use]
pub fn new_node(facts: &NodeFacts, now: Timestamp) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(facts.name.clone()),
            labels: Some(labels(facts)),
            annotations: Some(BTreeMap::from([(
                "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                "true".to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(node_status(facts, None, now)),
    }
}

/// The labels that the agent keeps on its Node.
#[must_use]
pub fn labels(facts: &NodeFacts) -> BTreeMap<String, String> {
    let pairs = [
        ("beta.kubernetes.io/arch", facts.architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", facts.architecture.as_str()),
        ("kubernetes.io/hostname", facts.name.as_str()),
        ("kubernetes.io/os", "linux"),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// The status, keeping what others wrote into `old`: extended resources and foreign conditions.
///
/// Source: kubernetes v1.36 `pkg/kubelet/nodestatus/setters.go`.
#[must_use]
pub fn node_status(facts: &NodeFacts, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let old = old.cloned().unwrap_or_default();
    let capacity = amounts(facts, facts.memory_bytes, facts.disk_bytes);
    let memory = facts.memory_bytes.saturating_sub(MEMORY_MIN_BYTES);
    let allocatable = amounts(facts, memory, facts.disk_bytes / 10 * 9);
    NodeStatus {
        addresses: Some(addresses(facts)),
        capacity: Some(kept(old.capacity.clone(), capacity)),
        allocatable: Some(kept(old.allocatable.clone(), allocatable)),
        conditions: Some(conditions(facts, &old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.kubelet_port) }),
        }),
        images: Some(images(facts)),
        node_info: Some(NodeSystemInfo {
            architecture: facts.architecture.clone(),
            boot_id: facts.boot_id.clone(),
            container_runtime_version: facts.runtime_version.clone(),
            kernel_version: facts.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: facts.version.clone(),
            machine_id: facts.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: facts.os_image.clone(),
            system_uuid: facts.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        runtime_handlers: Some(vec![NodeRuntimeHandler {
            name: Some(String::new()),
            features: Some(NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(false),
                user_namespaces: Some(false),
            }),
        }]),
        ..old
    }
}

/// Whether only heartbeats differ, so that nothing need be written yet.
#[must_use]
pub fn same_but_heartbeat(a: &NodeStatus, b: &NodeStatus) -> bool {
    let bare = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    bare(a) == bare(b)
}

fn amounts(facts: &NodeFacts, memory: u64, disk: u64) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(facts.cpus.to_string())),
        ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", disk / 1024))),
        ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
        ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
        ("pods".to_owned(), Quantity(facts.pods_max.to_string())),
    ])
}

/// Ours over what was there: resources that others announced stay.
fn kept(
    old: Option<BTreeMap<String, Quantity>>,
    ours: BTreeMap<String, Quantity>,
) -> BTreeMap<String, Quantity> {
    let mut all = old.unwrap_or_default();
    all.extend(ours);
    all
}

fn addresses(facts: &NodeFacts) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    facts
        .addresses
        .iter()
        .map(|ip| address("InternalIP", ip.to_string()))
        .chain([address("Hostname", facts.name.clone())])
        .collect()
}

fn images(facts: &NodeFacts) -> Vec<ContainerImage> {
    let mut all = facts.images.clone();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.into_iter()
        .take(IMAGES_MAX)
        .map(|(names, size)| ContainerImage {
            names: Some(names),
            size_bytes: i64::try_from(size).ok(),
        })
        .collect()
}

fn conditions(facts: &NodeFacts, old: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let low_memory = facts.memory_bytes > 0 && facts.memory_free_bytes < MEMORY_MIN_BYTES;
    let low_disk = facts.disk_bytes > 0
        && (facts.disk_free_bytes < facts.disk_bytes / 10
            || facts.inodes > 0 && facts.inodes_free < facts.inodes / 20);
    let low_pids = facts.pids_max > 0 && facts.pids > facts.pids_max / 20 * 19;
    let pressure = |kind: &'static str, low: bool, words: [&'static str; 4]| {
        let (reason, message) = if low { (words[0], words[1]) } else { (words[2], words[3]) };
        (kind, low, reason.to_owned(), message.to_owned())
    };
    let ready = match &facts.runtime_error {
        None => {
            ("Ready", true, "KubeletReady".to_owned(), "kubelet is posting ready status".to_owned())
        }
        Some(why) => ("Ready", false, "KubeletNotReady".to_owned(), why.clone()),
    };
    let found = [
        pressure(
            "MemoryPressure",
            low_memory,
            [
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ],
        ),
        pressure(
            "DiskPressure",
            low_disk,
            [
                "KubeletHasDiskPressure",
                "kubelet has disk pressure",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ],
        ),
        pressure(
            "PIDPressure",
            low_pids,
            [
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ],
        ),
        ready,
    ];
    let before = old.conditions.clone().unwrap_or_default();
    let mut all: Vec<NodeCondition> = before
        .iter()
        .filter(|condition| found.iter().all(|(kind, ..)| condition.type_ != *kind))
        .cloned()
        .collect();
    for (kind, holds, reason, message) in found {
        let status = if holds { "True" } else { "False" };
        let since = before
            .iter()
            .find(|condition| condition.type_ == kind && condition.status == status)
            .and_then(|condition| condition.last_transition_time.clone());
        all.push(NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason),
            message: Some(message),
            last_heartbeat_time: Some(Time(whole_seconds(now))),
            last_transition_time: since.or_else(|| Some(Time(whole_seconds(now)))),
        });
    }
    all
}
