//! What the machine is and has, read from /proc, /sys and the data folder's disk.

use std::{fs, path::Path};

use host::runtime::Runtime;
use podsync::node::NodeFacts;

use crate::{config::Config, shared::chain};

/// Reads what does not need the runtime. Missing files count as nothing: a node without firmware
/// tables is a node all the same.
pub(crate) fn machine(config: &Config) -> NodeFacts {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let room = host::volume::room(&config.data).unwrap_or_default();
    let loads = line("/proc/loadavg");
    let pids = loads.split(' ').nth(3).and_then(|part| part.split_once('/'));
    NodeFacts {
        name: config.node.clone(),
        hostname: line("/proc/sys/kernel/hostname"),
        addresses: config.addresses.clone(),
        architecture: architecture().to_owned(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u64::try_from(n.get()).unwrap_or(1)),
        memory_bytes: meminfo(&memory, "MemTotal:"),
        memory_free_bytes: meminfo(&memory, "MemAvailable:"),
        disk_bytes: room.bytes,
        disk_free_bytes: room.bytes_free,
        inodes: room.inodes,
        inodes_free: room.inodes_free,
        pids_max: line("/proc/sys/kernel/pid_max").parse().unwrap_or(0),
        pids: pids.and_then(|(_, all)| all.parse().ok()).unwrap_or(0),
        pods_max: config.pods_max,
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        machine_id: line("/etc/machine-id"),
        system_uuid: line("/sys/class/dmi/id/product_uuid"),
        kernel_version: line("/proc/sys/kernel/osrelease"),
        os_image: os_image(),
        version: config.version.clone(),
        runtime_version: runtime_version(&config.version),
        kubelet_port: config.kubelet_port,
        ..NodeFacts::default()
    }
}

/// Adds the images, and whether the runtime answers.
pub(crate) async fn with_runtime(mut facts: NodeFacts, runtime: &dyn Runtime) -> NodeFacts {
    match runtime.images().await {
        Ok(images) => {
            facts.images = images
                .into_iter()
                .map(|image| {
                    let names = image.digests.into_iter().chain(image.tags).collect();
                    (names, image.size_bytes)
                })
                .collect();
        }
        Err(error) => facts.runtime_error = Some(chain(&error)),
    }
    facts
}

/// Kubernetes' names, which are Go's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn runtime_version(version: &str) -> String {
    let own = version.split_once("+stead.").map_or(version, |(_, own)| own);
    format!("stead://{own}")
}

fn meminfo(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn os_image() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| fs::read_to_string(Path::new(path)).ok())
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{meminfo, runtime_version};

    #[test]
    fn words_are_read() {
        assert_eq!(meminfo("MemTotal:       16 kB\nMemFree: 4 kB\n", "MemTotal:"), 16 * 1024);
        assert_eq!(runtime_version("v1.36.2+stead.0.1.0"), "stead://0.1.0");
    }
}
