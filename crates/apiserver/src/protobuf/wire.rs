//! The wire format: numbered fields, each a number or a run of bytes.

use thiserror::Error;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    NotKubernetes,
    #[error("no kind {1:?} is registered for version {0:?}")]
    UnknownKind(String, String),
    #[error("proto: unexpected end of message")]
    Truncated,
    #[error("proto: wrong wire type for a field")]
    WireType,
    #[error("proto: messages nest too deep")]
    TooDeep,
    #[error("proto: a string is not UTF-8")]
    Text,
    #[error("proto: a time is out of range")]
    Time,
    #[error("proto: an embedded object is not JSON")]
    RawJson,
}

/// What stands in a field on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datum<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
pub(super) fn read(mut rest: &[u8]) -> Result<Vec<(u32, Datum<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed::WireType)?;
        let datum = match tag & 7 {
            0 => Datum::Integer(varint(&mut rest)?),
            1 => Datum::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = varint(&mut rest)?;
                let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
                Datum::Bytes(take(&mut rest, length)?)
            }
            5 => Datum::Bytes(take(&mut rest, 4)?),
            _ => return Err(Malformed::WireType),
        };
        fields.push((number, datum));
    }
    Ok(fields)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed::Truncated)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed::Truncated)
}
