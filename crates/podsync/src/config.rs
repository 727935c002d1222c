//! A container's complete settings, made from the pod and what is known here.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, PodSecurityContext};

use crate::{
    containers::Unit,
    env::{ConfigError, environment, expand},
    events::pod_words,
    observed::{ImageFacts, Observed},
    resources::{Limits, container_limits},
    restart::BackOff,
};

/// Annotation of a container's record: which sandbox of the pod it belongs to.
pub const SANDBOX_ATTEMPT: &str = "stead.io/sandbox-attempt";
/// Annotation of a container's record: what its status shows as `imageID`.
pub const IMAGE_REFERENCE: &str = "stead.io/image-reference";
/// Annotation of a container's record: what its status shows as `image`.
pub const IMAGE_NAME: &str = "stead.io/image-name";
/// Annotation of a pod's record: the pod as it was when its sandbox was made, as JSON.
pub const POD: &str = "stead.io/pod";

/// One container, complete: all that a runtime needs.
#[derive(Debug, Clone, Default)]
pub struct ContainerWish {
    /// Name in the pod.
    pub name: String,
    /// Counts the pod's containers of this name, from 0: the restart count.
    pub attempt: u32,
    /// For `spec.containers{x}` in events.
    pub field_path: String,
    /// As the pod names it.
    pub image: String,
    /// The local image's id.
    pub image_id: String,
    /// `None` takes the image's entrypoint.
    pub command: Option<Vec<String>>,
    /// `None` takes the image's cmd, unless `command` is given.
    pub args: Option<Vec<String>>,
    /// Over the image's.
    pub env: Vec<(String, String)>,
    /// Over the image's.
    pub working_dir: Option<String>,
    /// In order.
    pub mounts: Vec<MountWish>,
    /// Block volumes: volume name and path inside.
    pub devices: Vec<(String, String)>,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Standard input can be attached.
    pub stdin: bool,
    /// Standard input closes with the first client that leaves.
    pub stdin_once: bool,
    /// Rights.
    pub security: SecurityWish,
    /// Cgroup numbers.
    pub limits: Limits,
    /// Sent instead of the image's.
    pub stop_signal: Option<i32>,
    /// Where it writes its last words, inside.
    pub termination_path: String,
    /// Kept with the record.
    pub annotations: BTreeMap<String, String>,
    /// Run once it has started.
    pub post_start: Option<LifecycleHandler>,
    /// To remember when it starts.
    pub back_off: BackOff,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountWish {
    /// What.
    pub source: Source,
    /// Where, inside.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// `None`, `HostToContainer` or `Bidirectional`.
    pub propagation: Option<String>,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A volume of the pod, or a path in it.
    Volume {
        /// Its name.
        name: String,
        /// Relative path in it, already expanded.
        sub_path: Option<String>,
        /// Position among the container's mounts.
        position: usize,
    },
    /// The pod's /etc/hosts.
    Hosts,
    /// The pod's /etc/hostname.
    Hostname,
    /// The pod's /etc/resolv.conf.
    ResolvConf,
    /// The container's termination message file.
    TerminationLog,
}

/// A container's rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityWish {
    /// `None`: the image's.
    pub user: Option<i64>,
    /// `None`: the image's.
    pub group: Option<i64>,
    /// Added to the image's.
    pub supplemental_groups: Vec<i64>,
    /// Refuse uid 0.
    pub run_as_non_root: bool,
    /// Everything.
    pub privileged: bool,
    /// The root file system is not writable.
    pub read_only_root: bool,
    /// Sets no_new_privs.
    pub no_new_privileges: bool,
    /// Over the default set.
    pub add_capabilities: Vec<String>,
    /// From the default set.
    pub drop_capabilities: Vec<String>,
    /// `RuntimeDefault`, `Unconfined`, or a profile's file name.
    pub seccomp: SeccompWish,
    /// `/proc` unmasked.
    pub unmasked_proc: bool,
}

/// The filter of system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeccompWish {
    /// The runtime's list; also where the pod says nothing.
    #[default]
    RuntimeDefault,
    /// All calls.
    Unconfined,
    /// A file below the agent's seccomp folder.
    Localhost(String),
}

/// All that is needed to start `unit`.
///
/// # Errors
/// [`ConfigError`]: shown as `CreateContainerConfigError`.
pub(crate) fn container_wish(
    pod: &Pod,
    unit: &Unit<'_>,
    seen: &Observed,
    image: &ImageFacts,
    attempt: u32,
    addresses: &[IpAddr],
) -> Result<ContainerWish, ConfigError> {
    let container: &Container = &unit.container;
    let env = environment(pod, container, seen, addresses)?;
    let known = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let expanded = |words: &Option<Vec<String>>| {
        words
            .as_ref()
            .filter(|words| !words.is_empty())
            .map(|words| words.iter().map(|word| expand(word, known)).collect::<Vec<_>>())
    };
    let security = security(pod, container);
    refuse_root(pod, container, &security, image)?;
    let sandbox_attempt = seen.sandbox.as_ref().map_or(0, |s| s.attempt);
    let lifecycle = container.lifecycle.as_ref();
    Ok(ContainerWish {
        name: container.name.clone(),
        attempt,
        field_path: unit.field_path(),
        image: container.image.clone().unwrap_or_default(),
        image_id: image.id.clone(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts: mounts(container, known)?,
        devices: container
            .volume_devices
            .iter()
            .flatten()
            .map(|device| (device.name.clone(), device.device_path.clone()))
            .collect(),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        security,
        limits: container_limits(pod, container, seen.node.memory_bytes),
        stop_signal: stop_signal(container),
        termination_path: termination_path(container).to_owned(),
        annotations: BTreeMap::from([
            (SANDBOX_ATTEMPT.to_owned(), sandbox_attempt.to_string()),
            (IMAGE_REFERENCE.to_owned(), image.reference.clone()),
            (IMAGE_NAME.to_owned(), image.name.clone()),
        ]),
        post_start: lifecycle.and_then(|l| l.post_start.clone()),
        back_off: BackOff::default(),
        env,
    })
}

/// `terminationMessagePath`, or upstream's default.
#[must_use]
pub fn termination_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/dev/termination-log")
}

