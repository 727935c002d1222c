//! The whole check, in the order in which it fails fastest.

use anyhow::Result;

use crate::{
    command::{self, command, finish, on_path},
    images, packages,
};

/// Everything that CI checks; the first step that fails ends it.
pub(crate) fn run() -> Result<()> {
    run_step("packages", packages::install)?;
    run_step("format", || command::run("cargo fmt --all --check"))?;
    run_step("lints", || command::run("cargo clippy --workspace --all-targets -- -D warnings"))?;
    run_step("tests of the crates", || tests("--workspace --exclude stead"))?;
    run_step("release build", || command::run("cargo build --release --package stead"))?;
    run_step("test images", || images::build().map(drop))?;
    run_step("kubectl", packages::require_kubectl)?;
    run_step("end-to-end tests", || tests("--package stead"))?;
    Ok(())
}

/// Runs tests under nextest where it is installed, else under cargo's own runner.
fn tests(selection: &str) -> Result<()> {
    let nextest = on_path("cargo-nextest");
    let runner =
        if nextest { "cargo nextest run --no-fail-fast" } else { "cargo test --no-fail-fast" };
    let line = format!("{runner} {selection}");
    let mut command = command(&line);
    command.env("STEAD_IMAGES", images::folder());
    finish(command, &line)
}

fn run_step(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> {name}");
    step()
}
