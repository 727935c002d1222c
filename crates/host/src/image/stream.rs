//! Byte streams of images: hashed while they are read, unpacked whatever packed them.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use ring::digest::{Context, SHA256};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Reads through and keeps the SHA-256 of all that passed.
pub(super) struct Hashed<R> {
    inner: R,
    context: Context,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, context: Context::new(&SHA256) }
    }

    /// Reads the rest, and returns `sha256:…` of everything.
    pub(super) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex(self.context.finish().as_ref())))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.context.update(&buffer[..count]);
        Ok(count)
    }
}

/// `sha256:…` of these bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(ring::digest::digest(&SHA256, bytes).as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// A stream without its packing: gzip, zstd or none, told by its first bytes.
pub(super) enum Unpacked<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Peeked<R>>>>),
    Zstd(Box<Frames<Peeked<R>>>),
}

impl<R: Read> Unpacked<R> {
    /// Reads up to four bytes of `inner` to see what packed it.
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut magic = Vec::new();
        inner.by_ref().take(4).read_to_end(&mut magic)?;
        let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
        let is_zstd = magic == [0x28, 0xb5, 0x2f, 0xfd];
        let whole = Cursor::new(magic).chain(inner);
        Ok(if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, whole))))
        } else if is_zstd {
            Self::Zstd(Box::new(Frames::new(whole)))
        } else {
            Self::Plain(whole)
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Gzip(inner) => inner.read(buffer),
            Self::Zstd(inner) => inner.read(buffer),
        }
    }
}

/// Zstandard frames one after another; skippable ones are skipped (`zstd:chunked` ends in them).
pub(super) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: Read> Frames<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), is_inside: false }
    }

    /// Begins the next frame; false at the end of the stream.
    fn enter(&mut self) -> io::Result<bool> {
        let mut magic = [0; 4];
        if self.source.read(&mut magic[..1])? == 0 {
            return Ok(false);
        }
        self.source.read_exact(&mut magic[1..])?;
        match self.decoder.init(Cursor::new(magic).chain(&mut self.source)) {
            Ok(()) => self.is_inside = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
            }
        }
        Ok(true)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_inside {
                if !self.enter()? {
                    return Ok(0);
                }
                continue;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| {
                        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                    })?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.is_inside = false;
        }
    }
}
