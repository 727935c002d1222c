//! One folder per kind; each a pure `reconcile(&View) -> Plan`.
//!
//! Nothing here waits, reads a clock, draws a random number or talks to anyone: the crate does
//! not depend on tokio, and `clippy.toml` bans the rest by name.

#![forbid(unsafe_code)]

pub mod endpoints;
pub mod garbage;
pub mod kubedns;
pub mod meta;
pub mod namespaces;
pub mod nodes;
pub mod plan;
pub mod serviceaccounts;
pub mod statefulset;
pub mod volumes;

pub use plan::{Action, Note, Outcome, PatchKind, Plan, Propagation, Target, Verb, Wait};
