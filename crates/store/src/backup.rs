//! A backup: one file with every row at one revision, taken while the store runs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use crate::{
    contract::{JournalError, Row},
    disk::{
        DiskOptions, Link, Note, Segment, failed, read_snapshot, snapshot_path, write_format,
        write_snapshot,
    },
    store::Store,
};

/// How far a restored store's revisions jump.
///
/// After the backup was taken the old store may have gone on, and clients may know its later
/// revisions. None of them may be given to something else; a thousand million commits are years.
const RESTORE_REVISIONS: u64 = 1_000_000_000;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The revision that it shows.
    pub revision: u64,
    /// How many rows.
    pub rows: usize,
}

/// Why a backup was not made or not restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file is damaged, or reading or writing failed.
    #[error("the backup could not be carried out")]
    Journal(#[source] JournalError),
    /// There is something in the folder already.
    #[error("{} is not empty: restore into a new folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The thread that wrote it was lost.
    #[error("the writing of {} was broken off", path.display())]
    BrokenOff {
        /// The file.
        path: PathBuf,
    },
}

impl Store {
    /// Writes every row at the latest revision to a file, which is there in full or not at all.
    ///
    /// # Errors
    ///
    /// `Journal` when the file cannot be written.
    pub async fn backup(&self, file: &Path) -> Result<Backup, BackupError> {
        let listing = self.everything();
        let path = file.to_owned();
        let link = Link { revision: listing.revision, chain: 0 };
        let rows = listing.rows.len();
        let written =
            tokio::task::spawn_blocking(move || write_snapshot(&path, link, &listing.rows)).await;
        match written {
            Ok(Ok(())) => Ok(Backup { revision: link.revision, rows }),
            Ok(Err(error)) => Err(BackupError::Journal(error)),
            Err(_broken) => Err(BackupError::BrokenOff { path: file.to_owned() }),
        }
    }
}

/// The rows of a backup and the revision that they show, all of the file checked.
///
/// # Errors
///
/// `Journal` names what is damaged.
pub fn read_backup(file: &Path) -> Result<(u64, Vec<Row>), BackupError> {
    let mut rows = Vec::new();
    let found = read_snapshot(file, |row| rows.push(row)).map_err(BackupError::Journal)?;
    Ok((found.revision, rows))
}

/// Makes a store of a backup in a folder that is empty or not there yet.
///
/// Its next revision is 1 000 000 000 further than the backup's, so that no revision ever means two things.
///
/// # Errors
///
/// `NotEmpty`; `Journal` names a damaged backup before anything is written.
pub fn restore(file: &Path, folder: &Path) -> Result<Backup, BackupError> {
    let mut rows = Vec::new();
    let found =
        read_snapshot(file, |row| rows.push(Arc::new(row))).map_err(BackupError::Journal)?;
    let broken = |path: &Path, source| BackupError::Journal(failed(path, source));
    fs::create_dir_all(folder).map_err(|source| broken(folder, source))?;
    let mut entries = fs::read_dir(folder).map_err(|source| broken(folder, source))?;
    if entries.next().is_some() {
        return Err(BackupError::NotEmpty { path: folder.to_owned() });
    }
    let link = Link { revision: found.revision + RESTORE_REVISIONS, chain: 0 };
    let write = || -> Result<(), JournalError> {
        write_format(folder)?;
        write_snapshot(&snapshot_path(folder, link.revision), link, &rows)?;
        Segment::create(folder, link, DiskOptions::default().chunk_bytes)?;
        Note::create(folder, link)?.sync()
    };
    write().map_err(BackupError::Journal)?;
    Ok(Backup { revision: link.revision, rows: rows.len() })
}
