//! The note beside the log: the last acknowledged revision.
//!
//! It is written after the log's sync and before the acknowledgement, so it never claims too much,
//! and without a sync of its own, so it costs microseconds. The kernel keeps it through a kill; a
//! power cut may set it back a little, which weakens it only for damage in that last moment.
//! Two slots take turns: one bad slot leaves the other.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    encoding::Reader,
    files::{damaged, failed, write_whole},
    frame::Link,
};
use crate::contract::JournalError;

const NOTE_FILE: &str = "acknowledged";
const SLOT_BYTES: usize = 32;
/// A sector apart, so that one torn write cannot take both.
const SLOT_AT: [u64; 2] = [0, 512];

/// The open note.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    file: File,
    turn: u64,
}

fn slot(turn: u64, link: Link) -> [u8; SLOT_BYTES] {
    let mut out = [0; SLOT_BYTES];
    out[0..8].copy_from_slice(&turn.to_le_bytes());
    out[8..16].copy_from_slice(&link.revision.to_le_bytes());
    out[16..24].copy_from_slice(&link.chain.to_le_bytes());
    let sum = xxh3_64(&out[..24]);
    out[24..32].copy_from_slice(&sum.to_le_bytes());
    out
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Link)> {
    let mut reader = Reader::new(bytes);
    let turn = reader.number64().ok()?;
    let revision = reader.number64().ok()?;
    let chain = reader.number64().ok()?;
    let sum = reader.number64().ok()?;
    (xxh3_64(&bytes[..24]) == sum).then_some((turn, Link { revision, chain }))
}

pub(crate) fn note_path(folder: &Path) -> PathBuf {
    folder.join(NOTE_FILE)
}

impl Note {
    pub(crate) fn create(folder: &Path, link: Link) -> Result<Self, JournalError> {
        let path = note_path(folder);
        let mut bytes = vec![0; 1024];
        for (turn, at) in [(0, 0), (1, 512)] {
            bytes[at..at + SLOT_BYTES].copy_from_slice(&slot(turn, link));
        }
        write_whole(&path, &bytes)?;
        Self::open_file(path, 2)
    }

    fn open_file(path: PathBuf, turn: u64) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| failed(&path, source))?;
        Ok(Self { path, file, turn })
    }

    /// The note and what it says.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Link), JournalError> {
        let path = note_path(folder);
        let bytes = std::fs::read(&path).map_err(|source| failed(&path, source))?;
        let newest = [0, 512]
            .into_iter()
            .filter_map(|at| bytes.get(at..at + SLOT_BYTES).and_then(read_slot))
            .max_by_key(|(turn, _link)| *turn);
        let (turn, link) =
            newest.ok_or_else(|| damaged(&path, "neither of its two entries is whole"))?;
        Ok((Self::open_file(path, turn + 1)?, link))
    }

    pub(crate) fn write(&mut self, link: Link) -> Result<(), JournalError> {
        let at = SLOT_AT[usize::from(!self.turn.is_multiple_of(2))];
        self.file
            .write_all_at(&slot(self.turn, link), at)
            .map_err(|source| failed(&self.path, source))?;
        self.turn += 1;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|source| failed(&self.path, source))
    }
}
