//! `stead image import | ls | rm`: archives go to the node's agent over its own port.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Instance, status::bytes};

/// The agent's endpoint for images.
const IMAGES: &str = "/stead/v1/images";

/// Sends each archive to the node; prints the names that it brought.
///
/// # Errors
///
/// The first archive that cannot be read, or that the node refuses; later ones are not sent.
pub async fn import(instance: &Instance, files: &[impl AsRef<Path>]) -> Result<Vec<String>> {
    let node = client::endpoint::Endpoint::node(&instance.read_kubeconfig()?).await?;
    let mut names: Vec<String> = Vec::new();
    for file in files.iter().map(AsRef::as_ref) {
        if !file.exists() {
            bail!("{} is not there", file.display());
        }
        let answer = node
            .upload(IMAGES, file)
            .await
            .with_context(|| format!("{} was not imported", file.display()))?;
        let images: Vec<Value> = serde_json::from_slice(&answer)?;
        for image in &images {
            let tags = image["tags"].as_array().into_iter().flatten();
            for tag in tags.filter_map(Value::as_str) {
                // Two archives may bring one image, which then has the names of both.
                if !names.iter().any(|name| name == tag) {
                    names.push(tag.to_owned());
                }
            }
        }
    }
    Ok(names)
}

/// A table of the images on the node.
///
/// # Errors
///
/// When the node cannot be reached.
pub async fn list(instance: &Instance) -> Result<String> {
    let node = client::endpoint::Endpoint::node(&instance.read_kubeconfig()?).await?;
    let answer = node.get(IMAGES).await?;
    let images: Vec<Value> = serde_json::from_slice(&answer)?;
    let mut rows = vec![("IMAGE".to_owned(), "ID".to_owned(), "SIZE".to_owned())];
    for image in &images {
        let id = image["id"].as_str().unwrap_or_default().trim_start_matches("sha256:");
        let id: String = id.chars().take(12).collect();
        let size = bytes(image["sizeBytes"].as_u64().unwrap_or_default());
        let tags: Vec<&str> =
            image["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for tag in if tags.is_empty() { vec!["<none>"] } else { tags } {
            rows.push((tag.to_owned(), id.clone(), size.clone()));
        }
    }
    let width = rows.iter().map(|(name, _, _)| name.len()).max().unwrap_or_default();
    let lines = rows.iter().map(|(name, id, size)| format!("{name:<width$}   {id:<12}   {size}\n"));
    Ok(lines.collect())
}

/// Forgets images by name.
///
/// # Errors
///
/// The first that is not there, or that a container uses.
pub async fn remove(instance: &Instance, names: &[String]) -> Result<()> {
    let node = client::endpoint::Endpoint::node(&instance.read_kubeconfig()?).await?;
    for name in names {
        node.delete(&format!("{IMAGES}?name={name}"))
            .await
            .with_context(|| format!("{name} was not removed"))?;
    }
    Ok(())
}
