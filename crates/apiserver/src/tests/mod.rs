//! Rows over the whole server, in-process, on a store in memory.

mod answers;
mod backups;
pub(crate) mod house;
mod https;
mod kinds;
mod quotas;
mod reads;
mod sets;
mod watches;
mod writes;
