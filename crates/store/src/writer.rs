//! The one writer: gathers commits, checks them, makes them durable, publishes them in order.
//!
//! It is a thread of its own, because the journal blocks (a task where it does not). While it syncs one batch, the next gathers.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use crate::{
    contract::{
        Change, CommitError, Committed, Event, Expect, Journal, JournalError, Op, Record,
        RecordChange, Stamp,
    },
    published::Publisher,
    store::{Options, Shared},
};

/// Commits in one batch: bounds what one failed sync takes with it.
const BATCH_COMMITS_MAX: usize = 1024;

/// Bytes of values in one batch: bounds how long one sync takes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Commit { ops: Vec<Op>, answer: oneshot::Sender<Result<Committed, CommitError>> },
    Close { answer: oneshot::Sender<()> },
}

pub(crate) struct Writer<J> {
    pub(crate) journal: J,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) published: Publisher,
    pub(crate) closes: Closes,
}

/// Ends all watches when the writer ends, also where it panics.
pub(crate) struct Closes(pub(crate) Arc<Shared>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.bells.close();
    }
}

/// A commit that will be in the batch.
struct Accepted {
    record: Record,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A commit that was refused for what an earlier one of the same batch will have written.
struct Doubtful {
    refusal: CommitError,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A batch as it gathers.
#[derive(Default)]
struct Batch {
    accepted: Vec<Accepted>,
    doubtful: Vec<Doubtful>,
    /// Revisions of the keys that the batch writes; `None` where it deletes.
    touched: BTreeMap<Arc<str>, Option<u64>>,
    bytes: usize,
    taken: usize,
}

impl<J: Journal> Writer<J> {
    /// Runs until every handle is gone or one says close.
    pub(crate) fn run(mut self) {
        while let Some(request) = self.requests.blocking_recv() {
            if let Some(answer) = self.turn(request) {
                return self.close(answer);
            }
        }
    }

    /// As `run`, on the caller's own thread.
    pub(crate) async fn run_here(mut self) {
        while let Some(request) = self.requests.recv().await {
            if let Some(answer) = self.turn(request) {
                return self.close(answer);
            }
        }
    }

    /// One batch: this request and what has gathered behind it. Answers who asked to close.
    fn turn(&mut self, request: Request) -> Option<oneshot::Sender<()>> {
        let mut batch = Batch::default();
        let mut closing = self.gather(request, &mut batch);
        while closing.is_none()
            && batch.bytes < BATCH_BYTES_MAX
            && batch.taken < BATCH_COMMITS_MAX
            && let Ok(request) = self.requests.try_recv()
        {
            closing = self.gather(request, &mut batch);
        }
        self.carry_out(batch);
        closing
    }

    fn close(self, answer: oneshot::Sender<()>) {
        let Self { journal, published, closes, mut requests, .. } = self;
        requests.close();
        drop(journal);
        drop(published);
        drop(closes);
        reply(answer, ());
    }

    fn gather(&self, request: Request, batch: &mut Batch) -> Option<oneshot::Sender<()>> {
        match request {
            Request::Close { answer } => Some(answer),
            Request::Commit { ops, answer } => {
                batch.taken += 1;
                self.consider(ops, answer, batch);
                None
            }
        }
    }

    fn consider(
        &self,
        ops: Vec<Op>,
        answer: oneshot::Sender<Result<Committed, CommitError>>,
        batch: &mut Batch,
    ) {
        let state = self.shared.state();
        let mut touched_now: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for op in &ops {
            let in_batch = batch.touched.get(op.key.as_str()).copied();
            let found =
                in_batch.unwrap_or_else(|| state.rows.get(op.key.as_str()).map(|row| row.revision));
            let holds = match op.expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(revision),
                Expect::Present => found.is_some(),
            };
            // A key twice in one commit has no order between its two changes.
            let twice = touched_now.insert(&op.key, found).is_some();
            if !holds || twice {
                let refusal =
                    CommitError::Refused { key: op.key.clone(), expected: op.expect, found };
                if in_batch.is_some() {
                    batch.doubtful.push(Doubtful { refusal, answer });
                } else {
                    reply(answer, Err(refusal));
                }
                return;
            }
        }
        let revision = state.revision + batch.accepted.len() as u64 + 1;
        drop(state);
        let record = Record {
            revision,
            at_ms: (self.options.clock)(),
            changes: ops.into_iter().map(|op| fill(op, revision)).collect(),
        };
        for change in &record.changes {
            batch.bytes += change.value.len() + change.index.len();
            let now = (!change.deleted).then_some(revision);
            batch.touched.insert(change.key.clone(), now);
        }
        batch.accepted.push(Accepted { record, answer });
    }

