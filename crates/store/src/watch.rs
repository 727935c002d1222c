//! A watch: a cursor into the log.
//!
//! It holds no queue: a slow reader only lags, and learns that it is too late by `Compacted`.

use std::sync::Arc;

use crate::{
    bells::Bell,
    contract::{Event, WatchError},
    store::Shared,
};

/// How many events one look at the log gathers: the lock is held for so long at most.
const BATCH_MAX: usize = 1000;

/// A cursor into the log, for the keys of one prefix.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    bell: Bell,
    prefix: String,
    position: u64,
    seen: u64,
}

impl Watch {
    pub(crate) fn start(shared: Arc<Shared>, prefix: &str, after: u64) -> Result<Self, WatchError> {
        let state = shared.state();
        if after < state.oldest {
            let oldest = state.oldest;
            return Err(WatchError::Compacted { asked: after, oldest });
        }
        let position = state.position_after(after);
        // Hung up before anything more is written or forgotten.
        let bell = shared.bells.of(prefix);
        drop(state);
        Ok(Self { shared, bell, prefix: prefix.to_owned(), position, seen: after })
    }

    /// Every event up to this revision has been answered; what a bookmark may say.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The next event under the prefix.
    ///
    /// Cancel safe: a dropped call has taken nothing.
    ///
    /// # Errors
    ///
    /// `Compacted` when the window moved on past this cursor, `Closed` after the store's last event.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        let mut events = self.next_batch(1).await?;
        // A batch is never empty; an empty one would mean that nothing comes any more.
        events.pop().ok_or(WatchError::Closed)
    }

    /// The next events under the prefix, in order: at least one, at most `limit` (and 1000).
    ///
    /// Cancel safe: a dropped call has taken nothing.
    ///
    /// # Errors
    ///
    /// As `next`.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Event>, WatchError> {
        loop {
            // Read before the look: an event published between the two ends the wait below.
            let latest = self.bell.rung.latest();
            let events = self.take(limit)?;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.bell.rung.reached(latest + 1).await.is_err() {
                let events = self.take(limit)?;
                return if events.is_empty() { Err(WatchError::Closed) } else { Ok(events) };
            }
        }
    }

    /// The events that are there already, without waiting; empty when there are none.
    ///
    /// # Errors
    ///
    /// `Compacted`, as `next`.
    pub fn take(&mut self, limit: usize) -> Result<Vec<Event>, WatchError> {
        let limit = limit.clamp(1, BATCH_MAX);
        let shared = self.shared.clone();
        let state = shared.state();
        let oldest = state.oldest;
        let asked = self.seen;
        if self.position < state.first_position() && self.bell.lost() <= asked {
            // The window has moved on, and nothing under the prefix has left it.
            self.position = state.first_position();
        }
        let Some(later) = state.events_from(self.position) else {
            return Err(WatchError::Compacted { asked, oldest });
        };
        let mut events = Vec::new();
        let mut position = self.position;
        for event in later {
            if events.len() == limit {
                // The rest of this commit may be still to come.
                self.position = position;
                self.seen = self.seen.max(event.revision - 1);
                return Ok(events);
            }
            position += 1;
            // A watch may start after a revision that is yet to be written.
            if event.revision > asked && event.after.key.starts_with(&self.prefix) {
                events.push(event.clone());
            }
        }
        self.position = position;
        self.seen = self.seen.max(state.revision);
        Ok(events)
    }
}
