//! Frames of SPDY/3.1: bytes to values and back, without any I/O.
//!
//! Headers are compressed with one context for each direction of a connection, so that every
//! frame with headers has to be read, also where nobody wants it.
//!
//! Source: draft-mbelshe-httpbis-spdy-00, section 2.6, as moby/spdystream speaks it.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use super::dictionary::DICTIONARY;

/// Most bytes of a control frame. Clients send some hundred: four headers of a few bytes.
pub(crate) const CONTROL_MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a frame's headers, unpacked: a small frame can unpack to a thousand times more.
const HEADERS_MAX_BYTES: usize = 64 * 1024;
/// Most headers of a frame. Source: spdystream's default.
const HEADERS_MAX: u32 = 1000;
/// Most bytes of a data frame that are given on at once.
const PIECE_MAX_BYTES: usize = 32 * 1024;

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const FIN: u8 = 1;

/// Names (in lower case) and values of one frame.
pub(crate) type Headers = BTreeMap<String, String>;

/// One frame, or a piece of a data frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream.
    Open { id: u32, fin: bool, headers: Headers },
    /// The other side takes it.
    Reply { id: u32, fin: bool, headers: Headers },
    /// Its end, both ways.
    Reset { id: u32, status: u32 },
    /// To be sent back as it is.
    Ping(u32),
    /// No new streams follow.
    GoAway { last: u32, status: u32 },
    /// More headers of a stream.
    Headers { id: u32, fin: bool, headers: Headers },
    /// Bytes of a stream; `fin` ends this direction.
    Data { id: u32, fin: bool, bytes: Bytes },
    /// Settings, credit and whatever else needs no answer.
    Other(u16),
}

/// `RST_STREAM`: the frame does not fit the stream.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
/// `RST_STREAM`: the stream is not wanted.
pub(crate) const REFUSED: u32 = 3;
/// `RST_STREAM`: the stream is not needed any more.
pub(crate) const CANCEL: u32 = 5;

/// What ends a connection: the other side does not speak SPDY, or asks for too much.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Broken {
    #[error("SPDY version {0} is not spoken here")]
    Version(u16),
    #[error("a control frame of {0} bytes is too long")]
    Long(usize),
    #[error("a frame of type {0} is cut off")]
    Short(u16),
    #[error("headers are not what SPDY compresses: {0}")]
    Headers(String),
}

/// Takes frames out of bytes as they come.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
    /// The data frame whose bytes come next: its stream, whether it ends it, bytes missing.
    data: Option<(u32, bool, usize)>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(true), data: None }
    }

    /// Where bytes that were received go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame; `None` until more bytes are there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some((id, fin, left)) = self.data {
            return Ok(self.piece(id, fin, left));
        }
        let Some(head) = self.buffer.get(..8) else { return Ok(None) };
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let second = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let flags = head[4];
        let length = (second & 0x00ff_ffff) as usize;
        if first & 0x8000_0000 == 0 {
            self.buffer.advance(8);
            let fin = flags & FIN != 0;
            self.data = Some((first, fin, length));
            return Ok(self.piece(first, fin, length));
        }
        let [high, low, kind_high, kind_low] = first.to_be_bytes();
        let version = u16::from_be_bytes([high & 0x7f, low]);
        if version != VERSION {
            return Err(Broken::Version(version));
        }
        if length > CONTROL_MAX_BYTES {
            return Err(Broken::Long(length));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let payload = self.buffer.split_to(length).freeze();
        self.control(u16::from_be_bytes([kind_high, kind_low]), flags, payload).map(Some)
    }

    fn piece(&mut self, id: u32, fin: bool, left: usize) -> Option<Frame> {
        if left > 0 && self.buffer.is_empty() {
            return None;
        }
        let count = left.min(self.buffer.len()).min(PIECE_MAX_BYTES);
        let bytes = self.buffer.split_to(count).freeze();
        let left = left - count;
        self.data = (left > 0).then_some((id, fin, left));
        Some(Frame::Data { id, fin: fin && left == 0, bytes })
    }

    fn control(&mut self, kind: u16, flags: u8, mut payload: Bytes) -> Result<Frame, Broken> {
        let fin = flags & FIN != 0;
        let number = |payload: &mut Bytes| {
            if payload.len() < 4 { Err(Broken::Short(kind)) } else { Ok(payload.get_u32()) }
        };
        Ok(match kind {
            SYN_STREAM => {
                let id = number(&mut payload)? & 0x7fff_ffff;
                number(&mut payload)?; // The stream it belongs to: none that we know.
                if payload.len() < 2 {
                    return Err(Broken::Short(kind));
                }
                payload.advance(2); // Priority and slot.
                Frame::Open { id, fin, headers: self.headers(&payload)? }
            }
            SYN_REPLY | HEADERS => {
                let id = number(&mut payload)? & 0x7fff_ffff;
                let headers = self.headers(&payload)?;
                if kind == HEADERS {
                    Frame::Headers { id, fin, headers }
                } else {
                    Frame::Reply { id, fin, headers }
                }
            }
            RST_STREAM => {
                let id = number(&mut payload)? & 0x7fff_ffff;
                Frame::Reset { id, status: number(&mut payload)? }
            }
            PING => Frame::Ping(number(&mut payload)?),
            GOAWAY => {
                let last = number(&mut payload)? & 0x7fff_ffff;
                Frame::GoAway { last, status: number(&mut payload)? }
            }
            other => Frame::Other(other),
        })
    }

    fn headers(&mut self, packed: &[u8]) -> Result<Headers, Broken> {
        let plain = self.inflate(packed)?;
        let mut rest = &plain[..];
        let count = take_u32(&mut rest)?;
        if count > HEADERS_MAX {
            return Err(Broken::Headers(format!("{count} of them")));
        }
        let mut headers = Headers::new();
        for _ in 0..count {
            let name = take_text(&mut rest)?.to_ascii_lowercase();
            let value = take_text(&mut rest)?;
            // Several values of one name are joined by zero bytes; the first one counts.
            let value = value.split('\0').next().unwrap_or_default();
            headers.insert(name, value.to_owned());
        }
        Ok(headers)
    }

    fn inflate(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            let before = self.inflate.total_in();
            let filled = plain.len();
            let result = self.inflate.decompress_vec(packed, &mut plain, FlushDecompress::Sync);
            let read = usize::try_from(self.inflate.total_in() - before).unwrap_or(packed.len());
            packed = packed.get(read..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return Err(Broken::Headers("they end".to_owned())),
                Ok(_) if plain.len() > HEADERS_MAX_BYTES => {
                    return Err(Broken::Headers("too long".to_owned()));
                }
                Ok(_) if packed.is_empty() && plain.len() < plain.capacity() => return Ok(plain),
                Ok(_) => {
                    if read == 0 && plain.len() == filled && plain.len() < plain.capacity() {
                        return Err(Broken::Headers("no progress".to_owned()));
                    }
                    plain.reserve(4096);
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.inflate.set_dictionary(&DICTIONARY);
                    set.map_err(|error| Broken::Headers(error.to_string()))?;
                }
                Err(error) => return Err(Broken::Headers(error.to_string())),
            }
        }
    }
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, Broken> {
    let (number, after) =
        rest.split_first_chunk().ok_or_else(|| Broken::Headers("cut off".to_owned()))?;
    *rest = after;
    Ok(u32::from_be_bytes(*number))
}

