//! Runs the controllers and the scheduler: caches -> view -> plan -> API writes.
//!
//! ```text
//!   watches ─▶ Caches ─ keys ─▶ Queue ─▶ view ─▶ reconcile ─▶ carry out ─▶ API server
//!      ▲          (no facts)    one a key   (pure, elsewhere)     │
//!      └──────────────── a key waits until its own writes show ◀──┘
//! ```
//!
//! The manager derives nothing: what a view holds comes straight from caches, and what a plan
//! says is done as it stands. To add a controller, write its [`Controller`] under `controls/`
//! and enter it in `controls::all`.

#![forbid(unsafe_code)]

mod budgets;
mod caches;
mod carry_out;
mod controller;
mod controls;
mod election;
mod names;
mod queue;
mod run;
mod start;

pub use budgets::{Budget, Budgets};
pub use caches::{Caches, Lists, Wakes};
pub use controller::{Controller, Failed};
pub use election::{Election, Elector, Lost};
pub use names::{NoSuchController, STATEFULSET, enabled};
pub use queue::Figures;
pub use start::{CACHES_CLIENT, Dns, Handle, Manager, Options, SCHEDULER_CLIENT, identity};

#[cfg(test)]
mod tests;
