//! Figures with their limits, as a table for people and JSON for machines.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    /// What the median, or the 99th percentile where `tail`, must not exceed.
    limit: Option<f64>,
    tail: bool,
    samples: Vec<f64>,
}

impl Row {
    /// The sample below which this share of all lies.
    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank within the samples"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    fn judged(&self) -> f64 {
        self.percentile(if self.tail { 0.99 } else { 0.5 })
    }

    /// No samples is a miss, too.
    fn is_missed(&self) -> bool {
        self.limit.is_some_and(|limit| self.samples.is_empty() || self.judged() > limit)
    }
}

impl Report {
    /// A figure whose median must keep the limit.
    pub(crate) fn add(
        &mut self,
        name: &str,
        unit: &'static str,
        limit: Option<f64>,
        samples: Vec<f64>,
    ) {
        self.rows.push(Row { name: name.to_owned(), unit, limit, tail: false, samples });
    }

    /// A figure whose 99th percentile must keep the limit.
    pub(crate) fn add_tail(
        &mut self,
        name: &str,
        unit: &'static str,
        limit: Option<f64>,
        samples: Vec<f64>,
    ) {
        self.rows.push(Row { name: name.to_owned(), unit, limit, tail: true, samples });
    }

    /// How many limits are missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.is_missed()).count()
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = "| figure | unit | n | p50 | p99 | limit | |\n".to_owned();
        text += "|---|---|---:|---:|---:|---:|---|\n";
        for row in &self.rows {
            let limit = match (row.limit, row.tail) {
                (None, _) => String::new(),
                (Some(limit), false) => format!("{limit}"),
                (Some(limit), true) => format!("p99 {limit}"),
            };
            let verdict = match row.limit {
                None => "",
                Some(_) if row.is_missed() => "MISSED",
                Some(_) => "ok",
            };
            let (p50, p99) = (row.percentile(0.5), row.percentile(0.99));
            let Row { name, unit, samples, .. } = row;
            let n = samples.len();
            writeln!(text, "| {name} | {unit} | {n} | {p50:.2} | {p99:.2} | {limit} | {verdict} |")
                .unwrap_or_default();
        }
        text
    }

    /// Every sample, and what it was measured on.
    pub(crate) fn json(&self) -> Result<String> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({"name": row.name, "unit": row.unit, "limit": row.limit,
                    "limitOf": if row.tail { "p99" } else { "p50" }, "missed": row.is_missed(),
                    "p50": row.percentile(0.5), "p99": row.percentile(0.99),
                    "samples": row.samples})
            })
            .collect();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let cores = std::thread::available_parallelism()?.get();
        let environment = json!({"kernel": kernel.trim(), "load": load.trim(), "cores": cores});
        Ok(serde_json::to_string_pretty(&json!({"environment": environment, "rows": rows}))?)
    }
}
