//! Figures of the binary as it is given away, in one run: start, pods, sets, the API, memory, size.

use anyhow::{Context, Result};

use crate::command::{self, binary, command, finish};

/// Builds with the profile `dist`, and runs the benchmark program against what came of it, with
/// the words after `bench` as its flags; `--help` lists them. The size of a release binary is told
/// beside, if one was built.
pub(crate) fn run() -> Result<()> {
    command::run("cargo build --profile dist --package stead --bin stead --example bench")?;
    let line = "cargo run --profile dist --package stead --example bench --";
    let mut command = command(line);
    command.args(std::env::args_os().skip(2)).env("STEAD", binary("dist"));
    let release = binary("release");
    if release.exists() {
        command.env("STEAD_RELEASE", release);
    }
    finish(command, line).context("the benchmark did not finish")
}
