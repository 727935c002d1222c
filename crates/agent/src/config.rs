//! What the agent is told when it begins.

use std::{net::IpAddr, path::PathBuf};

/// One node's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the Node object.
    pub node: String,
    /// First the one that `status.hostIP` shows and that the API server dials.
    pub addresses: Vec<IpAddr>,
    /// Port of the kubelet API.
    pub kubelet_port: u16,
    /// Folder of pods' volumes and files.
    pub data: PathBuf,
    /// Folder of containers' logs: `<logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log`.
    pub logs: PathBuf,
    /// Name servers of the cluster.
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// `v1.36.2+stead.X.Y.Z`.
    pub version: String,
    /// Most pods on this node.
    pub pods_max: u64,
    /// Labels that the node is to have besides those it finds out.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Config {
    /// Where a pod's files and volumes are.
    #[must_use]
    pub fn pod_folder(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }

    /// Where a pod's logs are.
    #[must_use]
    pub fn log_folder(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs.join(format!("{namespace}_{name}_{uid}"))
    }

    /// One container's log file.
    #[must_use]
    pub fn log_file(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        container: &str,
        attempt: u32,
    ) -> PathBuf {
        self.log_folder(namespace, name, uid).join(container).join(format!("{attempt}.log"))
    }
}
