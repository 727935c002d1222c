//! Verbs for people: what they may type, and what they are shown.
//!
//! `args` is the one definition that parsing, help, completions and the README's table follow;
//! `instance` says where a cluster's files are; the other files hold one verb each. Verbs that
//! need a room of the server (up, down, demo) are parsed here and run by `stead`.

#![forbid(unsafe_code)]

pub mod args;
pub mod backup;
pub mod controller;
pub mod demo;
mod gather;
pub mod image;
pub mod instance;
pub mod reach;
pub mod rollout;
pub mod status;
pub mod why;

pub use args::{Args, Verb};
pub use instance::Instance;
