//! Which cluster a verb speaks to: any, by kubeconfig; without one, this machine's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use client::kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Instance, args::Cluster};

/// A server that does not take a connection for so long is down.
const CONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Which cluster, and which namespace of it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reach {
    /// Namespace [default: the context's].
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Kubeconfig of the cluster [default: $KUBECONFIG, then this machine's cluster `default`,
    /// then ~/.kube/config].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one].
    #[arg(long)]
    pub context: Option<String>,
    /// Name of a cluster of this machine, instead of a kubeconfig.
    #[arg(long, conflicts_with = "kubeconfig")]
    pub name: Option<String>,
    /// Folder of that cluster's data [default: /var/lib/stead/NAME].
    #[arg(long, value_name = "FOLDER", conflicts_with = "kubeconfig")]
    pub data_dir: Option<PathBuf>,
}

/// A cluster within reach.
#[derive(Clone)]
pub struct Reached {
    /// Speaks to it.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: String,
}

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reached({})", self.namespace)
    }
}

impl Reach {
    /// A client of the cluster that the flags mean.
    ///
    /// # Errors
    ///
    /// When no kubeconfig is there, or it cannot be used; names it.
    pub async fn connect(&self) -> Result<Reached> {
        let (kubeconfig, from) = self.kubeconfig()?;
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.with_context(|| format!("{from} cannot be used"))?;
        config.connect_timeout = Some(CONNECT_MAX);
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = client::https(config).with_context(|| format!("{from} cannot be used"))?;
        Ok(Reached { client, namespace })
    }

    fn kubeconfig(&self) -> Result<(Kubeconfig, String)> {
        if let Some(path) = &self.kubeconfig {
            return read(path);
        }
        if self.name.is_some() || self.data_dir.is_some() {
            return read(&self.own()?);
        }
        let listed = Kubeconfig::from_env().context("$KUBECONFIG cannot be read")?;
        if let Some(listed) = listed {
            return Ok((listed, "$KUBECONFIG".to_owned()));
        }
        match self.own() {
            Ok(path) => read(&path),
            Err(not_here) => {
                let found = Kubeconfig::read().map_err(|error| {
                    not_here.context(format!("neither is there a kubeconfig ({error})"))
                })?;
                Ok((found, "~/.kube/config".to_owned()))
            }
        }
    }

    /// The kubeconfig of a cluster of this machine, if it may be read.
    fn own(&self) -> Result<PathBuf> {
        let name = self.name.clone().unwrap_or_else(|| "default".to_owned());
        let instance = Instance::of(&Cluster { name, data_dir: self.data_dir.clone() });
        instance.read_kubeconfig()?;
        Ok(instance.kubeconfig())
    }
}

fn read(path: &Path) -> Result<(Kubeconfig, String)> {
    let found = Kubeconfig::read_from(path);
    let found = found.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok((found, path.display().to_string()))
}
