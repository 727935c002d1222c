//! Who is woken by a commit: only the watches whose prefix it touches.
//!
//! Most watches are of kinds that hardly change. Were all of them woken by every commit, a busy kind
//! would cost as many looks at the log as there are watches. An idle cursor stays where it is while
//! the window moves on; its bell knows whether anything that concerned it has left the log.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    contract::Event,
    published::{Published, Publisher, published},
};

/// Commits after which bells without listeners are put away.
const TIDY_EVERY: u32 = 1024;

/// One bell for each prefix that is watched.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_prefix: BTreeMap<String, (Publisher, Arc<AtomicU64>)>,
    commits: u32,
    closed: bool,
}

/// What a watch hears of its prefix.
#[derive(Debug, Clone)]
pub(crate) struct Bell {
    /// The revision of the latest event under the prefix since the bell was hung up; it ends with
    /// the store.
    pub(crate) rung: Published,
    lost: Arc<AtomicU64>,
}

impl Bell {
    /// The revision of the newest event under the prefix that has left the log since the bell was
    /// hung up; 0 when none has.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }
}

impl Bells {
    /// The bell of a prefix; one of a closed store has ended.
    pub(crate) fn of(&self, prefix: &str) -> Bell {
        let mut inner = self.lock();
        if inner.closed {
            return Bell { rung: published(0).1, lost: Arc::default() };
        }
        let fresh = || (published(0).0, Arc::default());
        let (rings, lost) = inner.by_prefix.entry(prefix.to_owned()).or_insert_with(fresh);
        Bell { rung: rings.waiting(), lost: Arc::clone(lost) }
    }

    /// Rings for the events of one commit, which can be read already.
    pub(crate) fn ring(&self, events: &[Event]) {
        let Some(revision) = events.last().map(|event| event.revision) else { return };
        let mut inner = self.lock();
        inner.commits += 1;
        if inner.commits >= TIDY_EVERY {
            inner.commits = 0;
            inner.by_prefix.retain(|_, (rings, _)| rings.is_heard());
        }
        for (prefix, (rings, _)) in &inner.by_prefix {
            if events.iter().any(|event| event.after.key.starts_with(prefix.as_str())) {
                rings.publish(revision);
            }
        }
    }

    /// Notes an event that leaves the log; only while nobody can read it.
    pub(crate) fn forget(&self, event: &Event) {
        for (prefix, (_, lost)) in &self.lock().by_prefix {
            if event.after.key.starts_with(prefix.as_str()) {
                lost.fetch_max(event.revision, Ordering::AcqRel);
            }
        }
    }

    /// After the last commit: whoever waits learns that nothing more comes.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.by_prefix.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked with it left every bell whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::Row, published::Ended};

    fn event(key: &str, revision: u64) -> Event {
        let (value, index) = (bytes::Bytes::new(), bytes::Bytes::new());
        let row = Row { key: key.into(), revision, value, index };
        Event { revision, before: None, after: Arc::new(row), deleted: false }
    }

    #[tokio::test]
    async fn only_the_prefixes_that_a_commit_touches_ring() {
        let bells = Bells::default();
        let (pods, nodes, all) = (bells.of("/pods/"), bells.of("/nodes/"), bells.of("/"));
        bells.ring(&[event("/pods/a", 7)]);
        assert_eq!([&pods, &nodes, &all].map(|bell| bell.rung.latest()), [7, 0, 7]);
        bells.forget(&event("/pods/a", 7));
        assert_eq!([pods.lost(), nodes.lost(), all.lost()], [7, 0, 7]);
        bells.close();
        assert_eq!(nodes.rung.reached(1).await, Err(Ended));
        assert_eq!(bells.of("/new/").rung.reached(1).await, Err(Ended));
    }
}
