//! The processes of containers as the kernel has them, whoever looks after them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A container's first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    container: String,
    pid: u32,
    /// In ticks since boot: tells one process of a number from the next.
    started: String,
}

/// The processes of all containers, by their pod's uid.
pub(crate) fn running() -> BTreeMap<String, Vec<Process>> {
    let mut found: BTreeMap<String, Vec<Process>> = BTreeMap::new();
    for pid in pids() {
        // A process may end while it is looked at.
        let folder = PathBuf::from("/proc").join(pid.to_string());
        let Ok(groups) = fs::read_to_string(folder.join("cgroup")) else { continue };
        let Some((uid, container)) = groups.lines().find_map(place) else { continue };
        let Ok(stat) = fs::read_to_string(folder.join("stat")) else { continue };
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let is_keepers = words.split(|byte| *byte == 0).nth(1) == Some(b"keeper".as_slice());
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = after_name.split_whitespace();
        // A keeper's child is no container before it has become its program.
        if is_keepers || fields.next() == Some("Z") {
            continue;
        }
        let started = fields.nth(18).unwrap_or_default().to_owned();
        found.entry(uid).or_default().push(Process { container, pid, started });
    }
    found.values_mut().for_each(|all| all.sort_by_key(|process| process.pid));
    found
}

/// All processes whose control groups have this word in their path.
pub(crate) fn processes_of(group: &str) -> Vec<u32> {
    let is_in = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(group))
    };
    pids().filter(is_in).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
}

/// Pod uid and container id out of a line such as `3:pids:/stead-0a1b2c3d/burstable/podUID/ID`.
fn place(line: &str) -> Option<(String, String)> {
    let path = line.splitn(3, ':').nth(2)?;
    let (pod, container) = path.rsplit_once('/')?;
    let uid = pod.rsplit('/').next()?.strip_prefix("pod")?;
    (path.starts_with("/stead-") && container.len() == 64)
        .then(|| (uid.to_owned(), container.to_owned()))
}

/// Every file of this name below a folder.
pub(crate) fn files_named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Folders of pods come and go.
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|own| own == name) {
            found.push(path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_named(&path, name));
        }
    }
    found
}
