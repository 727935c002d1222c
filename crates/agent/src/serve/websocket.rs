//! Exec, attach and port-forward over WebSocket.
//!
//! `v4.channel.k8s.io` and `v5.channel.k8s.io`: each binary message begins with its channel:
//! 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 terminal size; in v5, 255 closes a channel.
//!
//! Source: kubernetes v1.36 `apimachinery/pkg/util/remotecommand/constants.go`.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    Body,
    answer::{Refusal, empty, refuse},
    remote::{self, Carrier, FINISH_MAX, Remote, Said, Told},
};

const PROTOCOL: &str = "sec-websocket-protocol";
/// What this server speaks for exec, best first.
const EXEC: &[&str] =
    &["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io"];
/// The protocol that carries SPDY for port-forward.
pub(crate) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Whether the request wants a WebSocket.
pub(crate) fn asked<T>(request: &Request<T>) -> bool {
    let upgrade = request.headers().get(http::header::UPGRADE);
    upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Switches to a WebSocket and does `work` with the client behind it.
pub(crate) fn exec<F>(
    request: Request<Incoming>,
    work: impl FnOnce(Remote) -> F + Send + 'static,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let protocol = choose(&request, EXEC)?;
    upgrade(request, protocol, move |socket| async move {
        let (remote, carrier) = remote::pair();
        let text = protocol == "v4.base64.channel.k8s.io";
        tokio::join!(work(remote), carry(socket, carrier, text));
    })
}

/// Switches to a WebSocket whose messages are pieces of one stream of bytes.
pub(crate) fn tunnel<F>(
    request: Request<Incoming>,
    work: impl FnOnce(tokio::io::DuplexStream) -> F + Send + 'static,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let protocol = choose(&request, &[TUNNEL])?;
    upgrade(request, protocol, move |socket| async move {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (result, ()) = tokio::join!(pipe(socket, far), work(near));
        if let Err(error) = result {
            tracing::debug!(%error, "a port-forward connection ended");
        }
    })
}

fn choose(request: &Request<Incoming>, known: &[&'static str]) -> Result<&'static str, Refusal> {
    let offered =
        request.headers().get_all(PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|list| list.split(',')).map(str::trim).collect();
    let both = known.iter().find(|one| offered.contains(one));
    both.copied().ok_or_else(|| {
        refuse(400, format!("unable to negotiate: no supported protocol among {offered:?}"))
    })
}

fn upgrade<F>(
    request: Request<Incoming>,
    protocol: &'static str,
    work: impl FnOnce(WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) -> F + Send + 'static,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let key = request.headers().get("sec-websocket-key");
    let key = key.ok_or_else(|| refuse(400, "Sec-WebSocket-Key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                work(WebSocketStream::from_raw_socket(io, Role::Server, Some(limits())).await)
                    .await;
            }
            Err(error) => tracing::debug!(%error, "a WebSocket was not opened"),
        }
    });
    let response = Response::builder()
        .status(101)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "websocket")
        .header("sec-websocket-accept", accept)
        .header(PROTOCOL, protocol)
        .body(empty());
    response.map_err(|error| refuse(500, error))
}

/// Clients send pieces of 32 KiB; some put all their input into one message.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(16 << 20)).max_frame_size(Some(16 << 20))
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Carries channel messages until the program has ended and the client has closed, or is gone.
async fn carry(socket: Socket, carrier: Carrier, text: bool) {
    let (mut sink, mut source) = socket.split();
    let Carrier { said, mut told } = carrier;
    let hears = async {
        while let Some(Ok(message)) = source.next().await {
            let read = match message {
                Message::Binary(bytes) => read(&bytes),
                Message::Text(line) if text => decode(&line).as_deref().and_then(read),
                Message::Close(_) => return,
                _ => continue,
            };
            if let Some(read) = read {
                // The program may have ended; the client's close is still to be heard.
                drop(said.send(read).await);
            }
        }
    };
    let tells = async {
        while let Some(told) = told.recv().await {
            let (channel, bytes) = match told {
                Told::Output(bytes) => (1, bytes),
                Told::Error(bytes) => (2, bytes),
                Told::Ended(bytes) => (3, bytes),
            };
            let message = frame(channel, &bytes, text);
            if sink.send(message).await.is_err() {
                return;
            }
            if channel == 3 {
                break;
            }
        }
        // The other side may have closed first.
        drop(sink.send(farewell()).await);
    };
    tokio::pin!(hears, tells);
    let ended = tokio::select! {
        () = &mut hears => false,
        () = &mut tells => true,
    };
    if ended {
        // The client answers the close once it has read what came before.
        drop(tokio::time::timeout(FINISH_MAX, hears).await);
    }
}

/// Ends a connection in the normal way: clients take a close without a code for a fault.
fn farewell() -> Message {
    let reason = Utf8Bytes::from_static("");
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason }))
}

fn frame(channel: u8, bytes: &[u8], text: bool) -> Message {
    if text {
        return Message::text(format!("{channel}{}", STANDARD.encode(bytes)));
    }
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.extend_from_slice(&[channel]);
    message.extend_from_slice(bytes);
    Message::Binary(message.freeze())
}

fn decode(line: &str) -> Option<Bytes> {
    let (channel, rest) = line.split_at_checked(1)?;
    let mut bytes = vec![channel.parse().ok()?];
    bytes.extend(STANDARD.decode(rest).ok()?);
    Some(bytes.into())
}

fn read(message: &[u8]) -> Option<Said> {
    let (channel, bytes) = message.split_first()?;
    match channel {
        0 => Some(Said::Input(Bytes::copy_from_slice(bytes))),
        4 => size(bytes),
        255 if bytes == [0] => Some(Said::InputEnds),
        _ => None,
    }
}

/// A terminal's size, as JSON: `{"Width":80,"Height":24}`.
pub(crate) fn size(json: &[u8]) -> Option<Said> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let number = |key: &str| value[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(Said::Size { columns: number("Width")?, rows: number("Height")? })
}

/// Carries raw bytes between the messages and a stream.
async fn pipe(socket: Socket, stream: tokio::io::DuplexStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut sink, mut source) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let up = async {
        while let Some(message) = source.next().await {
            match message.map_err(io::Error::other)? {
                Message::Binary(bytes) => writer.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => (),
            }
        }
        writer.shutdown().await
    };
    let down = async {
        let mut piece = vec![0; 32 * 1024];
        loop {
            let count = reader.read(&mut piece).await?;
            if count == 0 {
                return sink.send(farewell()).await.map_err(io::Error::other);
            }
            let message = Message::Binary(Bytes::copy_from_slice(&piece[..count]));
            sink.send(message).await.map_err(io::Error::other)?;
        }
    };
    tokio::try_join!(up, down).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(read(b"\0abc"), Some(Said::Input(Bytes::from_static(b"abc"))));
        assert_eq!(read(b"\xff\0"), Some(Said::InputEnds));
        assert_eq!(read(b"\xff\x01"), None);
        assert_eq!(read(b""), None);
        let sized = read(b"\x04{\"Width\":80,\"Height\":24}");
        assert_eq!(sized, Some(Said::Size { columns: 80, rows: 24 }));
        assert_eq!(read(b"\x04{\"Width\":-1}"), None);
        assert_eq!(decode("0YWJj").as_deref().and_then(read), Some(Said::Input("abc".into())));
    }
}
