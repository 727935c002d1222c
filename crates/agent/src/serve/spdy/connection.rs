//! One SPDY connection: streams that the client opens, over any stream of bytes.
//!
//! There is no credit (spdystream gives none and ignores it): a stream that nobody reads holds
//! up its connection once its queue is full.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, Encoder, Frame, Headers, PROTOCOL_ERROR, REFUSED};

/// Streams of one connection at the same time: port-forward takes two for each connection.
pub(crate) const STREAMS_MAX: usize = 1024;
/// Frames to be sent that wait, and pieces of one stream that were received and wait.
const QUEUE_MAX: usize = 16;
/// Bytes read at once.
const READ_BYTES: usize = 32 * 1024;

/// The streams that a client opens.
#[derive(Debug)]
pub(crate) struct Streams {
    opened: mpsc::Receiver<Incoming>,
    /// Keeps the connection open; dropping it and every [`Sink`] ends it.
    #[expect(dead_code, reason = "held, not used: the writer ends with the last of them")]
    frames: mpsc::Sender<Frame>,
}

impl Streams {
    /// The next new stream; `None` once the client has gone.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        self.opened.recv().await
    }

    /// Refuses new streams until the client has gone.
    pub(crate) async fn gone(&mut self) {
        while let Some(stream) = self.next().await {
            stream.refuse().await;
        }
    }
}

/// A stream that the client opened and that waits for an answer.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: u32,
    pub(crate) headers: Headers,
    ends: Ends,
}

/// Both directions of a stream.
#[derive(Debug)]
pub(crate) struct Ends {
    /// What the client sends; ends with its FIN, its reset, or the connection.
    pub(crate) receive: mpsc::Receiver<Bytes>,
    /// What the client gets.
    pub(crate) send: Sink,
    /// The client has reset the stream, or is gone.
    pub(crate) reset: CancellationToken,
}

impl Incoming {
    /// Takes the stream. An error means that the connection is at its end.
    pub(crate) async fn accept(self) -> io::Result<Ends> {
        let id = self.id;
        self.ends.send.put(Frame::Reply { id, fin: false, headers: Headers::new() }).await?;
        Ok(self.ends)
    }

    /// Does not take it.
    pub(crate) async fn refuse(self) {
        self.ends.send.reset(REFUSED).await;
    }
}

/// The sending direction of a stream.
#[derive(Debug)]
pub(crate) struct Sink {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

impl Sink {
    /// Sends bytes. An error means that the connection is at its end.
    pub(crate) async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.put(Frame::Data { id: self.id, fin: false, bytes }).await
    }

    /// Ends this direction.
    pub(crate) async fn finish(self) {
        let frame = Frame::Data { id: self.id, fin: true, bytes: Bytes::new() };
        // A connection that is at its end has ended it already.
        drop(self.put(frame).await);
    }

    /// Ends both directions.
    pub(crate) async fn reset(self, status: u32) {
        drop(self.put(Frame::Reset { id: self.id, status }).await);
    }

