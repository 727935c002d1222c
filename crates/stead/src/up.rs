//! `stead up`: a cluster in one process, in the foreground or detached.

use std::{
    ffi::OsString,
    fs::File,
    io::{IsTerminal as _, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use cli::{Instance, args::Up};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    down::{self, Before},
    house::House,
    seat,
};

/// Not logged unless `STEAD_LOG` asks for it: a registry that is not trusted is told in the events
/// of the pods that wait for it.
const QUIET: &str = "rustls_platform_verifier=off";
/// How long a detached server may take until it answers.
const DETACHED_MAX: Duration = Duration::from_secs(60);

/// Runs the cluster until a signal; its pods stay.
pub(crate) async fn foreground(flags: &Up) -> Result<()> {
    log("warn");
    check(flags)?;
    let instance = Instance::of(&flags.cluster);
    let before = Before::of(&instance);
    let seat = seat::take(&instance)?;
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let house = match House::open(&instance, flags).await {
        Ok(house) => house,
        Err(error) => return Err(undone(error, down::undo(&instance, &before).await)),
    };
    println!(
        "stead is up: export KUBECONFIG={} (context {})",
        instance.kubeconfig().display(),
        instance.context()
    );
    let asked = async {
        loop {
            tokio::select! {
                _ = term.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => tracing::info!("the terminal is gone; stead goes on"),
            }
        }
    };
    let broken = house.run(asked).await;
    drop(seat);
    broken?;
    let name = &instance.name;
    println!(
        "stead has ended; its pods run on. `stead up{}` goes on, `stead down{0}` stops them.",
        if name == "default" { String::new() } else { format!(" --name {name}") }
    );
    Ok(())
}

/// The error of a start, and what could not be removed after it.
fn undone(error: anyhow::Error, undo: Result<()>) -> anyhow::Error {
    match undo {
        Ok(()) => error,
        Err(left) => {
            anyhow::anyhow!("{error:#} (and what it had made could not be removed: {left:#})")
        }
    }
}

/// Starts the server as a process of its own and waits until it answers.
pub(crate) fn detached(flags: &Up) -> Result<()> {
    check(flags)?;
    let args: Vec<OsString> =
        std::env::args_os().skip(1).filter(|word| word != "--detach").collect();
    println!("{}", start(&Instance::of(&flags.cluster), &args)?);
    Ok(())
}

/// Starts `stead` with these words, which are those of `stead up`, as a process of its own; gives
/// the line that it prints when it answers.
///
/// # Errors
///
/// What it said when it ended.
#[expect(clippy::disallowed_methods, reason = "a person waits here, by the clock")]
pub(crate) fn start(instance: &Instance, args: &[OsString]) -> Result<String> {
    let before = Before::of(instance);
    drop(seat::take(instance)?);
    let log = instance.log();
    let seen = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    let mut server = host::daemon::start(args, &log).context("the server could not be started")?;
    let started = Instant::now();
    loop {
        // Asked first: what it printed before its end is then read.
        let ended = server.status()?.is_some();
        let printed = printed_since(&log, seen)?;
        if let Some(line) = printed.lines().find(|line| line.starts_with("stead is up")) {
            return Ok(line.to_owned());
        }
        if ended {
            let why = printed.lines().filter_map(|line| line.strip_prefix("stead: ")).next_back();
            let Some(why) = why else { bail!("it ended: see {}", log.display()) };
            return Err(undone(anyhow::anyhow!("{why}"), before.restore(instance)));
        }
        let left = DETACHED_MAX.saturating_sub(started.elapsed());
        if left.is_zero() {
            bail!("it does not answer yet: see {}", log.display());
        }
        server.news(left).context("the server could not be waited for")?;
    }
}

fn printed_since(log: &Path, seen: u64) -> Result<String> {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(seen))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().with_context(|| format!("could not read {}", log.display()))
}

/// What can be known to fail before anything is made.
fn check(flags: &Up) -> Result<()> {
    if let Some(missing) = host::preflight().first() {
        bail!("{missing}");
    }
    let (pods, services) = (flags.pod_cidr, flags.service_cidr);
    if pods.overlaps(services) {
        bail!("--pod-cidr {pods} and --service-cidr {services} overlap: choose another for one");
    }
    if !(12..=24).contains(&services.prefix) {
        bail!("--service-cidr {services}: the prefix must be from /12 to /24");
    }
    if let Some(dns) = flags.dns_ip.filter(|dns| !services.contains(*dns)) {
        bail!("--dns-ip {dns} is not in --service-cidr {services}");
    }
    manager::enabled(&flags.controllers)?;
    if flags.port == flags.kubelet_port {
        bail!("--port and --kubelet-port are both {}: choose another for one", flags.port);
    }
    Ok(())
}

/// What is of this level or worse, or what `STEAD_LOG` says, on standard error.
pub(crate) fn log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STEAD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{level},{QUIET}")));
    let ansi = std::io::stderr().is_terminal();
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi);
    format.with_writer(std::io::stderr).init();
}
