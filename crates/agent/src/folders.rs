//! A pod's own files on the node: hosts, host name, resolv.conf, termination messages.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod};
use podsync::files::{self, ClusterDns};

use crate::config::Config;

/// Most bytes of a termination message. Source: kubelet v1.36 `MaxContainerTerminationMessageLength`.
const MESSAGE_MAX_BYTES: u64 = 4096;
/// Most bytes taken from the log instead. Source: same, `...LogLength`.
const MESSAGE_LOG_MAX_BYTES: usize = 2048;
/// Most bytes of the log that are read for them: a line may be 16 KiB, and its text counts.
const LOG_READ_MAX_BYTES: u64 = 64 * 1024;
/// Most lines taken from the log instead. Source: same, `...LogLines`.
const MESSAGE_LOG_MAX_LINES: usize = 80;

/// Writes hosts, hostname and resolv.conf into the pod's folder.
pub(crate) fn write_pod_files(pod: &Pod, addresses: &[IpAddr], config: &Config) -> io::Result<()> {
    let uid = pod.metadata.uid.as_deref().unwrap_or("");
    let folder = config.pod_folder(uid);
    fs::create_dir_all(&folder)?;
    let node_hosts = read_or_empty(Path::new("/etc/hosts"))?;
    let node_resolv = node_resolv()?;
    let dns =
        ClusterDns { servers: config.cluster_dns.clone(), domain: config.cluster_domain.clone() };
    let hosts = files::hosts(pod, addresses, &config.cluster_domain, &node_hosts);
    write(&folder.join("etc-hosts"), &hosts)?;
    let hostname = files::kernel_hostname(pod, &config.cluster_domain);
    write(&folder.join("hostname"), &format!("{hostname}\n"))?;
    write(&folder.join("resolv.conf"), &files::resolv_conf(pod, &dns, &node_resolv))
}

/// In place, since containers hold the file itself.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// The node's resolver, or what stands behind systemd's stub, which pods cannot reach.
fn node_resolv() -> io::Result<String> {
    let text = read_or_empty(Path::new("/etc/resolv.conf"))?;
    if text.contains("127.0.0.53") {
        let behind = read_or_empty(Path::new("/run/systemd/resolve/resolv.conf"))?;
        if !behind.is_empty() {
            return Ok(behind);
        }
    }
    Ok(text)
}

fn read_or_empty(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// Where a container's termination message is.
pub(crate) fn termination_file(config: &Config, uid: &str, name: &str, attempt: u32) -> PathBuf {
    config.pod_folder(uid).join("containers").join(name).join(attempt.to_string())
}

/// Makes the empty termination message file: any user of the container may write it.
pub(crate) fn make_termination_file(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, "")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// The end of a file, whose length is a container's to choose; nothing of one that is not there.
fn end_of(file: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = match fs::File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(max_bytes)))?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What an ended container said last.
///
/// Source: kubernetes v1.36 `pkg/kubelet/kuberuntime/kuberuntime_container.go`,
/// `getTerminationMessage`: the end of its file, or why that cannot be read.
pub(crate) fn termination_message(
    pod: &Pod,
    container: Option<&Container>,
    config: &Config,
    (name, attempt): (&str, u32),
    failed: bool,
) -> String {
    let meta = &pod.metadata;
    let uid = meta.uid.as_deref().unwrap_or("");
    let file = termination_file(config, uid, name, attempt);
    let said = match end_of(&file, MESSAGE_MAX_BYTES) {
        Ok(said) => String::from_utf8_lossy(&said).into_owned(),
        Err(error) => {
            return format!("Error on reading termination log {}: {error}", file.display());
        }
    };
    let falls_back = container
        .and_then(|container| container.termination_message_policy.as_deref())
        == Some("FallbackToLogsOnError");
    if !said.is_empty() || !failed || !falls_back {
        return said;
    }
    let namespace = meta.namespace.as_deref().unwrap_or("");
    let pod_name = meta.name.as_deref().unwrap_or("");
    let log = config.log_file(namespace, pod_name, uid, name, attempt);
    match end_of(&log, LOG_READ_MAX_BYTES) {
        Ok(log) => log_tail(&log),
        Err(error) => format!("Error on reading termination message from logs: {error}"),
    }
}

/// The last lines of a log in CRI's format, without times and tags.
fn log_tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .take(MESSAGE_LOG_MAX_LINES)
        .filter_map(|line| line.splitn(4, ' ').nth(3))
        .collect();
    lines.reverse();
    let mut all = lines.join("\n");
    if !all.is_empty() {
        all.push('\n');
    }
    let mut from = all.len().saturating_sub(MESSAGE_LOG_MAX_BYTES);
    while !all.is_char_boundary(from) {
        from += 1;
    }
    all.split_off(from)
}

/// Removes a pod's folder, once nothing is mounted below it.
pub(crate) fn remove_pod_folder(config: &Config, uid: &str) -> io::Result<()> {
    if uid.is_empty() || uid.contains('/') || uid.starts_with('.') {
        return Ok(());
    }
    let folder = config.pod_folder(uid);
    if !folder.exists() {
        return Ok(());
    }
    host::volume::unmount_below(&folder)?;
    // A mount that would not go away leads into someone's data: leave the folder to the next try.
    if host::volume::mounts_below(&folder)?.is_empty() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{end_of, log_tail};

    /// A container may write gigabytes there: only their end is read.
    #[test]
    fn the_end_of_a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        for (text, end) in
            [(None, ""), (Some(""), ""), (Some("abc"), "abc"), (Some("abcdef"), "cdef")]
        {
            text.into_iter().for_each(|text| std::fs::write(&file, text).unwrap());
            assert_eq!(end_of(&file, 4).unwrap(), end.as_bytes(), "{text:?}");
        }
        assert!(end_of(folder.path(), 4).is_err());
    }

    #[test]
    fn the_tail_of_a_log_is_its_text() {
        let log = b"2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two words\n";
        assert_eq!(log_tail(log), "one\ntwo words\n");
    }
}
