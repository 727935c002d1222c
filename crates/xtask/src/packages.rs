//! What the tests need from Debian, installed when it is missing.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{command, finish, on_path, output, run};

/// A program the tests run, and the package it comes in.
const NEEDED: &[(&str, &str)] = &[
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("dig", "dnsutils"),
    ("nginx", "nginx-light"),
    ("docker-registry", "docker-registry"),
    ("cc", "gcc"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Files the tests read that are no programs on PATH.
const FILES: &[(&str, &str)] = &[("/bin/busybox", "busybox-static")];

/// Installs what is missing; asks nothing when nothing is.
pub(crate) fn install() -> Result<()> {
    let sbin = |program: &str| std::path::Path::new("/usr/sbin").join(program).exists();
    let programs = NEEDED.iter().filter(|(program, _)| !on_path(program) && !sbin(program));
    let files = FILES.iter().filter(|(file, _)| !is_static(file));
    let missing: Vec<&str> = programs.chain(files).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    if !on_path("apt-get") {
        bail!("the tests need {}: install them and run again", missing.join(", "));
    }
    run("apt-get update -qq")?;
    let line = format!("apt-get install -y -qq --no-install-recommends {}", missing.join(" "));
    let mut install = command(&line);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    finish(install, &line)
}

/// The stock kubectl is a person's to install: no registry that every test host reaches has it.
pub(crate) fn require_kubectl() -> Result<()> {
    if !on_path("kubectl") {
        bail!(
            "the end-to-end tests need kubectl 1.27 or newer on PATH: see https://kubernetes.io/docs/tasks/tools/"
        );
    }
    let version: Value = serde_json::from_str(&output("kubectl version --client -o json")?)?;
    let minor = version["clientVersion"]["minor"].as_str().unwrap_or_default();
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let minor: u32 = digits.parse().context("kubectl does not say its version")?;
    if minor < 27 {
        bail!(
            "kubectl 1.{minor} is too old for these tests: 1.27 or newer is needed (https://kubernetes.io/docs/tasks/tools/)"
        );
    }
    Ok(())
}

/// A static program has no interpreter: its ELF file does not name a loader.
fn is_static(file: &str) -> bool {
    std::fs::read(file).is_ok_and(|bytes| {
        let needle = b"/ld-linux";
        !bytes.is_empty() && !bytes.windows(needle.len()).any(|window| window == needle)
    })
}
