//! What a `Warning` header says about an object.

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
mod pod;
pub(crate) mod rbac;
pub(crate) mod scheduling;
pub(crate) mod stead;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
