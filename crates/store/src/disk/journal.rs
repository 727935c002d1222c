//! The journal over its files: open and check, append, start new segments, forget old ones.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use super::{
    files::{check_format, damaged, failed, find, lock, sync_folder, write_format},
    frame::{Link, write_frame},
    note::{Note, note_path},
    segment::{ReadSegment, Segment, read_segment, segment_path},
    snapshot::{read_snapshot, snapshot_path, write_snapshot},
};
use crate::contract::{Journal, JournalError, OpenError, Record, Replay, Row};

/// Sizes of the journal's files.
#[derive(Debug, Clone, Copy)]
pub struct DiskOptions {
    /// A segment of the log that is longer is followed by another (or longer than all rows, where
    /// those are more: then snapshots write at most as much again as the log does). 32 MiB: read at
    /// start in some tens of milliseconds.
    pub segment_bytes: u64,
    /// How much room is written ahead at a time. 1 MiB: a millisecond in some hundred commits.
    pub chunk_bytes: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024, chunk_bytes: 1024 * 1024 }
    }
}

/// The journal in a folder.
#[derive(Debug)]
pub struct DiskJournal {
    folder: PathBuf,
    options: DiskOptions,
    /// Held, never read: the folder is ours as long as this lives.
    _lock: File,
    note: Note,
    current: Segment,
    link: Link,
    /// First revisions of the segments, the current one last.
    segments: Vec<u64>,
    snapshots: Vec<u64>,
    rows: BTreeMap<Arc<str>, Arc<Row>>,
    rows_bytes: u64,
    snapshotting: Option<JoinHandle<Result<u64, JournalError>>>,
    replay: Replay,
}

impl DiskJournal {
    /// Opens the journal in this folder, making it where there is none, and checks all of it.
    ///
    /// # Errors
    ///
    /// `Locked` while another process has it, `Newer` for a format of a later stead, and `Journal`
    /// when something on disk is not what was written: the error names the file.
    pub fn open(folder: &Path, options: DiskOptions) -> Result<Self, OpenError> {
        fs::create_dir_all(folder).map_err(|source| OpenError::Journal(failed(folder, source)))?;
        let lock = lock(folder)?;
        let known = check_format(folder)?;
        Self::open_locked(folder, options, lock, known).map_err(OpenError::Journal)
    }

    fn open_locked(
        folder: &Path,
        options: DiskOptions,
        lock: File,
        known: bool,
    ) -> Result<Self, JournalError> {
        let found = find(folder)?;
        let noted = note_path(folder).exists();
        if !known {
            let empty = found.segments.is_empty() && found.snapshots.is_empty() && !noted;
            if !empty {
                return Err(damaged(folder, "the file `format` is missing"));
            }
            write_format(folder)?;
        }
        // The note is the last file of a new store: without it, nothing was ever acknowledged.
        let new = !noted && found.segments.len() <= 1 && found.snapshots.is_empty();
        if new {
            return Self::create(folder, options, lock, &found.segments);
        }
        if !noted {
            return Err(damaged(&note_path(folder), "it is missing"));
        }
        let (note, acknowledged) = Note::open(folder)?;
        let read = read_all(folder, &found.segments, &found.snapshots, acknowledged)?;
        let mut rows = BTreeMap::new();
        for row in &read.replay.rows {
            rows.insert(row.key.clone(), Arc::new(row.clone()));
        }
        let current = Segment::resume(&read.path, &read.last, options.chunk_bytes)?;
        let mut journal = Self {
            folder: folder.to_owned(),
            options,
            _lock: lock,
            note,
            current,
            link: read.last.link,
            segments: read.segments,
            snapshots: found.snapshots,
            rows_bytes: rows.values().map(|row| row_bytes(row)).sum(),
            rows,
            snapshotting: None,
            replay: read.replay,
        };
        let records = std::mem::take(&mut journal.replay.records);
        journal.fold(&records);
        journal.replay.records = records;
        // What was found counts from here on, whether its acknowledgement went out or not.
        journal.note.write(journal.link)?;
        Ok(journal)
    }

    fn create(
        folder: &Path,
        options: DiskOptions,
        lock: File,
        segments: &[u64],
    ) -> Result<Self, JournalError> {
        let link = Link { revision: 0, chain: 0 };
        if let Some(first) = segments.first() {
            let path = segment_path(folder, *first);
            let read = read_segment(&path)?;
            if *first != 1 || !read.records.is_empty() {
                return Err(damaged(&note_path(folder), "it is missing"));
            }
        }
        let current = Segment::create(folder, link, options.chunk_bytes)?;
        let note = Note::create(folder, link)?;
        Ok(Self {
            folder: folder.to_owned(),
            options,
            _lock: lock,
            note,
            current,
            link,
            segments: vec![1],
            snapshots: Vec::new(),
            rows: BTreeMap::new(),
            rows_bytes: 0,
            snapshotting: None,
            replay: Replay::default(),
        })
    }

    fn fold(&mut self, records: &[Record]) {
        for record in records {
            for change in &record.changes {
                let before = if change.deleted {
                    self.rows.remove(&change.key)
                } else {
                    let row = Arc::new(Row {
                        key: change.key.clone(),
                        revision: record.revision,
                        value: change.value.clone(),
                        index: change.index.clone(),
                    });
                    self.rows_bytes += row_bytes(&row);
                    self.rows.insert(change.key.clone(), row)
                };
                self.rows_bytes -= before.map_or(0, |row| row_bytes(&row));
            }
        }
    }

