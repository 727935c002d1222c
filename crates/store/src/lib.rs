//! A durable, watchable log of key -> bytes; knows no objects.
//!
//! One writer gathers concurrent commits into one synced batch, gives each its revision, and
//! publishes them in order. The latest rows and a window of the log are in memory; a `Journal`
//! (our log on disk, memory for tests; etcd later) makes them durable.
//!
//! ```text
//!   commit ──▶ writer ──▶ Journal::append (one sync a batch) ──▶ rows, window ──▶ watchers' cursors
//! ```

#![forbid(unsafe_code)]

mod backup;
mod bells;
mod contract;
mod disk;
mod memory;
mod published;
mod state;
mod store;
mod watch;
mod writer;

pub use backup::{Backup, BackupError, read_backup, restore};
pub use contract::{
    Change, CommitError, Committed, Event, Expect, Journal, JournalError, ListError, Listing, Op,
    OpenError, Record, RecordChange, Replay, Row, Stamp, WatchError,
};
pub use disk::{DiskJournal, DiskOptions, FORMAT};
pub use memory::{Fault, MemoryJournal};
pub use state::Window;
pub use store::{Observer, Options, Store};
pub use watch::Watch;
