//! Where a cluster's files are, and how it is told from others on the same machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args::Cluster;

/// One cluster of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The folder that holds everything it keeps.
    pub folder: PathBuf,
}

impl Instance {
    /// The cluster that the flags mean.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let default = || Path::new("/var/lib/stead").join(&cluster.name);
        let folder = cluster.data_dir.clone().unwrap_or_else(default);
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { name: cluster.name.clone(), folder }
    }

    /// Eight hexadecimal digits of name and folder: part of every table, link, cgroup and socket
    /// that this cluster makes, so that several on one machine do not meet.
    #[must_use]
    pub fn tag(&self) -> String {
        let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
        let folder = self.folder.to_string_lossy();
        for byte in self.name.bytes().chain([0]).chain(folder.bytes()) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        format!("{:08x}", (sum >> 32) ^ (sum & 0xffff_ffff))
    }

    /// The kubectl context.
    #[must_use]
    pub fn context(&self) -> String {
        format!("stead-{}", self.name)
    }

    /// The kubeconfig of its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The store's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Certificates and keys.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// What the node agent keeps: pods' files, volumes, logs.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        self.folder.join("node")
    }

    /// What keepers and images need: records, root file systems, layers.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("runtime")
    }

    /// The process that serves it; held open and locked while it runs.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.folder.join("stead.pid")
    }

    /// What a detached server prints.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("stead.log")
    }

    /// The kubeconfig's text.
    ///
    /// # Errors
    ///
    /// When there is no such cluster, or it may not be read; names the cure.
    pub fn read_kubeconfig(&self) -> Result<String> {
        let path = self.kubeconfig();
        std::fs::read_to_string(&path).or_else(|error| self.unread(&path, error))
    }

    /// Whether it is there, and ours to look at.
    ///
    /// # Errors
    ///
    /// As [`Self::read_kubeconfig`].
    pub fn look(&self) -> Result<()> {
        let seen = std::fs::read_dir(&self.folder).map(drop);
        seen.or_else(|error| self.unread(&self.folder, error))
    }

    fn unread<T>(&self, path: &Path, error: std::io::Error) -> Result<T> {
        match error.kind() {
            std::io::ErrorKind::NotFound => bail!(
                "there is no cluster `{}` in {}: start it with `stead up`",
                self.name,
                self.folder.display()
            ),
            std::io::ErrorKind::PermissionDenied => {
                bail!("{} belongs to root: run this with sudo", path.display())
            }
            _ => Err(error).with_context(|| format!("could not read {}", path.display())),
        }
    }
}