    /// Goes on in a new segment, with a snapshot of the rows before it on its way.
    fn rotate(&mut self) -> Result<(), JournalError> {
        self.finish_snapshot(false);
        self.note.sync()?;
        self.current = Segment::create(&self.folder, self.link, self.options.chunk_bytes)?;
        self.segments.push(self.link.revision + 1);
        if self.snapshotting.is_none() {
            let rows: Vec<Arc<Row>> = self.rows.values().cloned().collect();
            let link = self.link;
            let path = snapshot_path(&self.folder, link.revision);
            let spawned = std::thread::Builder::new()
                .name("store-snapshot".to_owned())
                .spawn(move || write_snapshot(&path, link, &rows).map(|()| link.revision));
            match spawned {
                Ok(thread) => self.snapshotting = Some(thread),
                Err(error) => {
                    tracing::warn!(%error, "no thread for a snapshot; the log stays longer")
                }
            }
        }
        Ok(())
    }

    /// Takes the answer of the snapshot's thread; without `wait` only if it is there.
    fn finish_snapshot(&mut self, wait: bool) {
        let Some(thread) = self.snapshotting.take() else {
            return;
        };
        if !wait && !thread.is_finished() {
            self.snapshotting = Some(thread);
            return;
        }
        match thread.join() {
            Ok(Ok(revision)) => self.snapshots.push(revision),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "a snapshot failed; the log stays longer until the next");
            }
            Err(_panic) => tracing::error!("the thread of a snapshot panicked"),
        }
    }
}

fn row_bytes(row: &Row) -> u64 {
    (row.key.len() + row.value.len() + row.index.len()) as u64
}

/// What the files of a folder say together.
struct ReadAll {
    replay: Replay,
    /// The last segment, and what is in it.
    path: PathBuf,
    last: ReadSegment,
    segments: Vec<u64>,
}

fn read_all(
    folder: &Path,
    segments: &[u64],
    snapshots: &[u64],
    acknowledged: Link,
) -> Result<ReadAll, JournalError> {
    let mut replay = Replay::default();
    let mut link = Link { revision: 0, chain: 0 };
    for (number, revision) in snapshots.iter().enumerate() {
        let path = snapshot_path(folder, *revision);
        let found = if number == 0 {
            read_snapshot(&path, |row| replay.rows.push(row))?
        } else {
            // Not needed now, yet a base one day: damage shows today.
            read_snapshot(&path, drop)?
        };
        if found.revision != *revision {
            return Err(damaged(&path, "it holds another revision than its name says"));
        }
        if number == 0 {
            link = found;
        }
    }
    replay.base = link.revision;
    let kept: Vec<u64> = segments.iter().copied().filter(|first| *first > link.revision).collect();
    let mut last = None;
    for first in &kept {
        let path = segment_path(folder, *first);
        let mut read = read_segment(&path)?;
        if read.after != link || *first != link.revision + 1 {
            // The one before has lost its end, or a whole file is gone.
            let before = last.map_or_else(|| folder.to_owned(), |(path, _read)| path);
            return Err(damaged(
                &before,
                format!("the log breaks off after revision {}", link.revision),
            ));
        }
        link = read.link;
        replay.records.append(&mut read.records);
        last = Some((path, read));
    }
    let Some((path, last)) = last else {
        return Err(damaged(
            folder,
            format!("the log after revision {} is missing", link.revision),
        ));
    };
    if link.revision < acknowledged.revision {
        let (ends, noted) = (link.revision, acknowledged.revision);
        let what = format!("it ends at revision {ends}, but {noted} was acknowledged");
        return Err(damaged(&path, what));
    }
    if link.revision == acknowledged.revision && link.chain != acknowledged.chain {
        return Err(damaged(&path, "it is not the log whose end was acknowledged"));
    }
    for first in segments.iter().filter(|first| **first <= replay.base) {
        let path = segment_path(folder, *first);
        fs::remove_file(&path).map_err(|source| failed(&path, source))?;
    }
    Ok(ReadAll { replay, path, last, segments: kept })
}

impl Journal for DiskJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let Some((frame, link)) = write_frame(records, self.link) else {
            let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(failed(&self.current.path, source));
        };
        let full = self.options.segment_bytes.max(self.rows_bytes);
        if !self.current.is_empty() && self.current.end() + frame.len() as u64 > full {
            self.rotate()?;
        }
        self.current.append(&frame)?;
        self.link = link;
        self.fold(records);
        // The batch is on disk whatever becomes of the note, which only helps to find damage.
        if let Err(error) = self.note.write(link) {
            tracing::warn!(error = %error, "the last acknowledged revision could not be noted");
        }
        Ok(())
    }

    fn replay(&mut self) -> Result<Replay, JournalError> {
        Ok(std::mem::take(&mut self.replay))
    }

    fn compact(&mut self, through: u64) -> Result<(), JournalError> {
        self.finish_snapshot(false);
        let Some(base) = self.snapshots.iter().copied().filter(|at| *at <= through).max() else {
            return Ok(());
        };
        let old = |at: &u64| *at < base;
        // Snapshots before segments: an older base without its log would look like a gap.
        while let Some(at) = self.snapshots.iter().position(old) {
            let path = snapshot_path(&self.folder, self.snapshots[at]);
            fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            self.snapshots.remove(at);
        }
        let mut removed = false;
        while self.segments.len() > 1 && self.segments[0] <= base {
            if !removed {
                sync_folder(&self.folder)?;
                removed = true;
            }
            let path = segment_path(&self.folder, self.segments[0]);
            fs::remove_file(&path).map_err(|source| failed(&path, source))?;
            self.segments.remove(0);
        }
        Ok(())
    }
}

impl Drop for DiskJournal {
    fn drop(&mut self) {
        self.finish_snapshot(true);
        if let Err(error) = self.note.sync() {
            tracing::warn!(error = %error, "the last acknowledged revision could not be synced");
        }
    }
}
