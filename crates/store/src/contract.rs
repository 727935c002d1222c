//! The words of the store: what goes in, what comes out, what can go wrong.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

/// A value with a hole: the store writes the commit's revision, in decimal, between the parts.
///
/// So a stored object can bear its own version although only the writer knows it, and reads
/// serve the bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What stands before the revision.
    pub before: Bytes,
    /// What stands after it; empty together with `before` never happens for a put.
    pub after: Bytes,
}

/// What a commit demands of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key has no row.
    Absent,
    /// The key's row has this revision.
    At(u64),
    /// The key has a row, whichever.
    Present,
}

/// What happens to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It gets this value. `index` is kept beside it for filters (labels, fields): opaque here.
    Put {
        /// The new value.
        value: Stamp,
        /// What filters read instead of the value.
        index: Bytes,
    },
    /// It loses its row; watchers see `value` as its last state.
    Delete {
        /// The last state, stamped with the deletion's revision.
        value: Stamp,
    },
}

/// One key of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Which key.
    pub key: String,
    /// What must hold, or the whole commit is refused.
    pub expect: Expect,
    /// What happens then.
    pub change: Change,
}

/// One key's current value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which key.
    pub key: Arc<str>,
    /// The commit that wrote it.
    pub revision: u64,
    /// The value, hole filled.
    pub value: Bytes,
    /// What filters read.
    pub index: Bytes,
}

/// One change as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The commit; keys of one commit share it.
    pub revision: u64,
    /// The row before, if there was one.
    pub before: Option<Arc<Row>>,
    /// The row after; for a deletion the last state, stamped with the deletion's revision.
    pub after: Arc<Row>,
    /// The key has no row any more.
    pub deleted: bool,
}

/// A commit that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: u64,
    /// The rows as written, in the order of the ops (deletions: their last state).
    pub rows: Vec<Arc<Row>>,
}

/// Why a commit was refused or failed; nothing of it happened.
#[derive(Debug, Error)]
pub enum CommitError {
    /// An expectation did not hold.
    #[error("{key}: expected {expected:?}, found revision {found:?}")]
    Refused {
        /// Which key.
        key: String,
        /// What the commit demanded.
        expected: Expect,
        /// The key's row, if it has one.
        found: Option<u64>,
    },
    /// The disk is full or failing; reads go on, later writes are tried again.
    #[error("the journal could not be written")]
    Journal(#[source] JournalError),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a list at a given revision has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ListError {
    /// The revision is before the kept window.
    #[error("revision {asked} is compacted; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: u64,
        /// The oldest revision that can be listed.
        oldest: u64,
    },
    /// The revision has not been written yet.
    #[error("revision {asked} is not yet written; the latest is {latest}")]
    Future {
        /// What was asked for.
        asked: u64,
        /// The latest revision.
        latest: u64,
    },
}

/// Rows under a prefix, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The revision that the rows show.
    pub revision: u64,
    /// The rows of this page.
    pub rows: Vec<Arc<Row>>,
    /// How many rows follow this page.
    pub remaining: u64,
}

/// Why a watch cannot start, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WatchError {
    /// The revision is before the kept window.
    #[error("revision {asked} is compacted; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: u64,
        /// The oldest revision a watch can start after.
        oldest: u64,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// One durable record: all of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Consecutive from 1.
    pub revision: u64,
    /// Milliseconds since the epoch; for the age of the window.
    pub at_ms: u64,
    /// Key, and its new row's value and index or `None` with the last state where it was deleted.
    pub changes: Vec<RecordChange>,
}

/// One key of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Which key.
    pub key: Arc<str>,
    /// The value (a deletion's last state), hole filled.
    pub value: Bytes,
    /// What filters read.
    pub index: Bytes,
    /// The key loses its row.
    pub deleted: bool,
}

/// What makes records durable. Implementations: our log on disk, memory; later a simulated disk, etcd.
pub trait Journal: Send {
    /// Appends these records and returns once they are synced; on error none of them counts.
    ///
    /// # Errors
    ///
    /// When the disk is full or fails; the journal stays usable for a later append.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// The rows at a base, and every record after it: what a store starts from.
    ///
    /// # Errors
    ///
    /// When what is on disk is damaged; names the file.
    fn replay(&mut self) -> Result<Replay, JournalError>;

    /// Allows to forget how it was up to this revision: a later replay's base may be as late.
    ///
    /// # Errors
    ///
    /// As `append`.
    fn compact(&mut self, through: u64) -> Result<(), JournalError>;
}

/// What a journal remembers.
///
/// The base is never later than the revision that `compact` allowed, so that the store, folding
/// the records in order, knows the row before each change of its window.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// The revision that `rows` show; 0 for a new journal.
    pub base: u64,
    /// Every key's row at `base`.
    pub rows: Vec<Row>,
    /// Every record after `base`, oldest first, without a gap.
    pub records: Vec<Record>,
}

/// What went wrong with the journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// No space is left; freeing some cures it without a restart.
    #[error("no space left for {}", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{}: the disk failed", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is on disk is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

/// Why a store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The journal could not be read.
    #[error("the store could not be opened")]
    Journal(#[source] JournalError),
    /// A newer stead wrote it.
    #[error("{} has format {found}; this stead reads up to {known}: use a newer stead", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}
