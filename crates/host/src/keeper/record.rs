//! What a keeper knows, on disk before it says so: survives keeper, agent and machine.

use std::{
    fs, io,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::runtime::{ContainerState, PodConfig};

/// The pod as the agent asked for it: written once, before the keeper starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    pub(crate) config: PodConfig,
    /// Addresses given to it, which live with it.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) created_at: SystemTime,
    /// Of the machine's run in which the keeper was started.
    pub(crate) boot_id: String,
    /// Parent of the containers' control groups, relative.
    pub(crate) cgroup: String,
    /// The keeper's own control group.
    pub(crate) keeper_cgroup: String,
}

/// Its containers: written by the keeper at each change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    pub(crate) containers: Vec<ContainerState>,
}

const POD_FILE: &str = "pod.json";
const STATE_FILE: &str = "state.json";

impl PodRecord {
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(POD_FILE))?)?)
    }

    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        replace(folder, POD_FILE, &serde_json::to_vec(self)?)
    }
}

impl StateRecord {
    /// An absent file is a pod without containers.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(STATE_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        replace(folder, STATE_FILE, &serde_json::to_vec(self)?)
    }
}

/// The folder of container `id` in the pod's.
pub(crate) fn container_folder(pod: &Path, id: &str) -> PathBuf {
    pod.join("containers").join(id)
}

/// Which run of the machine this is.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Writes a file whole or not at all, synced before it takes the old one's place.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut file = fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(fresh, folder.join(name))
}
