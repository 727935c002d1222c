//! Why something does not go on: from a snapshot of the cluster to the root cause and its cure.
//!
//! ```text
//!                          ┌─▶ claim ─▶ class, volume
//!   service ─▶ set ─▶ pod ─┼─▶ node
//!                          └─▶ container ─▶ image, probe, last log lines
//! ```
//!
//! `explain` is pure: whoever gathers the snapshot chooses the cluster, the rights and the clock.
//! What could not be read is part of the snapshot, so that nothing is called missing that was only
//! hidden. The rules are not written twice: the StatefulSet planner says which pod blocks its set,
//! the volume binder says which volume fits, and the scheduler says why no node does.

#![forbid(unsafe_code)]

mod claim;
mod container;
mod explanation;
mod node;
mod placement;
mod pod;
mod policy;
mod refusal;
mod service;
mod set;
mod snapshot;
#[cfg(test)]
mod tests;
mod volume;

pub use explanation::{Cause, Explanation, Link, Reason, State, Subject, SubjectKind, explain};
pub use snapshot::{Log, Part, Snapshot};
