//! A container's first program, from the clone to its exec: cgroup, mounts, root, console, user.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use libcontainer::{
    rootfs::RootFS,
    syscall::{Syscall, linux::LinuxSyscall},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use super::{
    cgroup::Hierarchies,
    launch::{self, Failure, Stdio},
    plan::Plan,
    spec,
    user::User,
};
use crate::{
    mount::{self as mounts, Attribute},
    runtime::Device,
};

/// What the keeper hands to the process it has just cloned.
#[derive(Debug)]
pub(crate) struct First<'a> {
    /// The container's folder: plan, changes, mount points.
    pub(crate) folder: &'a Path,
    /// A mount namespace whose root is the pod's shared memory; `None` uses the node's.
    pub(crate) shm: Option<&'a OwnedFd>,
    pub(crate) hierarchies: &'a Hierarchies,
    pub(crate) stdio: Stdio,
    /// Where the terminal's master is sent, for containers that have one.
    pub(crate) console: Option<OwnedFd>,
}

fn step<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Failure> {
    result.map_err(|error| Failure::create(what, &error))
}

/// Makes the calling process the container. Returns only with the reason why not.
pub(crate) fn become_container(first: First<'_>) -> Failure {
    match prepare(first) {
        Ok((plan, user)) => launch::run(&plan, &plan.args, plan.tty, &user),
        Err(failure) => failure,
    }
}

fn prepare(first: First<'_>) -> Result<(Plan, User), Failure> {
    launch::reset_signals();
    step("set death signal", launch::die_with_keeper())?;
    let plan = step("read plan", Plan::load(first.folder))?;
    step("join cgroup", first.hierarchies.join(&plan.cgroup))?;
    launch::adjust_oom_score(plan.oom_score_adj);
    step("setsid", nix::unistd::setsid())?;
    let shm = first.shm.map(shared_memory).transpose()?;
    let shared = shared_sources(&plan)?;
    let stat = |device: &Device| nix::sys::stat::stat(&device.source);
    let numbers = plan.devices.iter().map(stat).collect::<Result<Vec<_>, _>>();
    let numbers = step("look at devices", numbers)?;
    let folder = step("open folder", fs::File::open(first.folder))?;
    step("unshare", unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP))?;
    step("set propagation", mounts::propagate(Path::new("/"), MsFlags::MS_SLAVE))?;
    let root = mount_root(first.folder, &plan)?;
    let stage = first.folder.join("stage");
    let shm_path = match &shm {
        None => PathBuf::from("/dev/shm"),
        Some(tree) => {
            let path = stage.join("shm");
            step("stage", fs::create_dir_all(&path).and_then(|()| mounts::attach(tree, &path)))?;
            path
        }
    };
    let mut staged = Vec::new();
    for (position, tree) in &shared {
        let path = stage.join(position.to_string());
        let source = &plan.mounts[*position].source;
        step(
            "stage",
            mounts::make_target(&path, source).and_then(|()| mounts::attach(tree, &path)),
        )?;
        staged.push((*position, path));
    }
    let spec = step("make spec", spec::build(&plan, &root, &shm_path, &staged))?;
    sources_exist(&plan, &shm_path)?;
    let filesystem = RootFS::new();
    filesystem.prepare_rootfs(&spec, &root, false, true).map_err(|error| mount_failure(&error))?;
    step("pivot_root", LinuxSyscall.pivot_rootfs(&root))?;
    if let Some(linux) = spec.linux() {
        step("set propagation of root", filesystem.adjust_root_mount_propagation(linux))?;
    }
    seal(&plan, &numbers)?;
    let user = plan.first_user(&folder).map_err(Failure::Create)?;
    match first.console {
        Some(console) => open_console(console, true, &user)?,
        None => first.stdio.install(&user)?,
    }
    Ok((plan, user))
}

/// Names the volume that is not there, in runc's words; `libcontainer` would not say which.
fn sources_exist(plan: &Plan, shm: &Path) -> Result<(), Failure> {
    let volumes = plan.mounts.iter().map(|m| (m.source.as_path(), m.target.as_str()));
    for (source, target) in volumes.chain([(shm, "/dev/shm")]) {
        if let Err(error) = fs::metadata(source) {
            let what = format!("error mounting {source:?} to rootfs at {target:?}: stat");
            return Err(Failure::create(&what, &error));
        }
    }
    Ok(())
}

/// The chain of reasons of a failed mount, in one line.
fn mount_failure(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    Failure::create("error mounting", &text)
}

/// Opens the console inside, as the calling process's terminal and standard streams.
pub(crate) fn open_console(console: OwnedFd, mount_it: bool, user: &User) -> Result<(), Failure> {
    use std::os::fd::IntoRawFd;
    step(
        "set up console",
        libcontainer::tty::setup_console(&LinuxSyscall, console.into_raw_fd(), mount_it),
    )?;
    step("set up console", std::os::unix::fs::fchown(io::stdin(), Some(user.uid), None))
}

