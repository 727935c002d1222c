//! `stead backup FILE` and `stead restore FILE`, against a cluster that runs.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::Instance;

/// The API server's endpoint.
const BACKUP: &str = "/stead/v1/backup";

/// Writes what the API holds at one moment to `file`; returns its size.
///
/// # Errors
///
/// When the file exists or cannot be written, or the cluster does not answer.
pub async fn backup(instance: &Instance, file: &Path) -> Result<u64> {
    if file.exists() {
        bail!("{} exists: choose another name, or remove it first", file.display());
    }
    let server = client::endpoint::Endpoint::server(&instance.read_kubeconfig()?).await?;
    let size = server
        .download(BACKUP, file)
        .await
        .with_context(|| format!("{} was not written", file.display()))?;
    Ok(size)
}

/// Makes the API hold what `file` holds.
///
/// # Errors
///
/// When the file is no whole backup, or the cluster does not answer; nothing is changed then.
pub async fn restore(instance: &Instance, file: &Path) -> Result<String> {
    let server = client::endpoint::Endpoint::server(&instance.read_kubeconfig()?).await?;
    let answer = server
        .upload(BACKUP, file)
        .await
        .with_context(|| format!("{} was not restored", file.display()))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
