//! The whole check, in the order in which it fails fastest.
//!
//! ```text
//!   format ▶ lints ▶ tests ▶ release build ▶ simulation ▶ images ▶ end-to-end tests of the release binary
//! ```
//!
//! Tests are built once, for the whole workspace, and the optimized programs once, together: another
//! selection of packages would unify other features, and build dependencies again.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    command::{self, command, finish, on_path, output, release_binary},
    images, packages,
};

/// The test program that needs a whole machine.
const END_TO_END: &str = "e2e";

/// The binary and the simulation. What the simulation alone asks of a dependency (tokio's clock that
/// can be paused) is in this binary too; nothing else tells it from the one that a person builds.
const RELEASE: &str = "cargo build --release --package stead --package sim";

/// Five hundred clusters in a storm, on one thread each.
const SIMULATION: &str = "--seeds 500";

/// Every wrong planner is caught, by the invariant that its row names. An optimized program takes
/// seconds for what a debug build takes minutes for.
const WRONG_PLANNERS: &str = "--mutants";

/// Everything that CI checks; the first step that fails ends it.
pub(crate) fn run() -> Result<()> {
    run_step("packages", packages::install)?;
    run_step("format", || command::run("cargo fmt --all --check"))?;
    run_step("lints", || command::run("cargo clippy --workspace --all-targets -- -D warnings"))?;
    run_step("tests of the crates", || tests(false))?;
    run_step("release build", || command::run(RELEASE))?;
    run_step("wrong planners", || simulate(WRONG_PLANNERS))?;
    run_step("simulation", || simulate(SIMULATION))?;
    run_step("test images", || images::build().map(drop))?;
    run_step("kubectl", packages::require_kubectl)?;
    run_step("end-to-end tests", || tests(true))?;
    Ok(())
}

fn simulate(words: &str) -> Result<()> {
    let program = release_binary()?.with_file_name("sim");
    command::run(&format!("{} {words}", program.display()))
}

/// Runs the end-to-end tests, or all others.
fn tests(end_to_end: bool) -> Result<()> {
    if !on_path("cargo-nextest") {
        return tests_without_nextest(end_to_end);
    }
    let selection = if end_to_end { "binary(=" } else { "!binary(=" };
    let line = format!("cargo nextest run --no-fail-fast --workspace -E {selection}{END_TO_END})");
    let mut command = command(&line);
    if end_to_end {
        command.env("STEAD", release_binary()?).env("STEAD_IMAGES", images::folder());
    }
    finish(command, &line)
}

/// Builds every test program, and runs those of the selection one after another. All of them run,
/// whatever fails.
fn tests_without_nextest(end_to_end: bool) -> Result<()> {
    let line = "cargo test --workspace --no-run --message-format=json-render-diagnostics";
    let mut failed = Vec::new();
    for message in output(line)?.lines() {
        let message: Value = serde_json::from_str(message).context("cargo prints JSON")?;
        let Some(program) = message["executable"].as_str() else { continue };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if message["profile"]["test"] != true || (name == END_TO_END) != end_to_end {
            continue;
        }
        let folder = message["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
        println!("    {name}: {program}");
        let mut command = command(program);
        if let Some(folder) = folder {
            command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
        }
        if end_to_end {
            command.env("STEAD", release_binary()?).env("STEAD_IMAGES", images::folder());
        }
        if let Err(error) = finish(command, program) {
            failed.push(error.to_string());
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

fn run_step(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> {name}");
    #[expect(clippy::disallowed_methods, reason = "a person wants to know where the time went")]
    let began = std::time::Instant::now();
    step()?;
    println!("    {name}: {} s", began.elapsed().as_secs());
    Ok(())
}
