//! Everything that a container's first program and later ones need: one file, written by the
//! agent, read by the child that starts them, so that the keeper itself holds none of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    capability,
    user::{self, User},
};
use crate::runtime::{Device, Mount, Security};

/// A container's settings, resolved as far as they can be without its root file system.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Program and arguments, never empty.
    pub(crate) args: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<(String, String)>,
    /// Absolute.
    pub(crate) cwd: String,
    /// Layers, uppermost first.
    pub(crate) lower: Vec<PathBuf>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    pub(crate) tty: bool,
    pub(crate) security: Security,
    /// `User` of the image's config.
    pub(crate) image_user: String,
    pub(crate) oom_score_adj: Option<i32>,
    /// Asks it to end, where the caller names none.
    pub(crate) stop_signal: i32,
    /// Its control group, relative.
    pub(crate) cgroup: String,
    /// Shares the node's IPC objects and `/dev/shm`.
    pub(crate) host_ipc: bool,
    /// Shares the node's network: `/sys` cannot be mounted anew.
    pub(crate) host_network: bool,
}

/// Name of the plan in a container's folder.
pub(crate) const FILE: &str = "plan.json";
/// Name of the resolved user in a container's folder: later programs run as the same one, whatever
/// the container has written into its passwd file since.
const USER_FILE: &str = "user.json";

impl Plan {
    /// Writes it into the container's folder.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(FILE), serde_json::to_vec(self)?)
    }

    /// Reads it from the container's folder.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(FILE))?)?)
    }

    /// What it may do.
    pub(crate) fn capabilities(&self) -> Result<capability::Set, String> {
        let security = &self.security;
        capability::resolve(
            security.privileged,
            &security.add_capabilities,
            &security.drop_capabilities,
        )
    }

    /// Looks the user up in the calling process's root, and remembers it.
    pub(crate) fn first_user(&self, folder: &fs::File) -> Result<User, String> {
        let found = user::resolve_here(&self.security, &self.image_user)?;
        let path = format!("/proc/self/fd/{}/{USER_FILE}", std::os::fd::AsRawFd::as_raw_fd(folder));
        // The folder is outside the container's root; its descriptor was opened before.
        let text = serde_json::to_vec(&found).map_err(|error| error.to_string())?;
        write_at(folder, USER_FILE, &text).map_err(|error| format!("{path}: {error}"))?;
        Ok(found)
    }
}

/// The user that the container's first program got.
pub(crate) fn later_user(folder: &Path) -> io::Result<User> {
    Ok(serde_json::from_slice(&fs::read(folder.join(USER_FILE))?)?)
}

fn write_at(folder: &fs::File, name: &str, bytes: &[u8]) -> io::Result<()> {
    use std::os::fd::{AsRawFd, FromRawFd};

    use nix::{
        fcntl::{OFlag, openat},
        sys::stat::Mode,
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let fd = openat(Some(folder.as_raw_fd()), name, flags, Mode::from_bits_truncate(0o600))?;
    // SAFETY: openat just gave us this descriptor, and nobody else knows it.
    let mut file = unsafe { fs::File::from_raw_fd(fd) };
    io::Write::write_all(&mut file, bytes)
}
