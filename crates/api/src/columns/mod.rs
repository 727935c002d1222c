//! The columns of `kubectl get` and their cells.

pub(crate) mod apps;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod coordination;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod events;
pub(crate) mod rbac;
pub(crate) mod scheduling;
pub(crate) mod storage;
