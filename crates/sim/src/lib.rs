//! The same house in a storm: a whole cluster on one thread from one seed.
//!
//! ```text
//!   seed ─▶ chance ─┬─▶ storm: deaths, cuts, clocks, the person ─┐
//!                   └─▶ wire, disk, kernels: requests, watches ──┼─▶ trace ─▶ judge ─▶ violations
//!   API server, store, manager, scheduler, agents (the real ones)┘
//! ```
//!
//! Time is tokio's, paused: it passes when nothing else is to be done. The disk is a journal in
//! memory, kernels exist only in words, and requests go through a wire on which everything may go
//! wrong. One seed replays everything: two runs leave the same trace, byte for byte.

#![forbid(unsafe_code)]

mod chance;
mod clock;
mod faults;
mod house;
mod judge;
mod kernel;
mod mutants;
mod person;
mod run;
mod storm;
#[cfg(test)]
mod tests;
mod trace;
mod wire;
mod wish;
mod world;

pub use faults::Tally;
pub use house::Ground;
pub use judge::{Invariant, Violation};
pub use mutants::{MUTANTS, Mutant};
pub use run::{CONVERGES_WITHIN_S, Outcome, Script, Weather, ground, simulate};
