//! The small files of a store's folder, and how the system's errors are told.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::contract::{JournalError, OpenError};

/// The newest format of a folder that this code reads, and the one that it writes.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";

pub(crate) fn failed(path: &Path, source: std::io::Error) -> JournalError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            JournalError::Full { path }
        }
        _ => JournalError::Io { path, source },
    }
}

pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), what: what.into() }
}

/// Makes names in this folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(|source| failed(folder, source))
}

/// Writes a whole file so that after a crash it is there in full or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| failed(path, source))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Takes the folder for this process, as long as the answer lives.
pub(crate) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| OpenError::Journal(failed(&path, source)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Journal(failed(&path, source))),
    }
}

fn format_line(format: u32) -> String {
    let words = format!("stead store format {format}");
    let sum = xxh3_64(words.as_bytes());
    format!("{words} {sum:016x}\n")
}

/// Is there a store in this folder, of a format that can be read? `false` for a new folder.
pub(crate) fn check_format(folder: &Path) -> Result<bool, OpenError> {
    let path = folder.join(FORMAT_FILE);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(OpenError::Journal(failed(&path, source))),
    };
    let found = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.strip_prefix("stead store format "))
        .and_then(|rest| rest.split_once(' '))
        .and_then(|(number, _sum)| number.parse::<u32>().ok())
        .filter(|&number| format_line(number).as_bytes() == text);
    match found {
        Some(found) if found > FORMAT => {
            Err(OpenError::Newer { path: folder.to_owned(), found, known: FORMAT })
        }
        Some(_) => Ok(true),
        None => Err(OpenError::Journal(damaged(&path, "it does not name a format"))),
    }
}

pub(crate) fn write_format(folder: &Path) -> Result<(), JournalError> {
    write_whole(&folder.join(FORMAT_FILE), format_line(FORMAT).as_bytes())
}

/// The files of a folder by what they are; leftovers of unfinished writes are removed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// First revisions of the segments, in order.
    pub(crate) segments: Vec<u64>,
    /// Revisions of the snapshots, in order.
    pub(crate) snapshots: Vec<u64>,
}

pub(crate) fn find(folder: &Path) -> Result<Found, JournalError> {
    let mut found = Found::default();
    let entries = fs::read_dir(folder).map_err(|source| failed(folder, source))?;
    for entry in entries {
        let path: PathBuf = entry.map_err(|source| failed(folder, source))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        } else if let Some(number) = name.strip_prefix("log-") {
            found.segments.push(numbered(&path, number)?);
        } else if let Some(number) = name.strip_prefix("rows-") {
            found.snapshots.push(numbered(&path, number)?);
        }
    }
    found.segments.sort_unstable();
    found.snapshots.sort_unstable();
    Ok(found)
}

fn numbered(path: &Path, number: &str) -> Result<u64, JournalError> {
    number.parse().map_err(|_not_a_number| damaged(path, "its name is not one the store gives"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_by_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!check_format(folder.path()).unwrap());
        write_format(folder.path()).unwrap();
        assert!(check_format(folder.path()).unwrap());
        fs::write(folder.path().join(FORMAT_FILE), format_line(7)).unwrap();
        let error = check_format(folder.path()).unwrap_err().to_string();
        let path = folder.path().display();
        assert_eq!(
            error,
            format!("{path} has format 7; this stead reads up to 1: use a newer stead")
        );
        fs::write(folder.path().join(FORMAT_FILE), "stead store format 7\n").unwrap();
        let error = check_format(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Journal(JournalError::Damaged { .. })), "{error:?}");
    }
}
