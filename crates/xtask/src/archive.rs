//! Docker archives (as `docker save` writes them) of a single layer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// A layer as it grows.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// A folder that root owns.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        self.0.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        Ok(())
    }

    /// A file with these bytes.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes)?;
        Ok(())
    }

    /// A copy of a file of this machine.
    pub(crate) fn copy(&mut self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.file(to, mode, &bytes)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, to)?;
        Ok(())
    }
}

/// What an image's config says beside its layer.
pub(crate) struct Config<'a> {
    pub(crate) entrypoint: &'a [&'a str],
    pub(crate) command: &'a [&'a str],
    pub(crate) ports: &'a [&'a str],
}

/// Writes the archive; the same input gives the same bytes.
pub(crate) fn write(
    file: &Path,
    names: &[&str],
    layer: Layer,
    config: &Config<'_>,
) -> Result<PathBuf> {
    let layer = layer.0.into_inner()?;
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let ports: serde_json::Map<String, Value> =
        config.ports.iter().map(|port| ((*port).to_owned(), json!({}))).collect();
    let described = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Entrypoint": config.entrypoint, "Cmd": config.command, "ExposedPorts": ports,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    })
    .to_string();
    let config_name = format!("{}.json", sha256(described.as_bytes()));
    let layer_name = format!("{}/layer.tar", sha256(&layer));
    let manifest = json!([{"Config": config_name, "RepoTags": names, "Layers": [layer_name]}]);
    let mut archive = Layer::new();
    archive.file(&config_name, 0o644, described.as_bytes())?;
    archive.file(&layer_name, 0o644, &layer)?;
    archive.file("manifest.json", 0o644, manifest.to_string().as_bytes())?;
    let bytes = archive.0.into_inner()?;
    fs::write(file, bytes).with_context(|| format!("could not write {}", file.display()))?;
    Ok(file.to_owned())
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_767_225_600); // One moment for all, so that archives can be compared.
    header
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
