//! Figures of a release build, in one run: start, pods, memory.

use anyhow::{Context, Result};

use crate::command::{command, finish, release_binary};

/// Runs the benchmark program of the binary's own tests against the release build.
pub(crate) fn run() -> Result<()> {
    let binary = release_binary()?;
    let line = "cargo run --release --package stead --example bench";
    let mut command = command(line);
    command.env("STEAD", binary);
    finish(command, line).context("the benchmark did not finish")
}
