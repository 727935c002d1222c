//! A snapshot: every row at one revision in one file; a base of the log, and the form of a backup.
//!
//! ```text
//!   magic 8 | revision 8 | chain 8 | rows 8 | xxh3 8 | blocks
//!   block: payload length 4 | rows in it 4 | payload | xxh3 of all that, on top of the one before
//! ```

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    encoding::{Reader, put_row, take_row},
    files::{damaged, failed, sync_folder},
    frame::Link,
};
use crate::contract::{JournalError, Row};

const MAGIC: [u8; 8] = *b"STEADROW";
const HEADER_BYTES: usize = 40;
const BLOCK_HEADER_BYTES: usize = 8;
/// A block is closed once it is this long: large enough to stream, small enough to hold.
const BLOCK_BYTES: usize = 256 * 1024;

pub(crate) fn snapshot_path(folder: &Path, revision: u64) -> PathBuf {
    folder.join(format!("rows-{revision:020}"))
}

/// Writes all rows; after a crash the file is there in full or not at all.
pub(crate) fn write_snapshot(
    path: &Path,
    link: Link,
    rows: &[Arc<Row>],
) -> Result<(), JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    // Rows hold secrets: nobody else reads the file.
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|file| write_to(file, link, rows))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        if temporary.exists() {
            fs::remove_file(&temporary).map_err(|source| failed(&temporary, source))?;
        }
        return Err(failed(path, source));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_folder(folder)
}

fn write_to(file: File, link: Link, rows: &[Arc<Row>]) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&link.revision.to_le_bytes());
    header.extend_from_slice(&link.chain.to_le_bytes());
    header.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    let mut sum = xxh3_64(&header);
    header.extend_from_slice(&sum.to_le_bytes());
    out.write_all(&header)?;
    let mut rows = rows.iter().peekable();
    while rows.peek().is_some() {
        let mut block = vec![0; BLOCK_HEADER_BYTES];
        let mut count: u32 = 0;
        while block.len() < BLOCK_BYTES
            && let Some(row) = rows.next()
        {
            put_row(&mut block, row);
            count += 1;
        }
        let length = u32::try_from(block.len() - BLOCK_HEADER_BYTES)
            .map_err(|_wide| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        block[0..4].copy_from_slice(&length.to_le_bytes());
        block[4..8].copy_from_slice(&count.to_le_bytes());
        sum = xxh3_64_with_seed(&block, sum);
        block.extend_from_slice(&sum.to_le_bytes());
        out.write_all(&block)?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

/// Reads a snapshot, all of it checked; each row goes to `sink`.
pub(crate) fn read_snapshot(path: &Path, mut sink: impl FnMut(Row)) -> Result<Link, JournalError> {
    let broken = || damaged(path, "its rows are not what was written");
    let file = File::open(path).map_err(|source| failed(path, source))?;
    let mut left = file.metadata().map_err(|source| failed(path, source))?.len();
    let mut input = BufReader::new(file);
    let mut take = |count: usize| -> Result<Vec<u8>, JournalError> {
        // A length is believed only as far as the file goes.
        left = left.checked_sub(count as u64).ok_or_else(broken)?;
        let mut bytes = vec![0; count];
        input.read_exact(&mut bytes).map_err(|source| failed(path, source))?;
        Ok(bytes)
    };
    let header = take(HEADER_BYTES)?;
    let (link, total, mut sum) = read_header(&header).ok_or_else(broken)?;
    let mut seen = 0;
    while seen < total {
        let mut block = take(BLOCK_HEADER_BYTES)?;
        let mut head = Reader::new(&block);
        let length = head.number32().map_err(|_malformed| broken())?;
        let count = head.number32().map_err(|_malformed| broken())?;
        block.extend(take(usize::try_from(length).map_err(|_wide| broken())?)?);
        let tail = take(8)?;
        let found = Reader::new(&tail).number64().map_err(|_malformed| broken())?;
        sum = xxh3_64_with_seed(&block, sum);
        if found != sum || count == 0 {
            return Err(broken());
        }
        let mut body = Reader::new(&block[BLOCK_HEADER_BYTES..]);
        for _ in 0..count {
            sink(take_row(&mut body).map_err(|_malformed| broken())?);
        }
        seen += u64::from(count);
    }
    if seen == total && left == 0 { Ok(link) } else { Err(broken()) }
}

fn read_header(header: &[u8]) -> Option<(Link, u64, u64)> {
    let mut reader = Reader::new(header);
    let magic = reader.take(MAGIC.len()).ok()?;
    let revision = reader.number64().ok()?;
    let chain = reader.number64().ok()?;
    let rows = reader.number64().ok()?;
    let sum = reader.number64().ok()?;
    let sound = magic == MAGIC && xxh3_64(&header[..32]) == sum;
    sound.then_some((Link { revision, chain }, rows, sum))
}
