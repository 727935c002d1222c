//! Chores in Rust: `cargo xtask ci | images | bench | sim`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a chore speaks to the person who runs it")]

mod archive;
mod bench;
mod ci;
mod command;
mod images;
mod packages;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask CHORE
  ci       everything that CI checks: format, lints, tests, the images, the end-to-end tests
  images   builds the test images from Debian packages into target/images
  bench    measures a release build and prints a table and JSON (as root; `bench --help`)
  sim      simulates clusters: `sim --seeds N [--seed S] [--trace FILE]`";

fn main() -> Result<()> {
    let chore = std::env::args().nth(1).unwrap_or_default();
    match chore.as_str() {
        "ci" => ci::run(),
        "images" => images::build().map(|files| {
            for file in files {
                println!("{}", file.display());
            }
        }),
        "bench" => bench::run(),
        "sim" => sim(std::env::args().skip(2)),
        _ => bail!("{USAGE}"),
    }
}

/// Runs the simulation as an optimized program: a debug build is ten times slower.
fn sim(words: impl Iterator<Item = String>) -> Result<()> {
    let line = "cargo run --quiet --release --package sim --";
    let mut command = command::command(line);
    command.args(words);
    command::finish(command, line)
}
