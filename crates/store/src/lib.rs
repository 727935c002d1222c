//! A durable, watchable log of key -> bytes; knows no objects.
//!
//! One writer gathers concurrent commits into one synced batch, gives each its revision, and
//! publishes them in order. The latest rows and a window of the log are in memory; a `Journal`
//! (fjall, memory for tests; etcd later) makes them durable.
//!
//! ```text
//!   commit ──▶ writer ──▶ Journal::append (one sync a batch) ──▶ rows, window ──▶ watchers' cursors
//! ```

#![forbid(unsafe_code)]

mod contract;

pub use contract::{
    Change, CommitError, Committed, Event, Expect, Journal, JournalError, Op, OpenError, Record,
    RecordChange, Replay, Row, Stamp, WatchError,
};
