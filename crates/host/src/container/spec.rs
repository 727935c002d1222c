//! From our plan to OCI's words: the mounts and devices that `libcontainer` makes.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::{
    OciSpecError,
    runtime::{
        LinuxBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType, Mount as OciMount,
        MountBuilder, RootBuilder, Spec, SpecBuilder,
    },
};

use super::plan::Plan;

/// Hidden from containers; containerd's default.
pub(crate) const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Not writable by containers; containerd's default.
pub(crate) const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A file system of the kernel's own that every container has: where, type, options.
const KERNEL_MOUNTS: &[(&str, &str, &[&str])] = &[
    ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
];

fn kernel_mount(target: &str, kind: &str, options: &[&str]) -> Result<OciMount, OciSpecError> {
    let options: Vec<String> = options.iter().map(ToString::to_string).collect();
    MountBuilder::default().destination(target).typ(kind).source(kind).options(options).build()
}

fn bind(
    source: &Path,
    target: &str,
    read_only: bool,
    devices: bool,
) -> Result<OciMount, OciSpecError> {
    let mut options = vec!["rbind".to_owned()];
    if read_only {
        options.push("rro".to_owned());
    }
    if !devices {
        options.push("nodev".to_owned());
    }
    MountBuilder::default().destination(target).typ("bind").source(source).options(options).build()
}

/// The OCI configuration of `plan`'s root, its shared memory being at `shm` on the node.
///
/// `staged` replaces the sources of mounts, by position.
pub(crate) fn build(
    plan: &Plan,
    root: &Path,
    shm: &Path,
    staged: &[(usize, PathBuf)],
) -> Result<Spec, OciSpecError> {
    let privileged = plan.security.privileged;
    let mut mounts = Vec::new();
    for (target, kind, options) in KERNEL_MOUNTS {
        mounts.push(kernel_mount(target, kind, options)?);
    }
    let writable = if privileged { "rw" } else { "ro" };
    if plan.host_network {
        mounts.push(bind(Path::new("/sys"), "/sys", !privileged, privileged)?);
    } else {
        mounts.push(kernel_mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", writable])?);
        mounts.push(kernel_mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", writable],
        )?);
    }
    mounts.push(bind(shm, "/dev/shm", false, false)?);
    for (position, mount) in plan.mounts.iter().enumerate() {
        let source = staged
            .iter()
            .find(|(index, _)| *index == position)
            .map_or(&mount.source, |(_, path)| path);
        mounts.push(bind(source, &mount.target, mount.read_only, privileged)?);
    }
    let shared =
        plan.mounts.iter().any(|mount| mount.propagation.as_deref() == Some("Bidirectional"));
    let devices = if privileged { host_devices(Path::new("/dev")) } else { Vec::new() };
    let linux = LinuxBuilder::default()
        .rootfs_propagation(if shared { "shared" } else { "slave" })
        .devices(devices);
    SpecBuilder::default()
        .root(RootBuilder::default().path(root).readonly(plan.security.read_only_root).build()?)
        .mounts(mounts)
        .linux(linux.build()?)
        .build()
}

/// Every device file of the node, for privileged containers; terminals and shared memory are
/// the container's own.
fn host_devices(folder: &Path) -> Vec<LinuxDevice> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let own = ["pts", "shm", "fd", "mqueue", "console", "ptmx", "core"];
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if own.iter().any(|name| path == Path::new("/dev").join(name)) {
            continue;
        }
        let kind = metadata.file_type();
        if kind.is_dir() {
            found.extend(host_devices(&path));
        }
        let typ = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => LinuxDeviceType::C,
            (_, true) => LinuxDeviceType::B,
            _ => continue,
        };
        let number = metadata.rdev();
        let device = LinuxDeviceBuilder::default()
            .path(path)
            .typ(typ)
            .major(i64::from(libc::major(number)))
            .minor(i64::from(libc::minor(number)))
            .file_mode(metadata.mode() & 0o7777)
            .uid(metadata.uid())
            .gid(metadata.gid())
            .build();
        found.extend(device);
    }
    found
}
