//! Memory, CPU time and bytes, as the kernel counts them.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

const MB: f64 = 1_000_000.0;
/// The kernel's clock ticks a second in `/proc`; 100 on every Linux that runs containers.
const TICKS_PER_S: f64 = 100.0;

/// A process at rest.
#[derive(Debug)]
pub(crate) struct Idle {
    /// CPU time of wall time, percent of one core.
    pub(crate) cpu_percent: f64,
    /// Resident memory.
    pub(crate) rss_mb: f64,
}

/// Watches a process rest.
pub(crate) async fn idle(pid: u32, rest: Duration) -> Result<Idle> {
    // What starting up left to do is not rest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, before) = (Instant::now(), ticks(pid)?);
    tokio::time::sleep(rest).await;
    let used_s = (ticks(pid)? - before) / TICKS_PER_S;
    let cpu_percent = used_s / began.elapsed().as_secs_f64() * 100.0;
    let rss_mb = rollup_mb(pid, "Rss:").context("the process has ended")?;
    Ok(Idle { cpu_percent, rss_mb })
}

/// User and system time so far.
pub(crate) fn cpu_ms(pid: u32) -> Result<f64> {
    Ok(ticks(pid)? * 1000.0 / TICKS_PER_S)
}

/// User and system time, in ticks.
fn ticks(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("a stat line has a name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let of = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    of(11).zip(of(12)).map(|(user, system)| user + system).context("a stat line has times")
}

fn rollup_mb(pid: u32, field: &str) -> Option<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0 / MB)
}

/// Proportional memory of each keeper whose pod's folder is below this one.
pub(crate) fn keepers_pss_mb(data: &Path) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end while it is looked at.
        let Ok(words) = fs::read(entry.path().join("cmdline")) else { continue };
        let mut words = words.split(|byte| *byte == 0).skip(1);
        let is_keeper = words.next() == Some(b"keeper".as_slice());
        let pod = words.next().map(String::from_utf8_lossy).unwrap_or_default();
        if is_keeper && Path::new(&*pod).starts_with(data) {
            found.extend(rollup_mb(pid, "Pss:"));
        }
    }
    Ok(found)
}

/// Size of a file.
pub(crate) fn file_mb(path: &Path) -> Result<f64> {
    let length = fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    #[expect(clippy::cast_precision_loss, reason = "a file is smaller than 2^52 bytes")]
    let length = length as f64;
    Ok(length / MB)
}
