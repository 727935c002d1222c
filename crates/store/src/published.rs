//! How far the log is published, and waiting for it to go on.
//!
//! Who waits is woken in the order in which they began to wait: tokio's own watch channel wakes in
//! random order, and a seed could not be replayed over it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// The latest published revision; clones show the same one.
#[derive(Debug, Clone)]
pub(crate) struct Published(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    latest: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
}

/// Who publishes; its end is the end of the log.
#[derive(Debug)]
pub(crate) struct Publisher(Arc<Shared>);

/// Nothing more is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

/// Both ends, from this revision on.
pub(crate) fn published(latest: u64) -> (Publisher, Published) {
    let (closed, changed) = (AtomicBool::new(false), Notify::new());
    let shared = Arc::new(Shared { latest: AtomicU64::new(latest), closed, changed });
    (Publisher(Arc::clone(&shared)), Published(shared))
}

impl Publisher {
    /// One more end that waits.
    pub(crate) fn waiting(&self) -> Published {
        Published(Arc::clone(&self.0))
    }

    /// Whether someone may wait.
    pub(crate) fn is_heard(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// This revision can be read now.
    pub(crate) fn publish(&self, revision: u64) {
        self.0.latest.store(revision, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Published {
    pub(crate) fn latest(&self) -> u64 {
        self.0.latest.load(Ordering::SeqCst)
    }

    /// Returns the latest revision once it is at least this one. Cancel safe.
    pub(crate) async fn reached(&self, revision: u64) -> Result<u64, Ended> {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // Before the look: what is published between the two rings.
            changed.as_mut().enable();
            let closed = self.0.closed.load(Ordering::SeqCst);
            let latest = self.latest();
            if latest >= revision {
                return Ok(latest);
            }
            if closed {
                return Err(Ended);
            }
            changed.await;
        }
    }
}
