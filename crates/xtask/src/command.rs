//! Programs that chores run, and what is said when one fails.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The binary as this profile builds it; `cargo build` puts it under the host's triple.
pub(crate) fn binary(profile: &str) -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    target().join(triple).join(profile).join("stead")
}

/// The release binary.
pub(crate) fn release_binary() -> Result<PathBuf> {
    let path = binary("release");
    if !path.exists() {
        bail!("{} is not there: run cargo build --release first", path.display());
    }
    Ok(path)
}

/// A command in the project's root, its words split at spaces.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let program = if program == "cargo" {
        std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
    } else {
        program.to_owned()
    };
    #[expect(clippy::disallowed_methods, reason = "chores are made of other programs")]
    let mut command = Command::new(program);
    command.args(words).current_dir(root());
    command
}

/// Runs it; its output goes where ours goes.
pub(crate) fn run(line: &str) -> Result<()> {
    finish(command(line), line)
}

/// Runs a prepared command; its output goes where ours goes.
pub(crate) fn finish(mut command: Command, line: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// What it prints.
pub(crate) fn output(line: &str) -> Result<String> {
    let mut command = command(line);
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed no text"))
}

/// Whether a program of this name is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
