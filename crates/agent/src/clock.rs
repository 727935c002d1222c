//! The time of day, as an input that tests can set.

use std::sync::Arc;

use jiff::Timestamp;

/// Says what time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Clock {
        Clock(Arc::new(Timestamp::now))
    }

    /// One that this function reads.
    #[must_use]
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    /// Begins at `start` and follows tokio's clock, which tests pause.
    #[must_use]
    pub fn following_tokio(start: Timestamp) -> Clock {
        let since = tokio::time::Instant::now();
        Clock(Arc::new(move || {
            let passed = tokio::time::Instant::now().duration_since(since);
            jiff::SignedDuration::try_from(passed)
                .ok()
                .and_then(|passed| start.checked_add(passed).ok())
                .unwrap_or(start)
        }))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
