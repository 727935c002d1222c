//! `kubectl port-forward`: pairs of streams, each a TCP connection made inside the pod.
//!
//! Over SPDY, or over a WebSocket that carries SPDY. Each connection of the person's machine is
//! a data stream and an error stream with the same `requestID`.
//!
//! Source: kubernetes v1.36 `cri-streaming/pkg/streaming/portforward/httpstream.go`.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use host::runtime::{Runtime, RuntimeError};
use hyper::{Request, Response, body::Incoming};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use super::{
    Body, Kubelet,
    answer::{Refusal, refuse},
    remote::STREAMS_WITHIN,
    route::PodAsked,
    spdy::{
        self, STREAM_TYPE,
        connection::{self, Ends, Streams},
        frame::{CANCEL, Headers},
    },
    websocket,
};

const PROTOCOL: &str = "portforward.k8s.io";
/// Bytes that are carried at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Switches the connection and forwards what comes.
pub(crate) async fn answer(
    kubelet: &Kubelet,
    asked: PodAsked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let (_, state) = kubelet.find(&asked).await?;
    let Some(state) = state.filter(|state| state.alive) else {
        return Err(refuse(500, format!("pod not found ({:?})", asked.pod)));
    };
    let pod = Target { runtime: kubelet.runtime.clone(), uid: state.uid };
    if websocket::asked(&request) {
        return websocket::tunnel(request, move |io| async move {
            if let Err(error) = connection::serve(io, |streams| forward(pod, streams)).await {
                tracing::debug!(%error, "a port-forward connection broke");
            }
        });
    }
    spdy::upgrade(request, PROTOCOL, move |streams| forward(pod, streams))
}

/// Whose ports.
#[derive(Clone)]
struct Target {
    runtime: Arc<dyn Runtime>,
    uid: String,
}

/// The streams of one connection, until both are there.
struct Pair {
    error: Option<Ends>,
    data: Option<Ends>,
    until: Instant,
}

/// Takes streams until the client has gone, and forwards each complete pair.
async fn forward(pod: Target, mut streams: Streams) {
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut running = JoinSet::new();
    loop {
        let late = pairs.values().map(|pair| pair.until).min();
        let sleep = async {
            match late {
                Some(late) => tokio::time::sleep_until(late).await,
                None => std::future::pending().await,
            }
        };
        let stream = tokio::select! {
            stream = streams.next() => stream,
            () = sleep => {
                expire(&mut pairs).await;
                continue;
            }
            Some(_) = running.join_next() => continue,
        };
        let Some(stream) = stream else { break };
        let (id, headers) = (stream.id, stream.headers.clone());
        let Some((port, data)) = kind(&headers) else {
            stream.refuse().await;
            continue;
        };
        let Ok(ends) = stream.accept().await else { break };
        let request = request_id(&headers, id, data);
        let until = Instant::now() + STREAMS_WITHIN;
        let pair = pairs.entry(request.clone());
        let pair = pair.or_insert(Pair { error: None, data: None, until });
        let place = if data { &mut pair.data } else { &mut pair.error };
        if place.is_some() {
            let what = if data { "data" } else { "error" };
            let message = format!(
                "error processing stream for request {request}: {what} stream already assigned"
            );
            ends.send.reset(CANCEL).await;
            print(pair.error.as_ref(), message).await;
            continue;
        }
        *place = Some(ends);
        if let Some(Pair { error: Some(_), data: Some(_), .. }) = pairs.get(&request)
            && let Some(Pair { error: Some(error), data: Some(data), .. }) = pairs.remove(&request)
        {
            running.spawn(one(pod.clone(), port, data, error));
        }
    }
    // Every stream's end or reset was told to its task, which then ends.
    while running.join_next().await.is_some() {}
}

/// The port, and whether it is the data stream; `None` for what is neither.
fn kind(headers: &Headers) -> Option<(u16, bool)> {
    let port = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    match headers.get(STREAM_TYPE)?.as_str() {
        "data" => Some((port, true)),
        "error" => Some((port, false)),
        _ => None,
    }
}

/// Old clients give none, and open the error stream just before its data stream.
fn request_id(headers: &Headers, stream: u32, data: bool) -> String {
    let given = headers.get("requestid").filter(|id| !id.is_empty()).cloned();
    given.unwrap_or_else(|| (stream - if data { 2.min(stream) } else { 0 }).to_string())
}

async fn expire(pairs: &mut BTreeMap<String, Pair>) {
    let now = Instant::now();
    let late: Vec<String> =
        pairs.iter().filter(|(_, pair)| pair.until <= now).map(|(id, _)| id.clone()).collect();
    for id in late {
        let Some(pair) = pairs.remove(&id) else { continue };
        let message = format!("(request={id}) timed out waiting for streams");
        print(pair.error.as_ref(), message).await;
        for ends in [pair.error, pair.data].into_iter().flatten() {
            ends.send.reset(CANCEL).await;
        }
    }
}

async fn print(error: Option<&Ends>, message: String) {
    tracing::debug!(message, "port-forward");
    if let Some(ends) = error {
        // A client that has gone reads nothing.
        drop(ends.send.send(Bytes::from(message)).await);
    }
}

/// One connection, from its first byte to its last.
async fn one(pod: Target, port: u16, data: Ends, error: Ends) {
    let Ends { mut receive, send, reset } = data;
    let connected = pod.runtime.dial(&pod.uid, port).await;
    let failed = match connected.map_err(|error| refused(&pod.uid, port, &error)).and_then(open) {
        Ok(stream) => {
            let carried = async { carry(stream, &mut receive, &send).await.err() };
            tokio::select! {
                failed = carried => failed.map(|error| error.to_string()),
                // The client wants no more of it, or is gone.
                () = reset.cancelled() => None,
            }
        }
        Err(message) => Some(message),
    };
    let Some(message) = failed else {
        send.finish().await;
        return error.send.finish().await;
    };
    let uid = &pod.uid;
    let message = format!("error forwarding port {port} to pod {uid}, uid : {message}");
    print(Some(&error), message).await;
    // The client then lets this pair go and opens another one.
    send.reset(CANCEL).await;
    error.send.finish().await;
}

/// What containerd says.
fn refused(uid: &str, port: u16, error: &RuntimeError) -> String {
    let RuntimeError::Dial { source, .. } = error else { return error.to_string() };
    let why = match source.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        _ => source.to_string(),
    };
    format!(
        "failed to connect to localhost:{port} inside namespace {uid:?}, \
         IPv4: dial tcp4 127.0.0.1:{port}: {why}"
    )
}

fn open(fd: std::os::fd::OwnedFd) -> Result<TcpStream, String> {
    let stream = std::net::TcpStream::from(fd);
    let ready = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    ready.map_err(|error| error.to_string())
}

/// Carries both ways; each direction ends for itself.
async fn carry(
    stream: TcpStream,
    receive: &mut tokio::sync::mpsc::Receiver<Bytes>,
    send: &spdy::connection::Sink,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let up = async {
        while let Some(bytes) = receive.recv().await {
            writer.write_all(&bytes).await?;
        }
        writer.shutdown().await
    };
    let down = async {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE_BYTES);
            if reader.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            send.send(piece.split().freeze()).await?;
        }
    };
    tokio::pin!(up, down);
    tokio::select! {
        // What the pod has said last is still read; a write that fails ends it, as upstream.
        done = &mut up => {
            done?;
            down.await
        }
        // The pod's end is the end: no protocol here tells it that half of it is left.
        done = &mut down => done,
    }
}
