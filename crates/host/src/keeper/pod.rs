//! What a pod's containers share: network, IPC, host name, shared memory, maybe processes.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use super::record::PodRecord;
use crate::mount as mounts;

/// A keeper holds this file's lock as long as it lives: the kernel lets go of it, whatever kills it.
/// The agent takes it and passes the open file, so that there is no moment without a holder.
pub(crate) const LOCK_FILE: &str = "lock";

/// The pod's `/dev/shm` (containerd's default size).
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

/// Namespaces and the lock, held open.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The network; `None` is the node's.
    pub(crate) net: Option<OwnedFd>,
    /// A mount namespace whose root is the pod's shared memory; `None` is the node's.
    pub(crate) shm: Option<OwnedFd>,
    /// First process of a pid namespace that all containers share.
    pub(crate) first_process: Option<i32>,
    _lock: OwnedFd,
}

fn step<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> io::Result<T> {
    result
        .map_err(|error| io::Error::other(format!("failed to create pod sandbox: {what}: {error}")))
}

/// Makes the pod's namespaces around the calling process.
pub(crate) fn make(folder: &Path, pod: &PodRecord, lock: OwnedFd) -> io::Result<Shared> {
    let config = &pod.config;
    let mut flags = CloneFlags::empty();
    if !config.host_network {
        flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    }
    if !config.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    step("unshare", unshare(flags))?;
    let mut net = None;
    if !config.host_network {
        step("set host name", nix::unistd::sethostname(&config.hostname))?;
        step("bring up loopback", loopback_up())?;
        net = Some(step("open network", fs::File::open("/proc/self/ns/net"))?.into());
    }
    for (name, value) in &config.sysctls {
        // Both spellings are in use: `net.core.somaxconn`, `net/core/somaxconn`.
        let path = Path::new("/proc/sys").join(if name.contains('/') {
            name.clone()
        } else {
            name.replace('.', "/")
        });
        step(&format!("set sysctl {name}"), fs::write(path, value))?;
    }
    let shm = if config.host_ipc {
        None
    } else {
        Some(step("make shared memory", shared_memory(folder))?)
    };
    let own_pids = config.share_processes && !config.host_pid;
    let first_process =
        if own_pids { Some(step("make pid namespace", first_process())?) } else { None };
    Ok(Shared { net, shm, first_process, _lock: lock })
}

/// A mount namespace that holds nothing but a tmpfs: it pins no mount of the node.
fn shared_memory(folder: &Path) -> io::Result<OwnedFd> {
    let none: Option<&str> = None;
    let node = fs::File::open("/proc/self/ns/mnt")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let made = (|| {
        // Opened before the old root goes, and /proc with it.
        let own = fs::File::open("/proc/self/ns/mnt")?;
        mounts::propagate(Path::new("/"), MsFlags::MS_PRIVATE)?;
        let target = folder.join("shm");
        match fs::create_dir(&target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), &target, Some("tmpfs"), flags, Some(SHM_OPTIONS))?;
        std::env::set_current_dir(&target)?;
        nix::unistd::pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        mount(none, "/", none, MsFlags::MS_PRIVATE, none)?;
        Ok(OwnedFd::from(own))
    })();
    setns(&node, CloneFlags::CLONE_NEWNS)?;
    std::env::set_current_dir("/")?;
    made
}

fn loopback_up() -> io::Result<()> {
    // SAFETY: plain system call; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or(0);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the descriptor is open, `request` is a live value of the type that this call takes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Process 1 of the shared pid namespace: reaps what others leave, and ends with the keeper.
fn first_process() -> io::Result<i32> {
    match clone_into(CloneFlags::CLONE_NEWPID)? {
        0 => {
            // SAFETY: asks for a signal at the parent's end; no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
            // SAFETY: closes our copies of the keeper's descriptors; nothing here uses one.
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
            crate::container::launch::reset_signals();
            loop {
                // SAFETY: waits for any child; without one, sleeps until a signal comes.
                unsafe {
                    if libc::waitpid(-1, std::ptr::null_mut(), 0) < 0 {
                        libc::poll(std::ptr::null_mut(), 0, 100);
                    }
                }
            }
        }
        pid => Ok(pid),
    }
}

/// fork(2) with flags of namespaces: 0 in the child, its process id in the parent.
///
/// Call it in a process of one thread only.
pub(crate) fn clone_into(flags: CloneFlags) -> io::Result<i32> {
    let flags = libc::c_long::from(flags.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and a stack this is fork(2); the keeper has one thread, so the
    // child's copy of memory is whole and its locks are free.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(pid).map_err(io::Error::other)
}
