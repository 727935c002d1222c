//! Runs seeds and says what came of them: `sim [--seeds N] [--seed S] [--more] [--mutants] [--trace
//! FILE]`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use sim::{CONVERGES_WITHIN_S, MUTANTS, Outcome, Script, Tally, ground, simulate};
use tracing_subscriber::EnvFilter;

const USAGE: &str = "usage: sim [--seeds N] [--seed S] [--more] [--mutants] [--trace FILE]
  --seeds N     so many seeds, from S on (1)
  --seed S      the first seed; alone: this seed only, which replays what it did
  --more        half of the sets have a start of their ordinals, retention and a StatefulSetPolicy
  --mutants     shows which invariant catches each wrong planner, in up to N seeds
  --trace FILE  writes everything that happened under the last seed
RUST_LOG=debug prints what the parts say.";

/// With fewer seeds than this, an empty cell of the table is no failure.
const FULL_TABLE_SEEDS: u64 = 100;

/// Seeds within which every wrong planner is caught.
const MUTANT_SEEDS: u64 = 8;

thread_local! {
    /// Panics on this thread: a part that broke is a failure whatever the invariants say.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Default)]
struct Asked {
    seeds: Option<u64>,
    seed: Option<u64>,
    trace: Option<PathBuf>,
    mutants: bool,
    more: bool,
}

impl Asked {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--mutants" => {
                    asked.mutants = true;
                    continue;
                }
                "--more" => {
                    asked.more = true;
                    continue;
                }
                _ => {}
            }
            let value = words.next().with_context(|| USAGE)?;
            match word.as_str() {
                "--seeds" => asked.seeds = Some(value.parse().context(USAGE)?),
                "--seed" => asked.seed = Some(value.parse().context(USAGE)?),
                "--trace" => asked.trace = Some(value.into()),
                _ => bail!("{USAGE}"),
            }
        }
        Ok(asked)
    }
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    tally: Tally,
    failed: Vec<(u64, Vec<String>)>,
    commits: usize,
    slowest_s: u64,
}

fn main() -> Result<()> {
    let asked = Asked::parse(std::env::args().skip(1))?;
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        )
        .without_time()
        .init();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.with(|panics| panics.set(panics.get() + 1));
        print(panic);
    }));
    if asked.mutants {
        return mutants(asked.seeds.unwrap_or(MUTANT_SEEDS));
    }
    let first = asked.seed.unwrap_or(1);
    let seeds = asked.seeds.unwrap_or(1);
    let sum = run(first, seeds, asked.more, asked.trace.as_ref())?;
    report(&sum, seeds, asked.more)
}

/// Runs each wrong planner until something catches it.
fn mutants(seeds: u64) -> Result<()> {
    let (folder, ground) = (tempfile::tempdir()?, ground()?);
    let mut wrong = Vec::new();
    for mutant in MUTANTS {
        let mut first = None;
        for seed in 1..=seeds {
            let outcome = simulate(&mutant.script(seed), &ground, &folder.path().join("run"))?;
            first = outcome.violations.into_iter().next().map(|violation| (seed, violation));
            if first.is_some() {
                break;
            }
        }
        let caught = first.as_ref().map(|(_, violation)| violation.invariant);
        println!(
            "{:<42}{}",
            mutant.name,
            match &first {
                Some((seed, violation)) => format!("seed {seed}: {violation}"),
                None => "not caught".to_owned(),
            }
        );
        if caught != Some(mutant.caught_by) {
            wrong.push(mutant.name);
        }
    }
    if !wrong.is_empty() {
        bail!("not caught, or by another invariant than theirs: {}", wrong.join(", "));
    }
    Ok(())
}

/// Runs the seeds on as many threads as there are processors, each seed on one of them.
fn run(first: u64, seeds: u64, more: bool, trace: Option<&PathBuf>) -> Result<Sum> {
    let sum = Mutex::new(Sum::default());
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let folders = tempfile::tempdir()?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let folder = folders.path().join(number.to_string());
                let (sum, next) = (&sum, &next);
                scope.spawn(move || -> Result<()> {
                    let ground = ground()?;
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + seeds {
                            return Ok(());
                        }
                        let panics = PANICS.with(Cell::get);
                        let script = Script { more, ..Script::of(seed) };
                        let outcome = simulate(&script, &ground, &folder)?;
                        if let Some(file) = trace.filter(|_| seed + 1 == first + seeds) {
                            fs::write(file, &outcome.trace)?;
                        }
                        let panics = PANICS.with(Cell::get) - panics;
                        add(
                            &mut sum.lock().unwrap_or_else(PoisonError::into_inner),
                            seed,
                            &outcome,
                            panics,
                        );
                    }
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a seed panicked outside of every part"),
            }
        }
        Ok(())
    })?;
    Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn add(sum: &mut Sum, seed: u64, outcome: &Outcome, panics: u64) {
    sum.tally.add(&outcome.tally);
    sum.commits += outcome.commits;
    sum.slowest_s = sum.slowest_s.max(outcome.converged_after_s.unwrap_or(CONVERGES_WITHIN_S));
    let mut faults: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    if panics > 0 {
        faults.insert(0, format!("{panics} panics"));
    }
    if !faults.is_empty() {
        sum.failed.push((seed, faults));
    }
}

fn report(sum: &Sum, seeds: u64, more: bool) -> Result<()> {
    println!("{}", sum.tally.table());
    println!(
        "{seeds} seeds, {} commits; slowest convergence {} s of simulated time, bound {CONVERGES_WITHIN_S} s",
        sum.commits, sum.slowest_s
    );
    let mut failed: Vec<_> = sum.failed.iter().collect();
    failed.sort();
    for (seed, faults) in &failed {
        let flag = if more { " --more" } else { "" };
        println!("seed {seed} failed; `cargo xtask sim --seed {seed}{flag}` replays it");
        for fault in faults.iter().take(5) {
            println!("    {fault}");
        }
        if faults.len() > 5 {
            println!("    and {} more", faults.len() - 5);
        }
    }
    if !failed.is_empty() {
        bail!("{} of {seeds} seeds failed", failed.len());
    }
    let empty = sum.tally.empty_cells(more);
    if seeds >= FULL_TABLE_SEEDS && !empty.is_empty() {
        bail!("never tried: {}", empty.join(", "));
    }
    Ok(())
}
