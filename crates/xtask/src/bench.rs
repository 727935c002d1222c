//! Figures of a release build, in one run: start, pods, sets, the API, memory, size.

use anyhow::{Context, Result};

use crate::command::{command, finish, release_binary};

/// Runs the benchmark program against the release build, with the words after `bench` as its
/// flags; `--help` lists them.
pub(crate) fn run() -> Result<()> {
    let line = "cargo run --release --package stead --example bench --";
    let mut command = command(line);
    command.args(std::env::args_os().skip(2)).env("STEAD", release_binary()?);
    finish(command, line).context("the benchmark did not finish")
}
