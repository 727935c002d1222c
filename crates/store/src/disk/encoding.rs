//! How rows and records are written as bytes: little-endian numbers, counted strings.
//!
//! Decoding never trusts a length: each is held against what is left.

use std::sync::Arc;

use bytes::Bytes;

use crate::contract::{Record, RecordChange, Row};

/// Reads numbers and counted bytes off a slice.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

/// The bytes end too early or do not mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Reader<'a> {
    pub(crate) const fn new(left: &'a [u8]) -> Self {
        Self { left }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.left.split_at_checked(count).ok_or(Malformed)?;
        self.left = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_short| Malformed)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn number32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn number64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(self.number32()?).map_err(|_wide| Malformed)?;
        self.take(count)
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        // A copy of its own: a slice would keep the whole file in memory for one row.
        Ok(Bytes::copy_from_slice(self.counted()?))
    }

    fn text(&mut self) -> Result<Arc<str>, Malformed> {
        std::str::from_utf8(self.counted()?).map(Arc::from).map_err(|_not_utf8| Malformed)
    }
}

/// The longest key, value or index: what a 32-bit count can say.
pub(crate) const COUNTED_BYTES_MAX: usize = u32::MAX as usize;

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= COUNTED_BYTES_MAX, "the store refuses longer ones");
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_row(out: &mut Vec<u8>, row: &Row) {
    put_counted(out, row.key.as_bytes());
    out.extend_from_slice(&row.revision.to_le_bytes());
    put_counted(out, &row.value);
    put_counted(out, &row.index);
}

pub(crate) fn take_row(from: &mut Reader<'_>) -> Result<Row, Malformed> {
    Ok(Row {
        key: from.text()?,
        revision: from.number64()?,
        value: from.bytes()?,
        index: from.bytes()?,
    })
}

pub(crate) fn put_record(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(&record.at_ms.to_le_bytes());
    let count = u32::try_from(record.changes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for change in &record.changes {
        out.push(u8::from(change.deleted));
        put_counted(out, change.key.as_bytes());
        put_counted(out, &change.value);
        put_counted(out, &change.index);
    }
}

pub(crate) fn take_record(from: &mut Reader<'_>, revision: u64) -> Result<Record, Malformed> {
    let at_ms = from.number64()?;
    let count = from.number32()?;
    let mut changes = Vec::new();
    for _ in 0..count {
        let deleted = match from.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        changes.push(RecordChange {
            key: from.text()?,
            value: from.bytes()?,
            index: from.bytes()?,
            deleted,
        });
    }
    Ok(Record { revision, at_ms, changes })
}
