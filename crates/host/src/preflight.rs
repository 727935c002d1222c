//! What this machine cannot do for us, told before anything is made.

use std::{fs, path::Path};

use crate::container::cgroup::Hierarchies;

/// One line for each thing that is missing and without which no container runs: cause and cure.
/// Empty when all is well.
#[must_use]
pub fn preflight() -> Vec<String> {
    let mut found = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        found.push("not running as root: containers need it; run it with sudo".to_owned());
        return found;
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        found.push("the kernel has no overlayfs: load it with `modprobe overlay`".to_owned());
    }
    for (namespace, option) in [
        ("net", "NET_NS"),
        ("pid", "PID_NS"),
        ("ipc", "IPC_NS"),
        ("uts", "UTS_NS"),
        ("mnt", "NAMESPACES"),
    ] {
        if !Path::new("/proc/self/ns").join(namespace).exists() {
            found.push(format!(
                "the kernel has no {namespace} namespaces: use one built with CONFIG_{option}"
            ));
        }
    }
    match Hierarchies::discover() {
        Ok(hierarchies) if hierarchies.any() => {
            for controller in ["memory", "cpu", "pids"] {
                if !hierarchies.has(controller) {
                    tracing::warn!(
                        controller,
                        "no such cgroup controller: limits on it are not enforced"
                    );
                }
            }
        }
        _ => found.push(
            "no cgroups are mounted: mount them with `mount -t cgroup2 none /sys/fs/cgroup`"
                .to_owned(),
        ),
    }
    if !has_mount_setattr() {
        found.push("the kernel has no mount_setattr: Linux 5.12 or later is needed".to_owned());
    }
    if !Path::new("/proc/self/seccomp_cache").exists()
        && !fs::read_to_string("/proc/self/status").unwrap_or_default().contains("Seccomp:")
    {
        found
            .push("the kernel has no seccomp: use one built with CONFIG_SECCOMP_FILTER".to_owned());
    }
    found
}

fn has_mount_setattr() -> bool {
    // SAFETY: an invalid descriptor and no attributes: the kernel only says whether it knows the call.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<u8>(), 0)
    };
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}
