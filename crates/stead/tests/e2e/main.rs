//! A person's view: stock kubectl against a real cluster on this machine. Needs root, kubectl,
//! and the images of `cargo xtask images`; `cargo xtask ci` sees to all three.
//!
//! Clusters share this machine's ports and addresses, so the tests here run one after another,
//! each holding a lock file.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may end where it fails")]

mod behaviours;
mod cluster;
mod controller;
mod demo;
mod disk;
mod pattern;
mod reboot;
mod registry;
mod role;
mod rows;
mod script;
mod storage;
mod survival;
mod transcripts;
mod why;
