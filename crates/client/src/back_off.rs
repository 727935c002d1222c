//! Waiting times that grow, with jitter from a seed, so that a run can be replayed.

use std::time::Duration;

/// Doubles from `first` to `last`; each wait is jittered by up to half of itself.
#[derive(Debug, Clone)]
pub struct BackOff {
    first: Duration,
    last: Duration,
    failures: u32,
    random: u64,
}

impl BackOff {
    /// A sequence that begins at `first`, ends at `last` and draws its jitter from `seed`.
    #[must_use]
    pub fn new(first: Duration, last: Duration, seed: u64) -> Self {
        Self { first, last, failures: 0, random: seed }
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let base = doubled(self.first, self.last, self.failures);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(base.as_micros() / 2).unwrap_or(u64::MAX);
        let jitter = if half == 0 { 0 } else { self.draw() % half };
        base.saturating_add(Duration::from_micros(jitter))
    }

    /// Begins anew after a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// splitmix64: enough for jitter, and four lines.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// `first` doubled `times` times, at most `last`.
pub(crate) fn doubled(first: Duration, last: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX);
    first.checked_mul(factor).map_or(last, |wait| wait.min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_end_and_replays() {
        let mut one = BackOff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        let mut two = one.clone();
        let waits: Vec<Duration> = (0..6).map(|_| one.failed()).collect();
        assert_eq!(waits, (0..6).map(|_| two.failed()).collect::<Vec<_>>());
        assert!(waits[0] >= Duration::from_millis(100) && waits[0] < Duration::from_millis(150));
        assert!(waits[5] >= Duration::from_secs(1) && waits[5] < Duration::from_millis(1500));
        one.succeeded();
        assert!(one.failed() < Duration::from_millis(150));
    }
}
