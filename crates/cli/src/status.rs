//! `stead status`: what runs, where, and how much it keeps.

use std::path::Path;

use anyhow::Result;

use crate::Instance;

/// What there is to say about a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The process that serves it, if one does.
    pub pid: Option<u32>,
    /// What `/readyz` answers, if anything.
    pub ready: Option<String>,
    /// Lines of nodes and sets, as kubectl shows them.
    pub objects: Vec<String>,
    /// Pods whose keepers live.
    pub keepers: usize,
}

/// Asks the server what it holds; what does not answer is left out, for this only tells a person.
pub async fn ask(kubeconfig: &str, status: &mut Status) {
    let Ok(server) = client::endpoint::Endpoint::server(kubeconfig).await else { return };
    let Ok(ready) = server.get("/readyz").await else { return };
    status.ready = Some(String::from_utf8_lossy(&ready).trim().to_owned());
    for (what, path) in [
        ("nodes", "/api/v1/nodes"),
        ("sets", "/apis/apps/v1/statefulsets"),
        ("claims", "/api/v1/persistentvolumeclaims"),
    ] {
        let Ok(list) = server.get(path).await else { continue };
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap_or_default();
        let names: Vec<&str> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        let shown = names.iter().take(8).copied().collect::<Vec<_>>().join(" ");
        let more = if names.len() > 8 { " …" } else { "" };
        status.objects.push(format!("{what:<8} {} {shown}{more}", names.len()));
    }
}

/// The whole report.
///
/// # Errors
///
/// When the folder's sizes cannot be read.
pub fn report(instance: &Instance, status: &Status) -> Result<String> {
    let mut text = format!("cluster {} in {}\n", instance.name, instance.folder.display());
    match (status.pid, &status.ready) {
        (Some(pid), Some(ready)) => text += &format!("server   process {pid}, {ready}\n"),
        (Some(pid), None) => text += &format!("server   process {pid}, does not answer yet\n"),
        (None, _) => text += "server   not running: `stead up` starts it\n",
    }
    text += &format!("pods     {} kept\n", status.keepers);
    for line in &status.objects {
        text += &format!("{line}\n");
    }
    for (what, folder) in [
        ("objects", instance.store()),
        ("images", instance.runtime().join("images")),
        ("volumes", instance.node().join("volumes")),
        ("logs", instance.node().join("logs")),
    ] {
        text += &format!("{what:<8} {}\n", bytes(size(&folder)));
    }
    Ok(text)
}

/// Bytes as a person reads them.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = count;
    let mut tenths = 0;
    while rest >= 1024 && unit + 1 < UNITS.len() {
        tenths = (rest % 1024) * 10 / 1024;
        rest /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{rest} B") } else { format!("{rest}.{tenths} {}", UNITS[unit]) }
}

/// Bytes below a folder; what cannot be read counts as nothing, for it is only told to a person.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_read_well() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