fn take_text(rest: &mut &[u8]) -> Result<String, Broken> {
    let length = take_u32(rest)? as usize;
    let (text, after) =
        rest.split_at_checked(length).ok_or_else(|| Broken::Headers("cut off".to_owned()))?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Turns frames into bytes.
#[derive(Debug)]
pub(crate) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    /// # Errors
    ///
    /// When the compression does not take its dictionary, which would be a mistake in it.
    pub(crate) fn new() -> Result<Self, Broken> {
        let mut deflate = Compress::new(Compression::fast(), true);
        let set = deflate.set_dictionary(&DICTIONARY);
        set.map_err(|error| Broken::Headers(error.to_string()))?;
        Ok(Self { deflate })
    }

    /// Appends the frame's bytes. Data longer than 2^24 - 1 bytes goes out as several frames.
    pub(crate) fn put(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Broken> {
        match frame {
            Frame::Open { id, fin, headers } => {
                let mut payload = id.to_be_bytes().to_vec();
                payload.extend_from_slice(&[0; 6]);
                self.pack(headers, &mut payload)?;
                control(SYN_STREAM, u8::from(*fin), &payload, out);
            }
            Frame::Reply { id, fin, headers } => {
                let mut payload = id.to_be_bytes().to_vec();
                self.pack(headers, &mut payload)?;
                control(SYN_REPLY, u8::from(*fin), &payload, out);
            }
            Frame::Headers { id, fin, headers } => {
                let mut payload = id.to_be_bytes().to_vec();
                self.pack(headers, &mut payload)?;
                control(HEADERS, u8::from(*fin), &payload, out);
            }
            Frame::Reset { id, status } => {
                control(RST_STREAM, 0, &[id.to_be_bytes(), status.to_be_bytes()].concat(), out);
            }
            Frame::Ping(id) => control(PING, 0, &id.to_be_bytes(), out),
            Frame::GoAway { last, status } => {
                control(GOAWAY, 0, &[last.to_be_bytes(), status.to_be_bytes()].concat(), out);
            }
            Frame::Data { id, fin, bytes } => {
                let mut rest = &bytes[..];
                loop {
                    let (now, later) = rest.split_at(rest.len().min(0x00ff_ffff));
                    out.extend_from_slice(&id.to_be_bytes());
                    head(u8::from(*fin && later.is_empty()), now.len(), out);
                    out.extend_from_slice(now);
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
            }
            // None of ours.
            Frame::Other(_) => (),
        }
        Ok(())
    }

    fn pack(&mut self, headers: &Headers, out: &mut Vec<u8>) -> Result<(), Broken> {
        let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut plain = u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        for (name, value) in headers {
            for text in [name.as_bytes(), value.as_bytes()] {
                plain.extend_from_slice(&length(text));
                plain.extend_from_slice(text);
            }
        }
        let mut rest = &plain[..];
        loop {
            out.reserve(plain.len() + 64);
            let before = self.deflate.total_in();
            let packed = self.deflate.compress_vec(rest, out, FlushCompress::Sync);
            packed.map_err(|error| Broken::Headers(error.to_string()))?;
            let read = usize::try_from(self.deflate.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(read..).unwrap_or_default();
            // Room that is left says that all was flushed.
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

fn control(kind: u16, flags: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    head(flags, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Flags and length: one and three bytes.
fn head(flags: u8, length: usize, out: &mut Vec<u8>) {
    let [_, rest @ ..] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.push(flags);
    out.extend_from_slice(&rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, Broken> {
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    #[test]
    fn frames_come_back_as_they_went() {
        let long = "x".repeat(5000);
        let frames = [
            Frame::Open { id: 1, fin: false, headers: headers(&[("streamtype", "stdin")]) },
            Frame::Open { id: 3, fin: true, headers: headers(&[("a", &long), ("port", "80")]) },
            Frame::Reply { id: 1, fin: false, headers: Headers::new() },
            Frame::Headers { id: 1, fin: true, headers: headers(&[("status", "200 OK")]) },
            Frame::Reset { id: 1, status: CANCEL },
            Frame::Ping(7),
            Frame::GoAway { last: 3, status: 0 },
            Frame::Data { id: 1, fin: false, bytes: Bytes::from_static(b"hello") },
            Frame::Data { id: 1, fin: true, bytes: Bytes::new() },
        ];
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = Vec::new();
        for frame in &frames {
            encoder.put(frame, &mut bytes).unwrap();
        }
        let mut whole = Decoder::new();
        whole.buffer().extend_from_slice(&bytes);
        assert_eq!(all(&mut whole).unwrap(), frames);
        // One byte at a time: data comes in pieces, the rest whole.
        let mut slow = Decoder::new();
        let mut seen = Vec::new();
        for byte in bytes {
            slow.buffer().extend_from_slice(&[byte]);
            seen.extend(all(&mut slow).unwrap());
        }
        assert_eq!(seen[..7], frames[..7]);
        assert_eq!(seen.len(), 7 + 5 + 1);
    }

    #[test]
    fn what_is_refused() {
        let broken = |bytes: &[u8]| {
            let mut decoder = Decoder::new();
            decoder.buffer().extend_from_slice(bytes);
            all(&mut decoder).unwrap_err()
        };
        assert_eq!(broken(&[0x80, 2, 0, 1, 0, 0, 0, 0]), Broken::Version(2));
        assert_eq!(broken(&[0x80, 3, 0, 1, 0, 255, 0, 0]), Broken::Long(0xff_0000));
        assert_eq!(broken(&[0x80, 3, 0, 6, 0, 0, 0, 1, 0]), Broken::Short(PING));
        assert!(matches!(
            broken(&[0x80, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, 1, 9, 9]),
            Broken::Headers(_)
        ));
    }

    #[test]
    fn a_small_frame_does_not_become_a_large_one() {
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = Vec::new();
        let large = headers(&[("a", &"z".repeat(HEADERS_MAX_BYTES * 4))]);
        encoder.put(&Frame::Open { id: 1, fin: false, headers: large }, &mut bytes).unwrap();
        assert!(bytes.len() < 4096);
        let mut decoder = Decoder::new();
        decoder.buffer().extend_from_slice(&bytes);
        assert_eq!(all(&mut decoder), Err(Broken::Headers("too long".to_owned())));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut decoder = Decoder::new();
            decoder.buffer().extend_from_slice(&bytes);
            drop(all(&mut decoder));
        }

        #[test]
        fn no_headers_panic(
            kind in 1_u8..=9,
            flags in any::<u8>(),
            tail in prop::collection::vec(any::<u8>(), 0..200),
            damage in (0_usize..80, any::<u8>()),
        ) {
            let mut encoder = Encoder::new().unwrap();
            let mut bytes = Vec::new();
            let frame =
                Frame::Open { id: 1, fin: false, headers: headers(&[("streamtype", "error")]) };
            encoder.put(&frame, &mut bytes).unwrap();
            let length = bytes.len();
            bytes[damage.0 % length] ^= damage.1;
            bytes.extend_from_slice(&[0x80, 3, 0, kind, flags, 0, 0]);
            bytes.push(u8::try_from(tail.len()).unwrap());
            bytes.extend_from_slice(&tail);
            let mut decoder = Decoder::new();
            decoder.buffer().extend_from_slice(&bytes);
            drop(all(&mut decoder));
        }
    }
}
