//! The API as callers see it: kube over HTTPS or in-process; writes by name; ordered caches.
//!
//! ```text
//!   transport ── kube::Client ──┬── Cache::follow   one watch a kind, read by everyone
//!                               └── Writer          one path for every kind, over JSON
//!                                      ├ Written ── Expectation ── Cache::seen
//!                                      └ Recorder        events, counted and never too many
//! ```
//!
//! It knows no controller: what to write, and when, is decided elsewhere.

#![forbid(unsafe_code)]

mod back_off;
mod blind;
mod cache;
pub mod endpoint;
mod go_text;
mod key;
mod recorder;
mod transport;
mod within;
mod writer;

pub use kube;

pub use back_off::BackOff;
pub use blind::trust_anyone;
pub use cache::{AnyCache, Cache};
pub use go_text::GoText;
pub use key::{Concerns, Expectation, Index, Key, Wake, version_of};
pub use recorder::{Recorder, Told};
pub use transport::{https, in_process};
pub use within::within;
pub use writer::{Deletion, Merge, Preconditions, WriteError, Writer, Written};

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

impl Identity {
    /// A controller's own service account in `kube-system`, with the groups a token would give.
    #[must_use]
    pub fn service_account(name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:kube-system:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                "system:serviceaccounts:kube-system".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..Self::default()
        }
    }

    /// A component that upstream knows by a client certificate: `system:kube-scheduler` ….
    #[must_use]
    pub fn component(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            ..Self::default()
        }
    }

    /// A node's agent: `system:node:NAME` in `system:nodes`.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            user: format!("system:node:{name}"),
            groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
            ..Self::default()
        }
    }
}
