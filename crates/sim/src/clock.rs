//! Wall clocks that follow tokio's paused time, and can be set wrong.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use apiserver::Ambient;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::chance::Chance;

/// When every simulation begins: 2026-01-01T00:00:00Z, seconds since the epoch.
const BEGIN_S: i64 = 1_767_225_600;

/// One machine's wall clock; clones are the same clock.
#[derive(Clone)]
pub(crate) struct WallClock {
    began: Instant,
    /// How far it is set wrong.
    wrong_ms: Arc<AtomicI64>,
    /// Grows with each reading on any machine: no two readings are equal.
    readings: Arc<AtomicU64>,
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").field("wrong_ms", &self.wrong_ms).finish_non_exhaustive()
    }
}

impl WallClock {
    /// The first clock of a simulation that begins now.
    pub(crate) fn new() -> Self {
        let (wrong_ms, readings) = (Arc::default(), Arc::default());
        Self { began: Instant::now(), wrong_ms, readings }
    }

    /// Another machine's.
    pub(crate) fn another(&self) -> Self {
        Self { wrong_ms: Arc::default(), ..self.clone() }
    }

    /// Sets it wrong by so much; 0 sets it right.
    pub(crate) fn set_wrong(&self, ms: i64) {
        self.wrong_ms.store(ms, Ordering::Relaxed);
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        let nanos = self.readings.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let passed = self.began.elapsed() + Duration::from_nanos(nanos);
        let wrong = SignedDuration::from_millis(self.wrong_ms.load(Ordering::Relaxed));
        let begin = Timestamp::from_second(BEGIN_S).unwrap_or(Timestamp::UNIX_EPOCH);
        let passed = SignedDuration::try_from(passed).unwrap_or_default();
        begin.checked_add(passed).and_then(|at| at.checked_add(wrong)).unwrap_or(begin)
    }

    /// The same for the kernel's words.
    pub(crate) fn system_time(&self) -> SystemTime {
        SystemTime::from(self.now())
    }

    /// The same for the store's words.
    pub(crate) fn ms(&self) -> u64 {
        u64::try_from(self.now().as_millisecond()).unwrap_or(0)
    }

    /// Milliseconds since the simulation began, whatever the clock shows.
    pub(crate) fn passed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The API server's time and chance.
#[derive(Debug)]
pub(crate) struct Ambience {
    pub(crate) clock: WallClock,
    pub(crate) chance: Chance,
}

impl Ambient for Ambience {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.chance.fill(bytes);
    }
}
