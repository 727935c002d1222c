//! The handle: open, commit, read, watch, back up.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    bells::Bells,
    contract::{
        CommitError, Committed, Event, Journal, JournalError, ListError, Listing, Op, OpenError,
        Row, WatchError,
    },
    disk::COUNTED_BYTES_MAX,
    published::{Published, published},
    state::{State, Window},
    watch::Watch,
    writer::{Closes, Request, Writer},
};

/// Commits that may wait for the writer before `commit` itself waits.
const WAITING_COMMITS_MAX: usize = 1024;

/// Told of every row at open, then of every committed event, in order, before anyone can read it.
///
/// It is called on the writer's thread and must be quick; it must not call the store.
pub trait Observer: Send + Sync {
    /// Folds one event in. A row that was there at open comes without `before`.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// How a store is run.
#[derive(Clone)]
pub struct Options {
    /// How much of the log is kept.
    pub window: Window,
    /// Folds every event as it is committed.
    pub observer: Option<Arc<dyn Observer>>,
    /// Milliseconds since the epoch; only for the age of the window.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: Window::default(), observer: None, clock: Arc::new(wall_clock_ms) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("window", &self.window)
            .field("observer", &self.observer.is_some())
            .finish_non_exhaustive()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the store is a shell: the age of its window is real time"
)]
fn wall_clock_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What the handle, the writer and the watches share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: RwLock<State>,
    pub(crate) bells: Bells,
}

impl Shared {
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        // Writers of the lock only move values; a state behind a poisoned lock is whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A durable, watchable map of keys to bytes. Clones are the same store; the last one closes it.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    published: Published,
}

impl Store {
    /// Opens the store over what its journal remembers, and starts its writer.
    ///
    /// # Errors
    ///
    /// `Journal` when the journal cannot be replayed, or no thread can be started.
    pub fn open(journal: impl Journal + 'static, options: Options) -> Result<Self, OpenError> {
        let (store, writer) = Self::prepare(journal, options)?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| {
                OpenError::Journal(JournalError::Io { path: "store-writer".into(), source })
            })?;
        Ok(store)
    }

    /// As `open`, without a thread: commits happen while the future is polled, which must outlive
    /// the store's use. For a journal that does not block, where one thread does everything.
    ///
    /// # Errors
    ///
    /// `Journal` when the journal cannot be replayed.
    pub fn open_here(
        journal: impl Journal + 'static,
        options: Options,
    ) -> Result<(Self, impl Future<Output = ()> + Send), OpenError> {
        let (store, writer) = Self::prepare(journal, options)?;
        Ok((store, writer.run_here()))
    }

    fn prepare<J: Journal + 'static>(
        mut journal: J,
        options: Options,
    ) -> Result<(Self, Writer<J>), OpenError> {
        let replay = journal.replay().map_err(OpenError::Journal)?;
        let mut state = State::at(replay.base);
        for row in replay.rows {
            state.rows.insert(row.key.clone(), Arc::new(row));
        }
        let now = (options.clock)();
        for record in &replay.records {
            let events = state.events(record);
            state.apply(&events, record.at_ms);
        }
        state.trim(&options.window, now, |_| ());
        if let Some(observer) = &options.observer {
            for row in state.rows.values() {
                observer.observe(&Event {
                    revision: row.revision,
                    before: None,
                    after: row.clone(),
                    deleted: false,
                });
            }
        }
        let (requests, incoming) = mpsc::channel(WAITING_COMMITS_MAX);
        let (publisher, published) = published(state.revision);
        let shared = Arc::new(Shared { state: RwLock::new(state), bells: Bells::default() });
        let writer = Writer {
            journal,
            shared: shared.clone(),
            options,
            requests: incoming,
            published: publisher,
            closes: Closes(shared.clone()),
        };
        Ok((Self { shared, requests, published }, writer))
    }

    /// Commits all of these changes or none, durably, and answers once reads see them.
    ///
    /// A commit whose call is dropped may happen all the same. A key may occur once. No ops is no
    /// commit: it answers the latest revision.
    ///
    /// # Errors
    ///
    /// `Refused` when an expectation does not hold, `Journal` when the disk is full or failing;
    /// neither uses a revision.
    pub async fn commit(&self, ops: Vec<Op>) -> Result<Committed, CommitError> {
        if ops.is_empty() {
            return Ok(Committed { revision: self.revision(), rows: Vec::new() });
        }
        debug_assert!(ops.iter().all(|op| op.key.len() < COUNTED_BYTES_MAX));
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::Commit { ops, answer })
            .await
            .map_err(|_closed| CommitError::Closed)?;
        answered.await.map_err(|_closed| CommitError::Closed)?
    }

    /// The latest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.state().revision
    }

    /// The oldest revision that can be listed, or watched from.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.shared.state().oldest
    }

    /// The key's row.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Row>> {
        self.shared.state().rows.get(key).cloned()
    }

    /// Rows under a prefix, behind `start_after`; `limit` 0 means all.
    #[must_use]
    pub fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Listing {
        self.shared.state().list(prefix, start_after, limit)
    }

    /// As `list`, as it was at an older revision.
    ///
    /// # Errors
    ///
    /// `Compacted` before the window, `Future` for a revision that is yet to be written.
    pub fn list_at(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
        revision: u64,
    ) -> Result<Listing, ListError> {
        self.shared.state().list_at(prefix, start_after, limit, revision)
    }

    /// Waits until this revision is written, and answers the latest. How long, is the caller's.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn reached(&self, revision: u64) -> Result<u64, WatchError> {
        self.published.reached(revision).await.map_err(|_ended| WatchError::Closed)
    }

    /// A cursor over the events under a prefix after a revision.
    ///
    /// A revision yet to be written is fine: the watch begins behind it.
    ///
    /// # Errors
    ///
    /// `Compacted` before the window.
    pub fn watch(&self, prefix: &str, after: u64) -> Result<Watch, WatchError> {
        Watch::start(self.shared.clone(), prefix, after)
    }

    /// All rows at the latest revision.
    pub(crate) fn everything(&self) -> Listing {
        self.list("", None, 0)
    }

    /// Ends the store for all its handles: commits that wait are answered, the journal is closed.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Close { answer }).await.is_ok() {
            // An error means that another close was first; then the writer is gone or going.
            drop(answered.await);
        }
    }
}
