//! What a pod counts as when nodes are compared: one that asks for nothing is small, not nothing.

use api::requests::{Amounts, of_pod_with};
use k8s_openapi::api::core::v1::{Container, Pod};

/// What upstream assumes of a container that names no cpu, when nodes are compared.
const UNNAMED_CPU_MILLI: i64 = 100;
/// What upstream assumes of a container that names no memory, when nodes are compared.
const UNNAMED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// What the pod asks for, where containers without cpu or memory count as small.
pub(crate) fn of_pod_at_least(pod: &Pod) -> Amounts {
    of_pod_with(pod, |container: &Container| {
        let named = container.resources.as_ref().and_then(|r| r.requests.as_ref());
        let names = |name| named.is_some_and(|named| named.contains_key(name));
        let mut least = Amounts::new();
        if !names("cpu") {
            least.insert("cpu".to_owned(), UNNAMED_CPU_MILLI);
        }
        if !names("memory") {
            least.insert("memory".to_owned(), UNNAMED_MEMORY_BYTES);
        }
        least
    })
}
