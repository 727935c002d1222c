//! The API as callers see it: kube over HTTPS or in-process; caches.

#![forbid(unsafe_code)]

pub use kube;

/// Who calls in-process: a request extension, which no socket can set.
///
/// It stands in for authentication only; authorization, admission and limits follow as for
/// anyone else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// `system:serviceaccount:kube-system:statefulset-controller`, `system:node:NAME` …
    pub user: String,
    /// `system:authenticated` and the like.
    pub groups: Vec<String>,
    /// Uid of the service account, if known.
    pub uid: String,
    /// Whatever else authentication learned.
    pub extra: Vec<(String, Vec<String>)>,
}
