//! Keys that wait to be worked on: each once, never two workers on one, failed ones later.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use client::Key;
use tokio::{sync::Notify, time::Instant};

/// After the first failure of a key (spec Y13).
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// After many failures of a key (spec Y13).
const LAST_RETRY: Duration = Duration::from_secs(1000);
/// All failed keys of a queue together come back ten times a second at the most …
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// … after the first hundred (spec Y13).
const RETRY_BURST: u32 = 100;

/// What a queue has to do, and has had to do since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Keys that are ready and not yet worked on.
    pub depth: usize,
    /// Keys that were put in.
    pub adds: u64,
    /// Keys that were put in because their work failed.
    pub retries: u64,
}

/// The queue of one controller.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Key>,
    /// Asked for since they were last taken.
    wanted: BTreeSet<Key>,
    working: BTreeSet<Key>,
    later: BTreeSet<(Instant, Key)>,
    /// When each key in `later` is due: one time a key, so that neither grows without end.
    due: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
    /// When the bucket of retries is full again.
    retries_full_at: Option<Instant>,
    adds: u64,
    retries: u64,
}

impl Queue {
    /// The key shall be looked at.
    pub(crate) fn add(&self, key: Key) {
        let mut state = self.lock();
        let is_new = state.wanted.insert(key.clone());
        state.adds += u64::from(is_new);
        if is_new && !state.working.contains(&key) {
            state.ready.push_back(key);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The key shall be looked at when this time has passed, or sooner where it waits already.
    pub(crate) fn add_after(&self, key: Key, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + wait;
        let mut state = self.lock();
        match state.due.get(&key).copied() {
            Some(sooner) if sooner <= at => return,
            Some(later) => drop(state.later.remove(&(later, key.clone()))),
            None => (),
        }
        state.due.insert(key.clone(), at);
        state.later.insert((at, key));
        drop(state);
        self.changed.notify_one();
    }

    /// The next key, once there is one. It is the caller's until [`Queue::done`].
    pub(crate) async fn next(&self) -> Key {
        loop {
            let due = match self.take(Instant::now()) {
                Ok(key) => return key,
                Err(due) => due,
            };
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => (),
                () = timer => (),
            }
        }
    }

    /// The key may be given out again.
    pub(crate) fn done(&self, key: &Key) {
        let mut state = self.lock();
        state.working.remove(key);
        if state.wanted.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The key's work succeeded: its next failure is a first one.
    pub(crate) fn succeeded(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// The key's work failed: it comes back later, and later each time.
    pub(crate) fn failed(&self, key: &Key) -> Duration {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        let factor = 1_u32.checked_shl(*failures).unwrap_or(u32::MAX);
        *failures = failures.saturating_add(1);
        let own = FIRST_RETRY.checked_mul(factor).map_or(LAST_RETRY, |wait| wait.min(LAST_RETRY));
        let wait = own.max(state.retry_slot(Instant::now()));
        state.retries += 1;
        drop(state);
        self.add_after(key.clone(), wait);
        wait
    }

    /// Whether nothing is worked on or ready.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.working.is_empty()
    }

    /// What there is and was to do.
    pub(crate) fn figures(&self) -> Figures {
        let state = self.lock();
        Figures { depth: state.ready.len(), adds: state.adds, retries: state.retries }
    }

    /// A ready key, or when the next one is due.
    fn take(&self, now: Instant) -> Result<Key, Option<Instant>> {
        let mut state = self.lock();
        while let Some((due, _)) = state.later.first()
            && *due <= now
            && let Some((_, key)) = state.later.pop_first()
        {
            state.due.remove(&key);
            let is_new = state.wanted.insert(key.clone());
            state.adds += u64::from(is_new);
            if is_new && !state.working.contains(&key) {
                state.ready.push_back(key);
            }
        }
        let Some(key) = state.ready.pop_front() else {
            return Err(state.later.first().map(|(due, _)| *due));
        };
        state.wanted.remove(&key);
        state.working.insert(key.clone());
        if !state.ready.is_empty() {
            self.changed.notify_one();
        }
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long until one more retry is allowed: the bucket refills at a steady rate.
    fn retry_slot(&mut self, now: Instant) -> Duration {
        let full_at = self.retries_full_at.map_or(now, |at| at.max(now)) + RETRY_EVERY;
        self.retries_full_at = Some(full_at);
        (full_at - now).saturating_sub(RETRY_EVERY * RETRY_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("default", name)
    }

    #[tokio::test(start_paused = true)]
    async fn y13_a_key_waits_once_and_has_one_worker() {
        let queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.add(key(name));
        }
        let first = queue.next().await;
        queue.add(first.clone());
        assert_eq!(queue.next().await, key("b"));
        let idle = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert!(idle.is_err(), "a is being worked on");
        queue.done(&first);
        assert_eq!(queue.next().await, key("a"));
        queue.done(&key("a"));
        queue.done(&key("b"));
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn y13_failures_double_from_5_ms_to_1000_s() {
        let queue = Queue::default();
        let waits: Vec<u128> = (0..30).map(|_| queue.failed(&key("a")).as_millis()).collect();
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[29], 1_000_000);
        queue.succeeded(&key("a"));
        assert_eq!(queue.failed(&key("a")).as_millis(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn y13_all_failures_together_come_back_ten_times_a_second() {
        let queue = Queue::default();
        let waits: Vec<Duration> = (0..120).map(|n| queue.failed(&key(&n.to_string()))).collect();
        assert_eq!(waits[99], FIRST_RETRY);
        assert_eq!(waits[119], Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_key_comes_when_it_is_due() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after(key("a"), Duration::from_secs(7));
        queue.add_after(key("b"), Duration::from_secs(3));
        assert_eq!(queue.next().await, key("b"));
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }
}
