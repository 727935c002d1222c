//! The kubelet's mind: pure `(&Desired, &Observed, now) -> Plan`.
//!
//! ```text
//!  Desired (the API's pod) ─┐
//!  Observed (keeper, images, volumes, probes, memory) ─┼─▶ sync ─▶ Plan: steps, status, when to look again
//!  now ─────────────────────┘
//! ```
//!
//! It knows no runtime, no file and no clock: the agent maps what it sees to [`Observed`] and
//! carries the steps out. Wording of reasons, messages and events is upstream's (v1.36 kubelet),
//! since people and programs match it.

#![forbid(unsafe_code)]

pub mod admission;
pub mod config;
mod containers;
mod ending;
pub mod env;
pub mod events;
pub mod files;
pub mod images;
mod living;
pub mod node;
pub mod observed;
pub mod plan;
pub mod probe;
pub mod resources;
pub mod restart;
mod status;
mod statuses;
mod sync;
pub mod volumes;

#[cfg(test)]
mod tests;

pub use living::resolve_port;
pub use observed::{Desired, Observed};
pub use plan::{Plan, Step};
pub use status::OWN_CONDITIONS;
pub use sync::sync;