/// A copy of the pod's `/dev/shm`, taken from the namespace that holds it.
fn shared_memory(namespace: &OwnedFd) -> Result<OwnedFd, Failure> {
    let here = step("open namespace", fs::File::open("/proc/self/ns/mnt"))?;
    step("enter namespace", setns(namespace, CloneFlags::CLONE_NEWNS))?;
    let tree = mounts::detached(Path::new("/"), false);
    step("leave namespace", setns(&here, CloneFlags::CLONE_NEWNS))?;
    step("copy shared memory", tree)
}

/// Copies of the volumes whose mounts travel both ways, taken while we still share the node's.
fn shared_sources(plan: &Plan) -> Result<Vec<(usize, OwnedFd)>, Failure> {
    let wanted = plan
        .mounts
        .iter()
        .enumerate()
        .filter(|(_, m)| m.propagation.as_deref() == Some("Bidirectional"));
    wanted
        .map(|(position, m)| {
            Ok((position, step("copy volume", mounts::detached(&m.source, true))?))
        })
        .collect()
}

fn mount_root(folder: &Path, plan: &Plan) -> Result<PathBuf, Failure> {
    let path = |name: &str| folder.join(name);
    let (root, upper, work) = (path("rootfs"), path("upper"), path("work"));
    for directory in [&root, &upper, &work] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                step("make folder", Err(error))?
            }
            _ => {}
        }
    }
    step(
        "mount root",
        mounts::overlay(&plan.lower, &upper, &work, &root, plan.security.privileged),
    )?;
    Ok(root)
}

/// Takes away what the container must not touch. The calling process is inside it.
fn seal(plan: &Plan, numbers: &[libc::stat]) -> Result<(), Failure> {
    for wanted in &plan.mounts {
        let flag = match wanted.propagation.as_deref() {
            Some("HostToContainer") => MsFlags::MS_SLAVE,
            Some("Bidirectional") => MsFlags::MS_SHARED,
            _ => MsFlags::MS_PRIVATE,
        };
        step("set propagation", mounts::propagate(Path::new(&wanted.target), flag))?;
    }
    for (position, device) in plan.devices.iter().enumerate() {
        let target = Path::new(&device.target);
        step(
            &format!("make device {}", device.target),
            make_device(numbers[position], position, target),
        )?;
    }
    if plan.security.privileged {
        return Ok(());
    }
    seal_devices()?;
    let cgroup = Path::new("/sys/fs/cgroup");
    if cgroup.is_dir() && !plan.host_network {
        step("seal cgroups", mounts::set_attribute(None, cgroup, Attribute::ReadOnly, true))?;
    }
    if !plan.security.unmasked_proc {
        spec::READ_ONLY.iter().try_for_each(|path| seal_path(Path::new(path)))?;
        spec::MASKED.iter().try_for_each(|path| mask_path(Path::new(path)))?;
    }
    if plan.security.read_only_root {
        step("seal root", mounts::set_attribute(None, Path::new("/"), Attribute::ReadOnly, false))?;
    }
    Ok(())
}

/// A device file at `target`, with the node's numbers, owner and mode, but a file of its own:
/// what the container does to it does not reach the node's. (`access` is as in the mode: who is
/// root inside may read and write.)
fn make_device(like: libc::stat, position: usize, target: &Path) -> io::Result<()> {
    use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, mknod};
    let kind = SFlag::from_bits_truncate(like.st_mode) & SFlag::S_IFMT;
    if !matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device node"));
    }
    // Made where device files still work; the name goes, the mount stays.
    let hidden = PathBuf::from(format!("/dev/.device-{position}"));
    let mode = Mode::from_bits_truncate(like.st_mode);
    mknod(&hidden, kind, mode, like.st_rdev)?;
    fchmodat(None, &hidden, mode, FchmodatFlags::FollowSymlink)?;
    std::os::unix::fs::chown(&hidden, Some(like.st_uid), Some(like.st_gid))?;
    mounts::make_target(target, Path::new("/dev/null"))?;
    mount(Some(&hidden), target, NONE, MsFlags::MS_BIND, NONE)?;
    fs::remove_file(hidden)
}

const NONE: Option<&str> = None;

/// Device files work where they are, and nowhere else: each becomes a mount of its own, and the
/// folder a `nodev` one, so that a new node made by the container opens no device.
fn seal_devices() -> Result<(), Failure> {
    for name in ["null", "zero", "full", "tty", "urandom", "random"] {
        let path = Path::new("/dev").join(name);
        step("seal device", mount(Some(&path), &path, NONE, MsFlags::MS_BIND, NONE))?;
    }
    step(
        "seal devices",
        mounts::set_attribute(None, Path::new("/dev"), Attribute::NoDevices, false),
    )
}

fn seal_path(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    step("seal path", mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))?;
    step("seal path", mounts::set_attribute(None, path, Attribute::ReadOnly, true))
}

fn mask_path(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => step(
            "mask path",
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_RDONLY, Some("size=0k")),
        ),
        Ok(_) => step("mask path", mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE)),
    }
}
