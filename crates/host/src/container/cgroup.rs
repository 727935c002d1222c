//! Control groups on every kind of host: v2, v1, and v1 with a bare v2 tree beside it (hybrid).
//!
//! A group is one relative path, made in every hierarchy; limits go where their controller is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::runtime::{Resources, Usage};

/// How often a killed group's processes are looked at before giving up; each round kills again.
const KILL_ROUNDS_MAX: u32 = 100;

/// The hierarchies of this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchies {
    /// Mount point of the v2 tree, if there is one.
    v2: Option<PathBuf>,
    /// Controllers and mount points of v1.
    v1: Vec<(Vec<String>, PathBuf)>,
}

/// A file system of the host that may be a hierarchy: one line of `mountinfo`.
fn mounted(line: &str) -> Option<(PathBuf, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut rest = after.split(' ');
    let (kind, _source, options) = (rest.next()?, rest.next()?, rest.next()?);
    Some((PathBuf::from(point), kind, options))
}

impl Hierarchies {
    /// Reads them from this process's mounts.
    pub(crate) fn discover() -> io::Result<Self> {
        Ok(Self::from_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn from_mountinfo(text: &str) -> Self {
        const KNOWN: [&str; 11] = [
            "cpu",
            "cpuacct",
            "cpuset",
            "memory",
            "devices",
            "freezer",
            "blkio",
            "pids",
            "net_cls",
            "net_prio",
            "perf_event",
        ];
        let mut found = Self::default();
        for (point, kind, options) in text.lines().filter_map(mounted) {
            if !point.starts_with("/sys/fs/cgroup") {
                continue;
            }
            if kind == "cgroup2" && found.v2.is_none() {
                found.v2 = Some(point);
            } else if kind == "cgroup" {
                let here: Vec<_> = options
                    .split(',')
                    .filter(|o| KNOWN.contains(o))
                    .map(ToOwned::to_owned)
                    .collect();
                if !here.is_empty() && !found.v1.iter().any(|(known, _)| *known == here) {
                    found.v1.push((here, point));
                }
            }
        }
        found
    }

    /// Whether limits on `controller` can be set here.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.v1_mount(controller).is_some()
            || self.v2_controllers().iter().any(|known| known == controller)
    }

    /// Whether there is any hierarchy.
    pub(crate) fn any(&self) -> bool {
        self.v2.is_some() || !self.v1.is_empty()
    }

    fn v2_controllers(&self) -> Vec<String> {
        let text = self
            .v2
            .as_ref()
            .and_then(|mount| fs::read_to_string(mount.join("cgroup.controllers")).ok());
        text.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect()
    }

    fn v1_mount(&self, controller: &str) -> Option<&Path> {
        let has = |known: &&(Vec<String>, PathBuf)| known.0.iter().any(|name| name == controller);
        self.v1.iter().find(has).map(|(_, mount)| mount.as_path())
    }

    fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.v2.iter().map(PathBuf::as_path).chain(self.v1.iter().map(|(_, mount)| mount.as_path()))
    }

