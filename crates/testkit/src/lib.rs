//! Stand-ins for what only a real machine has, for the simulation and for tests of whole nodes.
//!
//! [`Words`] is a container runtime that keeps books and runs nothing: pods and containers begin
//! and end in it as [`host::runtime::Runtime`] promises. How long that takes, what fails and who
//! hears of it is its [`Nature`], which each user brings along.

#![forbid(unsafe_code)]

mod nature;
mod words;

pub use nature::{Event, Nature};
pub use words::Words;
