//! The journal on disk: a log of our own, and snapshots under it.
//!
//! All rows are in memory anyway, so the disk needs to be read only at start. Then the simplest
//! thing is also the safest: a log of checksummed, chained frames, one write and one sync a batch,
//! and now and then a snapshot of all rows from which the log can start anew.
//!
//! ```text
//!   format                     which format this folder has
//!   lock                       held by the process that has it open
//!   acknowledged               the last acknowledged revision (note.rs)
//!   rows-00000000000000004711  every row at revision 4711 (snapshot.rs)
//!   log-00000000000000004712   the batches from 4712 on (segment.rs, frame.rs)
//! ```
//!
//! A segment that is full is followed by another, and a thread writes the rows of that moment as a
//! snapshot. Segments and snapshots go once the window of the log no longer reaches into them.
//!
//! What a start refuses: a log that ends before the note, a gap, a checksum that does not fit. What
//! it accepts: a torn batch at the end of the log that was never acknowledged; it is dropped.

mod encoding;
mod files;
mod frame;
mod journal;
mod note;
mod segment;
mod snapshot;

pub use files::FORMAT;
pub use journal::{DiskJournal, DiskOptions};

pub(crate) use encoding::COUNTED_BYTES_MAX;
pub(crate) use files::{failed, write_format};
pub(crate) use frame::Link;
pub(crate) use note::Note;
pub(crate) use segment::Segment;
pub(crate) use snapshot::{read_snapshot, snapshot_path, write_snapshot};