    async fn put(&self, frame: Frame) -> io::Result<()> {
        let sent = self.frames.send(frame).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Serves one connection, and ends when `work` has ended and what it sent has gone out, or the
/// client has gone and `work` has noticed.
pub(crate) async fn serve<I, F>(io: I, work: impl FnOnce(Streams) -> F) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite,
    F: Future<Output = ()>,
{
    let (reader, writer) = tokio::io::split(io);
    let (frames, outgoing) = mpsc::channel(QUEUE_MAX);
    let (opened, incoming) = mpsc::channel(QUEUE_MAX);
    let hears = Hears { frames: frames.downgrade(), opened, streams: BTreeMap::new(), last: 0 };
    let hears = hears.run(reader);
    let works =
        async { tokio::join!(work(Streams { opened: incoming, frames }), say(writer, outgoing)) };
    tokio::pin!(hears, works);
    tokio::select! {
        heard = &mut hears => {
            let ((), said) = works.await;
            heard.and(said)
        }
        ((), said) = &mut works => said,
    }
}

/// Writes frames until nobody is left to send one, then says good-bye.
async fn say<W: AsyncWrite>(
    mut writer: WriteHalf<W>,
    mut frames: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut encoder = Encoder::new().map_err(io::Error::other)?;
    let mut out = Vec::new();
    while let Some(frame) = frames.recv().await {
        encoder.put(&frame, &mut out).map_err(io::Error::other)?;
        // What waits goes out together.
        while out.len() < READ_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            encoder.put(&frame, &mut out).map_err(io::Error::other)?;
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.clear();
    }
    encoder.put(&Frame::GoAway { last: 0, status: 0 }, &mut out).map_err(io::Error::other)?;
    writer.write_all(&out).await?;
    writer.shutdown().await
}

/// What the client does with one stream.
#[derive(Debug)]
struct Open {
    /// `None` once the client has ended its direction.
    pieces: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
}

struct Hears {
    /// Weak: hearing alone does not keep the writer.
    frames: mpsc::WeakSender<Frame>,
    opened: mpsc::Sender<Incoming>,
    streams: BTreeMap<u32, Open>,
    /// The newest stream's id: they grow, and are odd.
    last: u32,
}

impl Hears {
    /// Hears frames until the client goes.
    async fn run<R: AsyncRead>(mut self, mut reader: ReadHalf<R>) -> io::Result<()> {
        let mut decoder = Decoder::new();
        let result = loop {
            match decoder.next() {
                Ok(Some(Frame::GoAway { .. })) => break Ok(()),
                Ok(Some(frame)) => {
                    if self.hear(frame).await.is_none() {
                        break Ok(());
                    }
                }
                Ok(None) => {
                    decoder.buffer().reserve(READ_BYTES);
                    match reader.read_buf(decoder.buffer()).await {
                        Ok(0) => break Ok(()),
                        Ok(_) => (),
                        Err(error) => break Err(error),
                    }
                }
                Err(broken) => break Err(io::Error::new(io::ErrorKind::InvalidData, broken)),
            }
        };
        for open in self.streams.values() {
            open.reset.cancel();
        }
        result
    }

    /// `None` once the writer has ended.
    async fn hear(&mut self, frame: Frame) -> Option<()> {
        match frame {
            Frame::Open { id, fin, headers } => self.open(id, fin, headers).await?,
            Frame::Data { id, fin, bytes } => {
                let open = self.streams.get_mut(&id);
                if let Some(pieces) = open.as_ref().and_then(|open| open.pieces.as_ref())
                    && !bytes.is_empty()
                {
                    // Nobody reads it any more: what comes is let go, as upstream does.
                    drop(pieces.send(bytes).await);
                }
                if fin && let Some(open) = open {
                    open.pieces = None;
                }
            }
            Frame::Headers { id, fin: true, .. } => {
                if let Some(open) = self.streams.get_mut(&id) {
                    open.pieces = None;
                }
            }
            Frame::Reset { id, .. } => {
                if let Some(open) = self.streams.remove(&id) {
                    open.reset.cancel();
                }
            }
            // Even ones would be answers to ours, which are none.
            Frame::Ping(id) if !id.is_multiple_of(2) => self.put(Frame::Ping(id)).await?,
            _ => (),
        }
        Some(())
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) -> Option<()> {
        if id.is_multiple_of(2) || id <= self.last {
            return self.put(Frame::Reset { id, status: PROTOCOL_ERROR }).await;
        }
        self.last = id;
        // A stream whose two directions have ended has no more token but ours.
        if self.streams.len() >= STREAMS_MAX {
            self.streams.retain(|_, open| !ended(open));
        }
        if self.streams.len() >= STREAMS_MAX {
            return self.put(Frame::Reset { id, status: REFUSED }).await;
        }
        let (pieces, receive) = mpsc::channel(QUEUE_MAX);
        let reset = CancellationToken::new();
        let send = Sink { id, frames: self.frames.upgrade()? };
        let ends = Ends { receive, send, reset: reset.clone() };
        self.streams.insert(id, Open { pieces: (!fin).then_some(pieces), reset });
        self.opened.send(Incoming { id, headers, ends }).await.ok()
    }

    async fn put(&self, frame: Frame) -> Option<()> {
        self.frames.upgrade()?.send(frame).await.ok()
    }
}

/// The client sends no more, or nobody reads it.
fn ended(open: &Open) -> bool {
    open.pieces.as_ref().is_none_or(mpsc::Sender::is_closed)
}
