//! What upstream fills in where a field is absent, and the zero values its encoding leaves out.

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
mod omit;
mod pod;
pub(crate) mod rbac;
pub(crate) mod scheduling;
mod service;
pub(crate) mod stead;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
mod volume;

pub use authentication::token_request;
