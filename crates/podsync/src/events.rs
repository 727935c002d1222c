//! The sentences of events, as upstream's kubelet says them.

use k8s_openapi::api::core::v1::Pod;

use crate::plan::Event;

/// `web-0_default(uid)`: how the kubelet names a pod in sentences.
#[must_use]
pub fn pod_words(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!(
        "{}_{}({})",
        meta.name.as_deref().unwrap_or(""),
        meta.namespace.as_deref().unwrap_or(""),
        meta.uid.as_deref().unwrap_or("")
    )
}

/// A Normal event about one container.
#[must_use]
pub fn normal(reason: &'static str, field_path: &str, message: String) -> Event {
    Event { kind: "Normal", reason, message, field_path: field_path.to_owned(), once: None }
}

/// A Warning event about one container.
#[must_use]
pub fn warning(reason: &'static str, field_path: &str, message: String) -> Event {
    Event { kind: "Warning", ..normal(reason, field_path, message) }
}

/// The image was there already.
#[must_use]
pub fn present(field_path: &str, image: &str) -> Event {
    let message = format!(
        "Container image \"{image}\" already present on machine and can be accessed by the pod"
    );
    normal("Pulled", field_path, message)
}

/// A pull begins.
#[must_use]
pub fn pulling(field_path: &str, image: &str) -> Event {
    normal("Pulling", field_path, format!("Pulling image \"{image}\""))
}

/// A pull has ended well after `took_ms`, waiting for its turn included in `total_ms`.
#[must_use]
pub fn pulled(field_path: &str, image: &str, took_ms: u64, total_ms: u64, bytes: u64) -> Event {
    let message = format!(
        "Successfully pulled image \"{image}\" in {} ({} including waiting). Image size: {bytes} bytes.",
        go_duration(took_ms),
        go_duration(total_ms)
    );
    normal("Pulled", field_path, message)
}

/// A pull failed.
#[must_use]
pub fn pull_failed(field_path: &str, image: &str, why: &str) -> Event {
    let message = format!("Failed to pull image \"{image}\": {why}");
    warning("Failed", field_path, message)
}

/// The container was made.
#[must_use]
pub fn created(field_path: &str) -> Event {
    normal("Created", field_path, "Container created".to_owned())
}

/// The container runs.
#[must_use]
pub fn started(field_path: &str) -> Event {
    normal("Started", field_path, "Container started".to_owned())
}

/// Milliseconds as Go prints a duration: `1.5s`, `312ms`, `1m2s`, `0s`.
///
/// ```
/// use podsync::events::go_duration;
/// assert_eq!(go_duration(0), "0s");
/// assert_eq!(go_duration(312), "312ms");
/// assert_eq!(go_duration(4522), "4.522s");
/// assert_eq!(go_duration(62_000), "1m2s");
/// assert_eq!(go_duration(300_000), "5m0s");
/// ```
#[must_use]
pub fn go_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, rest) = (ms / 1000 % 60, ms % 1000);
    let mut tail = seconds.to_string();
    if rest > 0 {
        tail = format!("{seconds}.{rest:03}").trim_end_matches('0').to_owned();
    }
    match (hours, minutes) {
        (0, 0) => format!("{tail}s"),
        (0, minutes) => format!("{minutes}m{tail}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{tail}s"),
    }
}
