//! A frame: one synced batch of records in the log, checked and chained.
//!
//! ```text
//!   magic 4 | payload length 4 | first revision 8 | records 4 | zero 4 | chain 8 | payload | xxh3 8
//! ```
//!
//! The checksum covers everything before it, `chain` is the checksum of the frame before: a frame
//! counts only as the successor of exactly that one, so nothing left over from an earlier, torn or
//! undone write can pass for the continuation of the log.

use xxhash_rust::xxh3::xxh3_64;

use super::encoding::{Reader, put_record, take_record};
use crate::contract::Record;

const MAGIC: u32 = u32::from_le_bytes(*b"stea");
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

/// What stands between two batches: the last revision, and the checksum of the frame that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) revision: u64,
    pub(crate) chain: u64,
}

/// A frame that was read.
pub(crate) struct Frame {
    pub(crate) records: Vec<Record>,
    pub(crate) bytes: usize,
    pub(crate) link: Link,
}

/// The bytes of a frame for these records, and the link that it makes.
///
/// `None` where the batch is longer than a frame can say (4 GiB).
pub(crate) fn write_frame(records: &[Record], after: Link) -> Option<(Vec<u8>, Link)> {
    let mut out = vec![0; HEADER_BYTES];
    for record in records {
        put_record(&mut out, record);
    }
    let payload = u32::try_from(out.len() - HEADER_BYTES).ok()?;
    let count = u32::try_from(records.len()).ok()?;
    out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    out[4..8].copy_from_slice(&payload.to_le_bytes());
    out[8..16].copy_from_slice(&(after.revision + 1).to_le_bytes());
    out[16..20].copy_from_slice(&count.to_le_bytes());
    out[24..32].copy_from_slice(&after.chain.to_le_bytes());
    let chain = xxh3_64(&out);
    out.extend_from_slice(&chain.to_le_bytes());
    let revision = after.revision + u64::from(count);
    Some((out, Link { revision, chain }))
}

/// The frame at the start of these bytes, if it is whole and follows `after`.
pub(crate) fn read_frame(bytes: &[u8], after: Link) -> Option<Frame> {
    let mut header = Reader::new(bytes.get(..HEADER_BYTES)?);
    if header.number32().ok()? != MAGIC {
        return None;
    }
    let payload = usize::try_from(header.number32().ok()?).ok()?;
    let first = header.number64().ok()?;
    let count = header.number32().ok()?;
    let zero = header.number32().ok()?;
    let chain = header.number64().ok()?;
    let checked = HEADER_BYTES.checked_add(payload)?;
    let end = checked.checked_add(CHECKSUM_BYTES)?;
    let sum = Reader::new(bytes.get(checked..end)?).number64().ok()?;
    let follows = first == after.revision + 1 && chain == after.chain && zero == 0 && count > 0;
    if !follows || xxh3_64(&bytes[..checked]) != sum {
        return None;
    }
    let mut body = Reader::new(&bytes[HEADER_BYTES..checked]);
    let mut records = Vec::new();
    for number in 0..u64::from(count) {
        records.push(take_record(&mut body, first + number).ok()?);
    }
    body.is_empty().then_some(Frame {
        records,
        bytes: end,
        link: Link { revision: after.revision + u64::from(count), chain: sum },
    })
}
