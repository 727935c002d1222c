//! `stead status`: what runs, where, and how much it keeps.

mod cluster;

use std::{fmt::Debug, path::Path};

use anyhow::{Context as _, Result};
use client::{
    endpoint::Endpoint,
    kube::{Api, Resource, api::ListParams},
};
use diagnosis::{Subject, SubjectKind};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use self::cluster::Seen;
use crate::{
    Instance, gather,
    reach::{Reach, Reached},
};

/// Lines of sets that are shown; the others are counted.
const SETS_MAX: usize = 20;
/// Sets that are not ready and of which is asked why: each costs a dozen requests.
const WHYS_MAX: usize = 5;

/// What there is to say about a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The process that serves it, if one does.
    pub pid: Option<u32>,
    /// What `/readyz` answers, if anything.
    pub ready: Option<String>,
    /// Lines of nodes, sets, claims, volumes and quotas; or why they could not be read.
    pub objects: Vec<String>,
    /// Pods whose keepers live.
    pub keepers: usize,
}

/// Asks the server what it holds, and about each set that is not ready why.
pub async fn ask(instance: &Instance, status: &mut Status, now: Timestamp) {
    let Ok(kubeconfig) = instance.read_kubeconfig() else { return };
    let Ok(server) = Endpoint::server(&kubeconfig).await else { return };
    let Ok(ready) = server.get("/readyz").await else { return };
    status.ready = Some(String::from_utf8_lossy(&ready).trim().to_owned());
    let reach = Reach { kubeconfig: Some(instance.kubeconfig()), ..Reach::default() };
    match lines(&reach, now).await {
        Ok(lines) => status.objects = lines,
        Err(error) => status.objects = vec![format!("objects  could not be read: {error:#}")],
    }
}

async fn lines(reach: &Reach, now: Timestamp) -> Result<Vec<String>> {
    let mut reached = reach.connect().await?;
    let seen = Seen {
        nodes: all(&reached).await?,
        pods: all(&reached).await?,
        sets: all(&reached).await?,
        claims: all(&reached).await?,
        volumes: all(&reached).await?,
        quotas: all(&reached).await?,
    };
    let mut lines = seen.nodes();
    let sets = seen.sets();
    for (at, (namespace, name, is_ready, line)) in sets.iter().take(SETS_MAX).enumerate() {
        lines.push(line.clone());
        if *is_ready || at >= WHYS_MAX {
            continue;
        }
        reached.namespace.clone_from(namespace);
        let subject = Subject { kind: SubjectKind::Set, name: name.clone() };
        let why = gather::explain(&reached, &subject, now).await?.map(|why| why.to_string());
        let first = why.as_deref().and_then(|why| why.lines().next());
        lines.extend(first.map(|why| format!("         {why}")));
    }
    if let Some(more) = sets.len().checked_sub(SETS_MAX).filter(|more| *more > 0) {
        lines.push(format!("         and {more} more sets"));
    }
    lines.extend(seen.storage());
    lines.extend(seen.quotas());
    Ok(lines)
}

async fn all<K>(reached: &Reached) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let list = Api::<K>::all(reached.client.clone()).list(&ListParams::default()).await;
    Ok(list.with_context(|| K::plural(&()).into_owned())?.items)
}

/// The whole report.
#[must_use]
pub fn report(instance: &Instance, status: &Status) -> String {
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
    let parts = [
        ("objects", instance.store()),
        ("images", instance.runtime().join("images")),
        ("volumes", instance.node().join("volumes")),
        ("logs", instance.node().join("logs")),
    ]
    .map(|(what, folder)| format!("{what} {}", bytes(size(&folder))));
    let whole = bytes(size(&instance.folder));
    text + &format!("disk     {whole} in all: {}\n", parts.join(", "))
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
