//! Probe parameters and the counting of results.

use k8s_openapi::api::core::v1::Probe;

/// A probe's times and thresholds, with upstream's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Seconds from the container's start to the first probe.
    pub initial_delay_s: u64,
    /// Seconds between probes, at least 1.
    pub period_s: u64,
    /// Seconds until a probe has failed, at least 1.
    pub timeout_s: u64,
    /// Successes in a row that count, at least 1.
    pub successes: u32,
    /// Failures in a row that count, at least 1.
    pub failures: u32,
}

/// The probe's pace.
#[must_use]
pub fn pace(probe: &Probe) -> Pace {
    let seconds = |value: Option<i32>, default: u64| match value {
        None | Some(0) => default,
        Some(value) => u64::try_from(value).unwrap_or(default),
    };
    let times = |value: Option<i32>, default: u32| match value {
        None | Some(0) => default,
        Some(value) => u32::try_from(value).unwrap_or(default),
    };
    Pace {
        initial_delay_s: seconds(probe.initial_delay_seconds, 0),
        period_s: seconds(probe.period_seconds, 10),
        timeout_s: seconds(probe.timeout_seconds, 1),
        successes: times(probe.success_threshold, 1),
        failures: times(probe.failure_threshold, 3),
    }
}

/// Counts results in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<bool>,
    run: u32,
}

impl Tally {
    /// Takes one result; answers the verdict when enough have come in a row.
    pub fn record(&mut self, success: bool, pace: Pace) -> Option<bool> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let enough = if success { pace.successes } else { pace.failures };
        (self.run >= enough).then_some(success)
    }
}
