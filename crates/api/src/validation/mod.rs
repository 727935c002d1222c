//! What is wrong with an object or a change, in upstream's words.
//!
//! [`metadata`] judges what all kinds share; each kind's function, reached through its entry,
//! judges the rest. Both see objects that are defaulted and prepared.
//!
//! ```text
//!   At       a place, on the stack ──┐
//!   rule(&field, at, &mut report) ───┴──▶ Report ──▶ Vec<Cause>
//! ```

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
mod metadata;
pub(crate) mod rbac;
mod report;
pub(crate) mod scheduling;
mod selector;
pub(crate) mod stead;
pub(crate) mod storage;
mod subresources;
#[cfg(test)]
mod tests;

pub use metadata::{NameRule, metadata, name_rule};
pub use subresources::{binding, delete_options, scale, token_request};