    fn carry_out(&mut self, batch: Batch) {
        let Batch { accepted, doubtful, .. } = batch;
        if accepted.is_empty() {
            return;
        }
        let (records, answers): (Vec<Record>, Vec<_>) =
            accepted.into_iter().map(|accepted| (accepted.record, accepted.answer)).unzip();
        if let Err(error) = self.journal.append(&records) {
            for answer in answers {
                reply(answer, Err(CommitError::Journal(copy(&error))));
            }
            for doubtful in doubtful {
                reply(doubtful.answer, Err(CommitError::Journal(copy(&error))));
            }
            return;
        }
        for (record, answer) in records.iter().zip(answers) {
            let committed = self.publish(record);
            reply(answer, Ok(committed));
        }
        for doubtful in doubtful {
            reply(doubtful.answer, Err(doubtful.refusal));
        }
        self.trim();
    }

    fn publish(&self, record: &Record) -> Committed {
        let events = self.shared.state().events(record);
        // Before anyone can read the rows: who sees a row finds the observer's indexes as far.
        self.observe(&events);
        self.shared
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&events, record.at_ms);
        self.published.publish(record.revision);
        self.shared.bells.ring(&events);
        Committed {
            revision: record.revision,
            rows: events.into_iter().map(|event| event.after).collect(),
        }
    }

    fn observe(&self, events: &[Event]) {
        let Some(observer) = &self.options.observer else {
            return;
        };
        for event in events {
            // The batch is durable: a fault of the observer must not stop its publication.
            if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
                tracing::error!(key = %event.after.key, "the store's observer panicked");
            }
        }
    }

    fn trim(&mut self) {
        let now = (self.options.clock)();
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let bells = &self.shared.bells;
        let trimmed = state.trim(&self.options.window, now, |event| bells.forget(event));
        let oldest = state.oldest;
        drop(state);
        if trimmed && let Err(error) = self.journal.compact(oldest) {
            tracing::warn!(error = %error, "old records could not be forgotten; tried again later");
        }
    }
}

fn reply<T>(answer: oneshot::Sender<T>, result: T) {
    // Whoever asked may have gone; what was committed stays committed.
    drop(answer.send(result));
}

fn fill(op: Op, revision: u64) -> RecordChange {
    let (value, index, deleted) = match op.change {
        Change::Put { value, index } => (value, index, false),
        Change::Delete { value } => (value, Bytes::new(), true),
    };
    RecordChange { key: op.key.into(), value: stamp(&value, revision), index, deleted }
}

fn stamp(stamp: &Stamp, revision: u64) -> Bytes {
    let digits = revision.to_string();
    let mut value = BytesMut::with_capacity(stamp.before.len() + digits.len() + stamp.after.len());
    value.extend_from_slice(&stamp.before);
    value.extend_from_slice(digits.as_bytes());
    value.extend_from_slice(&stamp.after);
    value.freeze()
}

/// The same error once more: everyone in a failed batch gets it.
fn copy(error: &JournalError) -> JournalError {
    match error {
        JournalError::Full { path } => JournalError::Full { path: path.clone() },
        JournalError::Io { path, source } => JournalError::Io {
            path: path.clone(),
            source: source.raw_os_error().map_or_else(
                || std::io::Error::new(source.kind(), source.to_string()),
                std::io::Error::from_raw_os_error,
            ),
        },
        JournalError::Damaged { path, what } => {
            JournalError::Damaged { path: path.clone(), what: what.clone() }
        }
    }
}
