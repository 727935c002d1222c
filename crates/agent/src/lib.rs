//! Runs one node: observe -> podsync -> host; serves the kubelet API.
//!
//! ```text
//!   pods of this node (watch) ─┐                      ┌─▶ host::Runtime (keepers, images)
//!   keepers (pods, wakes) ─────┼─▶ worker a pod ──────┼─▶ volumes, files
//!   probes, hooks, timers ─────┘   podsync::sync      └─▶ status, events, deletion (API)
//! ```
//!
//! Each pod has a worker: it looks, asks [`podsync::sync`], begins what is due, and sleeps until
//! something wakes it. What takes long runs beside it. The agent keeps nothing on disk that it
//! could not find again: keepers tell what runs, and the API what should.

#![forbid(unsafe_code)]

mod blocking;
mod clock;
mod config;
mod facts;
mod firewall;
mod folders;
mod hook;
mod images;
mod node;
mod objects;
mod probe;
mod pull;
mod recorder;
mod run;
pub mod serve;
mod shared;
mod states;
mod volumes;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use config::Config;
pub use run::{Agent, AgentError, Handle};
pub use states::Found;
