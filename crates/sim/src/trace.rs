//! What happened: every commit, every answer, what the kernels ran, and what the storm did.
//!
//! Invariants are judged on it, and two runs of a seed are compared by it, byte for byte.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::clock::WallClock;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Milliseconds of simulated time.
    pub(crate) at_ms: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The store published this.
    Commit { revision: u64, key: Arc<str>, value: Bytes, deleted: bool },
    /// The API server answered a request.
    Answer(Answer),
    /// A kernel did this with a pod.
    Kernel { node: String, namespace: String, name: String, uid: String, did: Did },
    /// The storm, the person or the supervisor did this.
    Said(String),
    /// The person's word: this pod may still run while another has its name.
    Forced { uid: String },
    /// The store does not hold what it published.
    Damage(String),
    /// A thing that should have come about in its time has not.
    Late(String),
    /// From here on nothing is done to the cluster any more.
    Calm,
    /// All is as it should be.
    Converged,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) who: Arc<str>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) code: u16,
    /// The version in the answer: the commit's where it was a write.
    pub(crate) revision: Option<u64>,
    /// A list of the latest state.
    pub(crate) lists: bool,
    /// The latest revision that anyone had been told of when the request was made.
    pub(crate) known: u64,
}

/// What a kernel does with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Did {
    /// A container's program runs.
    Started { container: String, id: String, folders: Vec<String> },
    /// It runs no more.
    Ended { id: String, code: i32 },
    /// The agent asked for its end.
    Stopping { id: String },
    /// Sandbox made, stopped, removed; and whatever else only shows.
    Other(&'static str),
}

/// All of it, in order.
#[derive(Debug)]
pub(crate) struct Trace {
    clock: WallClock,
    entries: Mutex<Vec<Entry>>,
}

impl Trace {
    pub(crate) fn new(clock: WallClock) -> Self {
        Self { clock, entries: Mutex::default() }
    }

    pub(crate) fn note(&self, what: What) {
        let at_ms = self.clock.passed_ms();
        self.entries().push(Entry { at_ms, what });
    }

    pub(crate) fn say(&self, text: String) {
        tracing::debug!("{text}");
        self.note(What::Said(text));
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as text, with the folder of this run called `/sim`.
    pub(crate) fn text(&self, folder: &str) -> String {
        let mut text = String::new();
        for entry in self.entries().iter() {
            if writeln!(text, "{entry}").is_err() {
                break;
            }
        }
        text.replace(folder, "/sim")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} ", self.at_ms)?;
        match &self.what {
            What::Commit { revision, key, value, deleted } => {
                let gone = if *deleted { " gone" } else { "" };
                write!(f, "commit {revision} {key}{gone} {}", String::from_utf8_lossy(value))
            }
            What::Answer(one) => {
                let Answer { who, method, path, code, revision, .. } = one;
                write!(f, "answer {who} {method} {path} {code} {revision:?}")
            }
            What::Kernel { node, namespace, name, uid, did } => {
                write!(f, "kernel {node} {namespace}/{name} {uid} {did:?}")
            }
            What::Said(text) => f.write_str(text),
            What::Forced { uid } => write!(f, "forced {uid}"),
            What::Damage(what) => write!(f, "damage: {what}"),
            What::Late(what) => write!(f, "late: {what}"),
            What::Calm => f.write_str("calm"),
            What::Converged => f.write_str("converged"),
        }
    }
}
