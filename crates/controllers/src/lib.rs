//! One folder per kind; each a pure `reconcile(&View) -> Plan`.
//!
//! Nothing here waits, reads a clock, draws a random number or talks to anyone: the crate does
//! not depend on tokio, and `clippy.toml` bans the rest by name.

#![forbid(unsafe_code)]

pub mod endpoints;
pub mod garbage;
pub mod meta;
pub mod namespaces;
pub mod plan;
pub mod serviceaccounts;
pub mod statefulset;

pub use plan::{Action, Note, Outcome, PatchKind, Plan, Propagation, Target, Verb, Wait};
