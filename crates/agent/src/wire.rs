//! Between podsync's words and the runtime's.

use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use host::runtime::{
    ContainerConfig, ContainerPhase, ContainerState, Device, HostPort, Mount, PodConfig, PodState,
    Resources, Seccomp, Security,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use podsync::{
    config::{ContainerWish, POD, SeccompWish},
    files,
    observed::{Held, HeldPhase, Sandbox},
    resources::{CPU_PERIOD_US, Limits, pod_limits, qos},
};

use crate::config::Config;

/// The runtime's time as ours; a time before 1970 or far off becomes 1970.
pub(crate) fn time(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What podsync sees of the keeper. `messages`: termination messages by container id.
pub(crate) fn sandbox(state: &PodState, messages: &BTreeMap<String, String>) -> Sandbox {
    Sandbox {
        attempt: state.attempt,
        alive: state.alive,
        addresses: state.addresses.clone(),
        created_at: time(state.created_at),
        containers: state.containers.iter().map(|c| held(c, messages)).collect(),
    }
}

fn held(state: &ContainerState, messages: &BTreeMap<String, String>) -> Held {
    Held {
        id: state.id.clone(),
        name: state.name.clone(),
        attempt: state.attempt,
        image: state.image.clone(),
        image_id: state.image_id.clone(),
        annotations: state.annotations.clone(),
        message: messages.get(&state.id).cloned(),
        phase: match &state.phase {
            ContainerPhase::Created => HeldPhase::Created,
            ContainerPhase::Running { started_at, .. } => {
                HeldPhase::Running { started_at: time(*started_at) }
            }
            ContainerPhase::Exited { started_at, finished_at, exit_code, signal, oom_killed } => {
                HeldPhase::Exited {
                    started_at: started_at.map(time),
                    finished_at: time(*finished_at),
                    exit_code: *exit_code,
                    signal: *signal,
                    oom_killed: *oom_killed,
                }
            }
        },
    }
}

/// What the runtime needs to make the pod's sandbox.
pub(crate) fn pod_config(pod: &Pod, attempt: u32, config: &Config) -> PodConfig {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (uid, namespace, name) = (text(&meta.uid), text(&meta.namespace), text(&meta.name));
    let spec = pod.spec.clone().unwrap_or_default();
    let security = spec.security_context.clone().unwrap_or_default();
    PodConfig {
        attempt,
        hostname: files::kernel_hostname(pod, &config.cluster_domain),
        host_network: spec.host_network.unwrap_or(false),
        host_pid: spec.host_pid.unwrap_or(false),
        host_ipc: spec.host_ipc.unwrap_or(false),
        share_processes: spec.share_process_namespace.unwrap_or(false),
        address: None,
        host_ports: host_ports(pod),
        sysctls: security.sysctls.into_iter().flatten().map(|s| (s.name, s.value)).collect(),
        resources: resources(&pod_limits(&spec)),
        qos: qos(&spec).to_owned(),
        log_dir: config.log_folder(&namespace, &name, &uid),
        annotations: record(pod),
        uid,
        namespace,
        name,
    }
}

/// The pod itself, kept beside its sandbox: one that the API forgets can still be stopped well.
fn record(pod: &Pod) -> BTreeMap<String, String> {
    let mut kept = pod.clone();
    kept.status = None;
    kept.metadata.managed_fields = None;
    serde_json::to_string(&kept)
        .map(|text| BTreeMap::from([(POD.to_owned(), text)]))
        .unwrap_or_default()
}

/// The pod out of its record; where that says nothing, no more than its names.
pub(crate) fn recorded(state: &PodState) -> Pod {
    let kept = state.annotations.get(POD).and_then(|text| serde_json::from_str::<Pod>(text).ok());
    let mut pod = kept.unwrap_or_default();
    pod.metadata.uid = Some(state.uid.clone());
    pod.metadata.namespace = Some(state.namespace.clone());
    pod.metadata.name = Some(state.name.clone());
    pod
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let sidecars = spec.init_containers.iter().flatten();
    let all = spec
        .containers
        .iter()
        .chain(sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always")));
    all.flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(HostPort {
                host_port: port.host_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)?,
                container_port: u16::try_from(port.container_port).ok()?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
            })
        })
        .collect()
}

fn resources(limits: &Limits) -> Resources {
    Resources {
        cpu_shares: limits.cpu_shares,
        cpu_quota_us: limits.cpu_quota_us,
        cpu_period_us: limits.cpu_quota_us.map(|_| CPU_PERIOD_US),
        memory_max_bytes: limits.memory_max_bytes,
        pids_max: None,
        oom_score_adj: limits.oom_score_adj,
    }
}

/// What the runtime needs to start a container, its mounts and devices already on the node.
pub(crate) fn container_config(
    wish: &ContainerWish,
    mounts: Vec<Mount>,
    devices: Vec<Device>,
    config: &Config,
) -> ContainerConfig {
    let security = &wish.security;
    let seccomp = match &security.seccomp {
        SeccompWish::RuntimeDefault => Seccomp::RuntimeDefault,
        SeccompWish::Unconfined => Seccomp::Unconfined,
        SeccompWish::Localhost(file) => Seccomp::Localhost(seccomp_file(config, file)),
    };
    ContainerConfig {
        name: wish.name.clone(),
        attempt: wish.attempt,
        image: wish.image.clone(),
        image_id: wish.image_id.clone(),
        command: wish.command.clone(),
        args: wish.args.clone(),
        env: wish.env.clone(),
        working_dir: wish.working_dir.clone(),
        mounts,
        devices,
        tty: wish.tty,
        stdin: wish.stdin,
        stdin_once: wish.stdin_once,
        security: Security {
            user: security.user,
            group: security.group,
            supplemental_groups: security.supplemental_groups.clone(),
            run_as_non_root: security.run_as_non_root,
            privileged: security.privileged,
            read_only_root: security.read_only_root,
            no_new_privileges: security.no_new_privileges,
            add_capabilities: security.add_capabilities.clone(),
            drop_capabilities: security.drop_capabilities.clone(),
            seccomp,
            unmasked_proc: security.unmasked_proc,
        },
        resources: resources(&wish.limits),
        stop_signal: wish.stop_signal,
        annotations: wish.annotations.clone(),
    }
}

fn seccomp_file(config: &Config, file: &str) -> PathBuf {
    config.data.join("seccomp").join(file.trim_start_matches('/'))
}
