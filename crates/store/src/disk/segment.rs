//! A segment: one file of the log, `log-FIRST`, a header and frames, then zeroes to overwrite.
//!
//! Room is written ahead as zeroes, a chunk at a time, so that a commit changes no metadata of the
//! file (its sync is the cheapest there is) and a full disk shows before a frame is begun.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    encoding::Reader,
    files::{damaged, failed, sync_folder},
    frame::{Link, read_frame},
};
use crate::contract::{JournalError, Record};

const MAGIC: [u8; 8] = *b"STEADLOG";
const HEADER_BYTES: usize = 32;
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// How far the file has room.
    room: u64,
    chunk: u64,
    /// A failed append may have left bytes after `end`.
    stained: Option<u64>,
}

pub(crate) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("log-{first:020}"))
}

fn header(after: Link) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&(after.revision + 1).to_le_bytes());
    out[16..24].copy_from_slice(&after.chain.to_le_bytes());
    let sum = xxh3_64(&out[..24]);
    out[24..32].copy_from_slice(&sum.to_le_bytes());
    out
}

/// A segment as it was read.
pub(crate) struct ReadSegment {
    /// What its header says it follows.
    pub(crate) after: Link,
    pub(crate) records: Vec<Record>,
    /// What the last whole frame links to.
    pub(crate) link: Link,
    pub(crate) end: u64,
    pub(crate) room: u64,
}

/// Reads a segment up to its last whole frame.
pub(crate) fn read_segment(path: &Path) -> Result<ReadSegment, JournalError> {
    let bytes = fs::read(path).map_err(|source| failed(path, source))?;
    let after =
        read_header(&bytes).ok_or_else(|| damaged(path, "its header is not what was written"))?;
    let mut at = HEADER_BYTES;
    let mut link = after;
    let mut records = Vec::new();
    while let Some(frame) = read_frame(&bytes[at..], link) {
        at += frame.bytes;
        link = frame.link;
        records.extend(frame.records);
    }
    Ok(ReadSegment { after, records, link, end: at as u64, room: bytes.len() as u64 })
}

fn read_header(bytes: &[u8]) -> Option<Link> {
    let head = bytes.get(..HEADER_BYTES)?;
    let mut reader = Reader::new(head);
    let magic = reader.take(MAGIC.len()).ok()?;
    let first = reader.number64().ok()?;
    let chain = reader.number64().ok()?;
    let sum = reader.number64().ok()?;
    let sound = magic == MAGIC && xxh3_64(&head[..24]) == sum && first > 0;
    sound.then(|| Link { revision: first - 1, chain })
}

impl Segment {
    /// Makes the segment that follows `after`; on error nothing of it is there.
    pub(crate) fn create(folder: &Path, after: Link, chunk: u64) -> Result<Self, JournalError> {
        let path = segment_path(folder, after.revision + 1);
        let temporary = path.with_extension("tmp");
        let made = Self::create_as(folder, &temporary, &path, after, chunk);
        if made.is_err() && temporary.exists() {
            fs::remove_file(&temporary).map_err(|source| failed(&temporary, source))?;
        }
        made
    }

    fn create_as(
        folder: &Path,
        temporary: &Path,
        path: &Path,
        after: Link,
        chunk: u64,
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(temporary)
            .map_err(|source| failed(temporary, source))?;
        let mut segment = Self {
            path: path.to_owned(),
            file,
            end: HEADER_BYTES as u64,
            room: 0,
            chunk,
            stained: None,
        };
        segment.make_room(chunk)?;
        segment
            .file
            .write_all_at(&header(after), 0)
            .and_then(|()| segment.file.sync_all())
            .and_then(|()| fs::rename(temporary, path))
            .map_err(|source| failed(path, source))?;
        sync_folder(folder)?;
        Ok(segment)
    }

    /// Goes on with a segment that was read.
    pub(crate) fn resume(
        path: &Path,
        read: &ReadSegment,
        chunk: u64,
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| failed(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            end: read.end,
            room: read.room,
            chunk,
            stained: None,
        })
    }

    /// Bytes used.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Nothing has been appended.
    pub(crate) const fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES as u64
    }

    fn make_room(&mut self, wanted: u64) -> Result<(), JournalError> {
        let wanted = wanted.next_multiple_of(self.chunk);
        while self.room < wanted {
            let count = (wanted - self.room).min(ZEROES.len() as u64);
            let zeroes = &ZEROES[..usize::try_from(count).unwrap_or(ZEROES.len())];
            self.file
                .write_all_at(zeroes, self.room)
                .map_err(|source| failed(&self.path, source))?;
            self.room += count;
        }
        Ok(())
    }

    /// Writes a frame and syncs it; on error it does not count.
    pub(crate) fn append(&mut self, frame: &[u8]) -> Result<(), JournalError> {
        self.clean()?;
        let end = self.end + frame.len() as u64;
        // One byte more than needed: the reader always finds the end of the log within the file.
        self.make_room(end + 1)?;
        self.stained = Some(end);
        let written = self.file.write_all_at(frame, self.end).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            let error = failed(&self.path, source);
            if let Err(still) = self.clean() {
                tracing::warn!(error = %still, "a failed append is undone at the next one");
            }
            return Err(error);
        }
        self.stained = None;
        self.end = end;
        Ok(())
    }

    /// Undoes what a failed append may have written, so that it does not come back at the next start.
    fn clean(&mut self) -> Result<(), JournalError> {
        let Some(until) = self.stained else {
            return Ok(());
        };
        let length = usize::try_from(until - self.end).unwrap_or(usize::MAX);
        self.file
            .write_all_at(&vec![0; length], self.end)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| failed(&self.path, source))?;
        self.stained = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{contract::RecordChange, disk::frame::write_frame};

    const START: Link = Link { revision: 0, chain: 0 };

    fn record(revision: u64, value: &'static str) -> Record {
        Record {
            revision,
            at_ms: 0,
            changes: vec![RecordChange {
                key: Arc::from("/a"),
                value: Bytes::from_static(value.as_bytes()),
                index: Bytes::new(),
                deleted: false,
            }],
        }
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_the_segment_usable() {
        let folder = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(folder.path(), START, 64).unwrap();
        let (frame, link) =
            write_frame(&[record(1, "a value longer than a chunk of sixty-four bytes")], START)
                .unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut segment.file, full);
        let error = segment.append(&frame).unwrap_err();
        assert!(matches!(error, JournalError::Full { .. }), "{error:?}");
        segment.file = file;
        segment.append(&frame).unwrap();
        let read = read_segment(&segment.path).unwrap();
        assert_eq!((read.link, read.records.len()), (link, 1));
    }

    #[test]
    fn what_a_failed_append_left_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(folder.path(), START, 4096).unwrap();
        let (refused, _link) =
            write_frame(&[record(1, "refused, and longer than what follows")], START).unwrap();
        segment.file.write_all_at(&refused, segment.end).unwrap();
        assert_eq!(read_segment(&segment.path).unwrap().records.len(), 1);
        segment.stained = Some(segment.end + refused.len() as u64);
        segment.clean().unwrap();
        assert_eq!(read_segment(&segment.path).unwrap().records.len(), 0);
        let (frame, link) = write_frame(&[record(1, "kept")], START).unwrap();
        segment.append(&frame).unwrap();
        assert_eq!(read_segment(&segment.path).unwrap().link, link);
    }
}