/// The container's own stop signal, by number.
#[must_use]
pub fn stop_signal(container: &Container) -> Option<i32> {
    let name = container.lifecycle.as_ref()?.stop_signal.as_deref()?;
    let name = name.strip_prefix("SIG")?;
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(34 + rest.trim_start_matches('+').parse().unwrap_or(0));
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return Some(64 - rest.trim_start_matches('-').parse().unwrap_or(0));
    }
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Linux's numbers; the same on x86-64 and arm64.
const SIGNALS: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

fn mounts(
    container: &Container,
    known: impl Fn(&str) -> Option<String> + Copy,
) -> Result<Vec<MountWish>, ConfigError> {
    let mut all = Vec::new();
    for (position, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let expression = mount.sub_path_expr.as_deref().filter(|p| !p.is_empty());
        let sub_path = match expression {
            None => mount.sub_path.clone().filter(|path| !path.is_empty()),
            Some(expression) => Some(expand_whole(expression, known).ok_or_else(|| {
                ConfigError::Reference(format!(
                    "missing value for {}",
                    crate::env::quoted(expression)
                ))
            })?),
        };
        if let Some(path) = &sub_path
            && (path.starts_with('/') || path.split('/').any(|part| part == ".."))
        {
            return Err(ConfigError::Reference(format!(
                "error SubPath `{path}` must not be an absolute path or contain `..`"
            )));
        }
        all.push(MountWish {
            source: Source::Volume { name: mount.name.clone(), sub_path, position },
            target: mount.mount_path.clone(),
            read_only: mount.read_only.unwrap_or(false),
            propagation: mount.mount_propagation.clone(),
        });
    }
    let own = [
        (Source::Hosts, "/etc/hosts"),
        (Source::Hostname, "/etc/hostname"),
        (Source::ResolvConf, "/etc/resolv.conf"),
        (Source::TerminationLog, termination_path(container)),
    ];
    for (source, target) in own {
        if all.iter().all(|mount| mount.target.trim_end_matches('/') != target) {
            all.push(MountWish {
                source,
                target: target.to_owned(),
                read_only: false,
                propagation: None,
            });
        }
    }
    Ok(all)
}

/// As [`expand`], but `None` when some name is unknown.
fn expand_whole(text: &str, known: impl Fn(&str) -> Option<String>) -> Option<String> {
    let complete = std::cell::Cell::new(true);
    let result = expand(text, |name| {
        let value = known(name);
        if value.is_none() {
            complete.set(false);
        }
        value
    });
    complete.get().then_some(result)
}

fn security(pod: &Pod, container: &Container) -> SecurityWish {
    let none = PodSecurityContext::default();
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).unwrap_or(&none);
    let own = container.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let mut groups = of_pod.supplemental_groups.clone().unwrap_or_default();
    if let Some(group) = of_pod.fs_group
        && !groups.contains(&group)
    {
        groups.push(group);
    }
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let seccomp = match profile.map(|p| (p.type_.as_str(), p.localhost_profile.clone())) {
        Some(("Localhost", Some(file))) => SeccompWish::Localhost(file),
        Some(("Unconfined", _)) => SeccompWish::Unconfined,
        _ if privileged => SeccompWish::Unconfined,
        _ => SeccompWish::RuntimeDefault,
    };
    SecurityWish {
        user: own.run_as_user.or(of_pod.run_as_user),
        group: own.run_as_group.or(of_pod.run_as_group),
        supplemental_groups: groups,
        run_as_non_root: own.run_as_non_root.or(of_pod.run_as_non_root).unwrap_or(false),
        privileged,
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        seccomp,
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    }
}

/// Source: kubernetes v1.36 `pkg/kubelet/kuberuntime/security_context.go`, `verifyRunAsNonRoot`.
fn refuse_root(
    pod: &Pod,
    container: &Container,
    security: &SecurityWish,
    image: &ImageFacts,
) -> Result<(), ConfigError> {
    if !security.run_as_non_root {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", pod_words(pod), container.name);
    let words = match security.user {
        Some(0) => format!("container's runAsUser breaks non-root policy {place}"),
        Some(_) => return Ok(()),
        None => {
            let user = image.user.split(':').next().unwrap_or("");
            match user.parse::<i64>() {
                Ok(0) => format!("container has runAsNonRoot and image will run as root {place}"),
                Ok(_) => return Ok(()),
                Err(_) if user.is_empty() => {
                    format!("container has runAsNonRoot and image will run as root {place}")
                }
                Err(_) => format!(
                    "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {place}"
                ),
            }
        }
    };
    Err(ConfigError::Root(words))
}
