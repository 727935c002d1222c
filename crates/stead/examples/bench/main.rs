//! Figures of an optimised build, in one run: start, pods, sets, the API, memory, size.
//!
//! Every cluster here is the real binary (`$STEAD`) in a fresh folder, spoken to over HTTPS as
//! anyone would. The run prints a Markdown table, then JSON with every sample; with `--check` a
//! missed limit fails it. `cargo xtask bench` builds what it needs and calls it, as root.
//!
//! ```text
//!   cluster   the binary, started and ended        pods    one at a time: to Ready, to gone
//!   report    figures, limits, table, JSON         sets    five at a time: in order, updated
//!   usage     memory, CPU and bytes                writes  objects: created, read
//!   fleet     nodes without machines               scale   sets of many pods on them
//! ```

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to a person")]
#![expect(clippy::disallowed_methods, reason = "a measurement is made of programs and clocks")]

mod cluster;
mod fleet;
mod pods;
mod report;
mod scale;
mod sets;
mod usage;
mod writes;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

use cluster::Cluster;
use report::Report;

/// Pods that are created at once.
const BURST: usize = 20;

/// Replicas of each of many sets.
const MANY_REPLICAS: u32 = 10;

/// Measures an optimised build of stead.
#[derive(Debug, Parser)]
struct Flags {
    /// Exit with a failure if a limit is missed.
    #[arg(long)]
    check: bool,
    /// Starts of a cluster in a fresh folder.
    #[arg(long, default_value_t = 7)]
    starts: usize,
    /// Pods that are started and deleted one after another.
    #[arg(long, default_value_t = 50)]
    pods: usize,
    /// Times that a set of five is created and updated.
    #[arg(long, default_value_t = 3)]
    sets: usize,
    /// Times that a set of 1 000 comes up on nodes without machines, and one of 100 in order.
    #[arg(long, default_value_t = 3)]
    scale: usize,
    /// Sets of ten that come up together on nodes without machines.
    #[arg(long, default_value_t = 1000)]
    many: u32,
    /// Only the rows of sets on nodes without machines.
    #[arg(long)]
    scale_only: bool,
    /// Seconds of rest before memory and CPU are read.
    #[arg(long, default_value_t = 10)]
    idle: u64,
    /// Also write the JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also keep what the measured server printed in this file; `STEAD_LOG` says how much it is.
    #[arg(long)]
    log: Option<PathBuf>,
    /// The binary.
    #[arg(long, env = "STEAD")]
    stead: PathBuf,
    /// The binary of the profile `release`, of which only the size is told.
    #[arg(long, env = "STEAD_RELEASE")]
    release: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&flags))?;
    print!("{}", report.table());
    let json = report.json()?;
    println!("\n```json\n{json}\n```");
    if let Some(path) = &flags.json {
        std::fs::write(path, &json).with_context(|| format!("could not write {path:?}"))?;
    }
    let missed = report.missed();
    if flags.check && missed > 0 {
        eprintln!("{missed} limits are missed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(flags: &Flags) -> Result<Report> {
    let mut report = Report::default();
    report.add("binary size", "MB", Some(40.0), vec![usage::file_mb(&flags.stead)?]);
    if let Some(release) = &flags.release {
        let size = usage::file_mb(release)?;
        report.add("binary size, profile release", "MB", Some(40.0), vec![size]);
    }
    if !flags.scale_only {
        starts_and_pods(flags, &mut report).await?;
    }
    if flags.scale > 0 {
        let (cluster, _) = Cluster::start(&flags.stead).await?;
        let measured = at_scale(flags, &cluster, &mut report).await;
        finish(flags, cluster, measured).await?;
    }
    Ok(report)
}

async fn starts_and_pods(flags: &Flags, report: &mut Report) -> Result<()> {
    let mut starts: [Vec<f64>; 3] = Default::default();
    for number in 1..=flags.starts {
        eprintln!("start {number} of {}", flags.starts);
        let (cluster, times) = Cluster::start(&flags.stead).await?;
        for (samples, time) in starts.iter_mut().zip(times) {
            samples.push(time);
        }
        cluster.down().await?;
    }
    let names = ["exec to /readyz", "exec to Node Ready", "exec to first pod Ready"];
    for ((name, samples), limit) in names.into_iter().zip(starts).zip([300.0, 400.0, 600.0]) {
        report.add(name, "ms", Some(limit), samples);
    }
    let (mut cluster, _) = Cluster::start(&flags.stead).await?;
    let measured = on_one_cluster(flags, &mut cluster, report).await;
    finish(flags, cluster, measured).await
}

/// Keeps what the server printed, and ends it.
async fn finish(flags: &Flags, cluster: Cluster, measured: Result<()>) -> Result<()> {
    if let Some(path) = &flags.log {
        std::fs::write(path, cluster.log())?;
    } else if measured.is_err() {
        eprintln!("{}", cluster.log());
    }
    cluster.down().await?;
    measured
}

/// Sets of many pods: how fast they come up, and what a stored pod weighs.
async fn at_scale(flags: &Flags, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let (client, rest) = (&cluster.client, std::time::Duration::from_secs(2));
    let _fleet = fleet::Fleet::open(client).await?;
    let (mut ordered, mut parallel) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for number in 0..flags.scale {
        eprintln!("round {} of {} at scale", number + 1, flags.scale);
        let rounds = [("OrderedReady", 100, &mut ordered), ("Parallel", 1000, &mut parallel)];
        for (policy, replicas, [times, used]) in rounds {
            let before = usage::cpu_ms(cluster.pid())?;
            let name = format!("{}-{number}", policy.to_lowercase());
            times.push(scale::round(client, &name, 1, replicas, policy).await?);
            used.push((usage::cpu_ms(cluster.pid())? - before) / f64::from(replicas));
        }
    }
    let of_server = "the same, CPU time of the server per replica";
    let ([ordered, ordered_cpu], [parallel, parallel_cpu]) = (ordered, parallel);
    report.add("fake nodes: OrderedReady 100, per replica", "ms", Some(5.0), ordered);
    report.add(of_server, "ms", None, ordered_cpu);
    report.add("fake nodes: Parallel 1 000, per replica", "ms", Some(1.0), parallel);
    report.add(of_server, "ms", None, parallel_cpu);
    if flags.many == 0 {
        return Ok(());
    }
    eprintln!("{} sets of {MANY_REPLICAS}", flags.many);
    let before = usage::idle(cluster.pid(), rest).await?.rss_mb;
    let used = usage::cpu_ms(cluster.pid())?;
    let sets = usize::try_from(flags.many)?;
    let many = scale::round(client, "many", sets, MANY_REPLICAS, "Parallel").await?;
    let pods = f64::from(MANY_REPLICAS) * f64::from(flags.many);
    let used = (usage::cpu_ms(cluster.pid())? - used) / pods;
    let after = usage::idle(cluster.pid(), rest).await?.rss_mb;
    let title = format!("fake nodes: {} sets of {MANY_REPLICAS}, per replica", flags.many);
    report.add(&title, "ms", None, vec![many]);
    report.add(of_server, "ms", None, vec![used]);
    report.add(&format!("RSS before these {pods} pods"), "MB", None, vec![before]);
    report.add("RSS after them", "MB", None, vec![after]);
    report.add("RSS per stored pod", "KB", None, vec![(after - before) * 1000.0 / pods]);
    Ok(())
}

async fn on_one_cluster(flags: &Flags, cluster: &mut Cluster, report: &mut Report) -> Result<()> {
    eprintln!("{} seconds of rest", flags.idle);
    let idle = usage::idle(cluster.pid(), std::time::Duration::from_secs(flags.idle)).await?;
    report.add("idle CPU of the process", "% of a core", None, vec![idle.cpu_percent]);
    report.add("idle RSS of the process", "MB", Some(60.0), vec![idle.rss_mb]);
    eprintln!("{BURST} pods at once");
    let burst = pods::side_by_side(&cluster.client, BURST).await?;
    report.add("20 pods at once, to the last Ready", "ms", None, vec![burst]);
    let keepers = usage::keepers_pss_mb(&cluster.data())?;
    report.add("PSS of a pod's keeper, 21 pods", "MB", Some(1.0), keepers);
    pods::remove_all(&cluster.client, BURST).await?;
    // The kernel takes their network namespaces down in its own time.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    eprintln!("{} pods", flags.pods);
    let (ready, gone) = pods::one_by_one(&cluster.client, flags.pods).await?;
    report.add_tail("pod create to Ready", "ms", Some(100.0), ready);
    report.add_tail("pod delete to gone", "ms", Some(100.0), gone);
    eprintln!("{} sets of {}", flags.sets, sets::REPLICAS);
    let (ordered, updated) = sets::rounds(&cluster.client, flags.sets).await?;
    report.add("OrderedReady, per replica", "ms", Some(120.0), ordered);
    report.add("rolling update, per replica", "ms", Some(250.0), updated);
    eprintln!("writes and reads");
    let (created, read) = writes::one_connection(&cluster.client, 500).await?;
    report.add_tail("create of 1 KB, 1 connection", "ms", None, created);
    report.add_tail("GET, 1 connection", "ms", None, read);
    eprintln!("kill -9 and up again");
    report.add("kill -9, exec to /readyz", "ms", None, vec![cluster.restart().await?]);
    Ok(())
}