    /// Makes the group and its parents everywhere, ready to be joined.
    pub(crate) fn create(&self, group: &str) -> io::Result<()> {
        for (controllers, mount) in &self.v1 {
            let cpuset = controllers.iter().any(|name| name == "cpuset");
            descend(
                mount,
                group,
                |parent, child| {
                    if cpuset { inherit_cpuset(parent, child) } else { Ok(()) }
                },
            )?;
        }
        if let Some(mount) = &self.v2 {
            descend(mount, group, |parent, _| {
                enable_controllers(parent);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Moves the calling process (single-threaded) into the group.
    pub(crate) fn join(&self, group: &str) -> io::Result<()> {
        for mount in self.mounts() {
            fs::write(mount.join(group).join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Sets the limits that are given. Without a controller there is none, and no error.
    ///
    /// Sources: runc's `cgroups/fs` and `fs2`; the conversion of shares to weight is kubelet's.
    pub(crate) fn limit(&self, group: &str, wanted: &Resources) -> io::Result<()> {
        let set = |controller: &str, file: &str, value: String| match self.v1_mount(controller) {
            Some(mount) => write_existing(&mount.join(group).join(file), &value),
            None => Ok(()),
        };
        if let Some(shares) = wanted.cpu_shares {
            set("cpu", "cpu.shares", shares.to_string())?;
        }
        if let Some(period) = wanted.cpu_period_us {
            set("cpu", "cpu.cfs_period_us", period.to_string())?;
        }
        if let Some(quota) = wanted.cpu_quota_us {
            set("cpu", "cpu.cfs_quota_us", quota.to_string())?;
        }
        if let Some(bytes) = wanted.memory_max_bytes {
            self.limit_memory_v1(group, bytes)?;
        }
        if let Some(most) = wanted.pids_max {
            set("pids", "pids.max", limit_text(most))?;
        }
        match &self.v2 {
            Some(mount) => limit_v2(&mount.join(group), wanted),
            None => Ok(()),
        }
    }

    /// Memory and swap together may be raised only in one order and lowered only in the other.
    fn limit_memory_v1(&self, group: &str, bytes: i64) -> io::Result<()> {
        let Some(mount) = self.v1_mount("memory") else { return Ok(()) };
        let directory = mount.join(group);
        let (memory, both) = (
            directory.join("memory.limit_in_bytes"),
            directory.join("memory.memsw.limit_in_bytes"),
        );
        let value = bytes.to_string();
        if fs::write(&memory, &value).is_err() {
            write_existing(&both, &value)?;
            return fs::write(&memory, &value);
        }
        write_existing(&both, &value)
    }

    /// How often the kernel killed in this group for its memory.
    pub(crate) fn oom_kills(&self, group: &str) -> u64 {
        let files = [
            self.v1_mount("memory").map(|mount| mount.join(group).join("memory.oom_control")),
            self.v2.as_ref().map(|mount| mount.join(group).join("memory.events")),
        ];
        files.into_iter().flatten().map(|file| keyed(&file, "oom_kill")).sum()
    }

    /// What the group uses now; zero where nothing counts it.
    pub(crate) fn usage(&self, group: &str) -> Usage {
        let v2 = self.v2.as_ref().map(|mount| mount.join(group)).unwrap_or_default();
        let v1 = |controller: &str| self.v1_mount(controller).map(|mount| mount.join(group));
        let cpu_ns = match v1("cpuacct") {
            Some(directory) => number_in(&directory.join("cpuacct.usage")),
            None => keyed(&v2.join("cpu.stat"), "usage_usec").saturating_mul(1000),
        };
        let working_set_bytes = match v1("memory") {
            Some(directory) => number_in(&directory.join("memory.usage_in_bytes"))
                .saturating_sub(keyed(&directory.join("memory.stat"), "total_inactive_file")),
            None => number_in(&v2.join("memory.current"))
                .saturating_sub(keyed(&v2.join("memory.stat"), "inactive_file")),
        };
        let pids = v1("pids").map_or_else(
            || number_in(&v2.join("pids.current")),
            |d| number_in(&d.join("pids.current")),
        );
        Usage { container_id: String::new(), cpu_ns, working_set_bytes, pids }
    }

    /// The processes in the group and below, by their ids here.
    pub(crate) fn processes(&self, group: &str) -> Vec<i32> {
        let mut found = Vec::new();
        for mount in self.mounts() {
            collect_processes(&mount.join(group), &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|pid| *pid > 0);
        found
    }

    /// Kills everything in the group and below; true when nothing is left.
    ///
    /// Returns at once: processes that die slowly are still listed, and the caller looks again.
    pub(crate) fn kill(&self, group: &str) -> bool {
        if let Some(mount) = &self.v2 {
            // Linux 5.14; it leaves no fork a way out. Where it is missing the loop below does.
            if fs::write(mount.join(group).join("cgroup.kill"), "1").is_err() {
                tracing::trace!(group, "no cgroup.kill");
            }
        }
        for _ in 0..KILL_ROUNDS_MAX {
            let left = self.processes(group);
            if left.is_empty() {
                return true;
            }
            let mut alive = false;
            for pid in left {
                // A zombie stays listed until it is reaped, and is no process any more.
                if !is_zombie(pid) {
                    alive = true;
                    crate::keeper::kill(pid, libc::SIGKILL);
                }
            }
            if !alive {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    /// Removes the group and what is below it, everywhere. A group that is not there is no error.
    pub(crate) fn remove(&self, group: &str) -> io::Result<()> {
        self.mounts().try_for_each(|mount| remove_tree(&mount.join(group)))
    }
}

fn limit_text(value: i64) -> String {
    if value <= 0 { "max".to_owned() } else { value.to_string() }
}

fn limit_v2(directory: &Path, wanted: &Resources) -> io::Result<()> {
    if let Some(shares) = wanted.cpu_shares {
        let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        write_existing(&directory.join("cpu.weight"), &weight.to_string())?;
    }
    if let Some(quota) = wanted.cpu_quota_us {
        let value = format!("{} {}", limit_text(quota), wanted.cpu_period_us.unwrap_or(100_000));
        write_existing(&directory.join("cpu.max"), &value)?;
    }
    if let Some(bytes) = wanted.memory_max_bytes {
        write_existing(&directory.join("memory.max"), &limit_text(bytes))?;
        write_existing(&directory.join("memory.swap.max"), "0")?;
    }
    match wanted.pids_max {
        Some(most) => write_existing(&directory.join("pids.max"), &limit_text(most)),
        None => Ok(()),
    }
}

/// Writes a file that the kernel made; one that is not there has no controller.
fn write_existing(file: &Path, value: &str) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(file) {
        Ok(mut open) => io::Write::write_all(&mut open, value.as_bytes()).map_err(|error| {
            io::Error::new(error.kind(), format!("{}={value}: {error}", file.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn descend(
    mount: &Path,
    group: &str,
    mut step: impl FnMut(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut parent = mount.to_path_buf();
    for part in group.split('/').filter(|part| !part.is_empty()) {
        let child = parent.join(part);
        match fs::create_dir(&child) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => step(&parent, &child)?,
        }
        parent = child;
    }
    Ok(())
}

/// A fresh v1 cpuset has no processors and no memory, and nothing can join it.
fn inherit_cpuset(parent: &Path, child: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(child.join(file))?.trim().is_empty() {
            fs::write(child.join(file), fs::read_to_string(parent.join(file))?)?;
        }
    }
    Ok(())
}

/// Gives the children of `parent` every controller that it has. Each is its own attempt: one that
/// cannot be enabled (a controller busy in v1, a group with processes) is done without.
fn enable_controllers(parent: &Path) {
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in available.split_whitespace() {
        let wanted = ["cpu", "cpuset", "memory", "pids", "io"].contains(&controller);
        if wanted
            && !enabled.split_whitespace().any(|known| known == controller)
            && let Err(error) =
                fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))
        {
            tracing::debug!(controller, %error, "controller stays off");
        }
    }
}

fn number_in(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn keyed(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn collect_processes(directory: &Path, found: &mut Vec<i32>) {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(own.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_processes(&entry.path(), found);
        }
    }
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn hybrid_hosts() {
        let text = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                    33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        expect![[r#"Hierarchies { v2: Some("/sys/fs/cgroup/unified"), v1: [(["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct"), (["memory"], "/sys/fs/cgroup/memory")] }"#]]
            .assert_eq(&format!("{:?}", Hierarchies::from_mountinfo(text)));
    }

    #[test]
    fn v2_limits() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["cpu.weight", "cpu.max", "memory.max", "pids.max"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let wanted = Resources {
            cpu_shares: Some(1024),
            cpu_quota_us: Some(50_000),
            memory_max_bytes: Some(1 << 20),
            pids_max: Some(-1),
            ..Resources::default()
        };
        limit_v2(dir.path(), &wanted).unwrap();
        let read = |file| fs::read_to_string(dir.path().join(file)).unwrap();
        expect!["39|50000 100000|1048576|max"].assert_eq(
            &[read("cpu.weight"), read("cpu.max"), read("memory.max"), read("pids.max")].join("|"),
        );
    }
}
