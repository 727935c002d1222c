//! SPDY/3.1, as kubectl and API servers speak it for exec, attach and port-forward.
//!
//! ```text
//!   bytes ──▶ frame ──▶ connection ──▶ streams by their headers ──▶ Remote, port-forward
//! ```

pub(crate) mod connection;
mod dictionary;
pub(crate) mod frame;

use bytes::Bytes;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Body,
    answer::{Refusal, empty, refuse},
    remote::{self, Carrier, FINISH_MAX, Remote, STREAMS_WITHIN, Said, Told},
    route::ExecAsked,
    websocket,
};
use connection::{Ends, Sink, Streams};
use frame::CANCEL;

/// Which protocol the streams follow; once for each that the client knows.
const PROTOCOL: &str = "x-stream-protocol-version";
const EXEC: &str = "v4.channel.k8s.io";
/// The header that says what a stream carries.
pub(crate) const STREAM_TYPE: &str = "streamtype";
/// Most bytes of one message of the terminal's size.
const SIZE_MAX_BYTES: usize = 4096;

/// Switches to SPDY and does `work` with the client behind it.
pub(crate) fn exec<F>(
    request: Request<Incoming>,
    asked: ExecAsked,
    work: impl FnOnce(Remote) -> F + Send + 'static,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = ()> + Send,
{
    upgrade(request, EXEC, move |streams| async move {
        if let Err(error) = serve_exec(streams, asked, work).await {
            tracing::debug!(%error, "an exec or attach was not begun");
        }
    })
}

/// Switches to SPDY, speaking `protocol` in its streams, and does `work` with them.
pub(crate) fn upgrade<F>(
    request: Request<Incoming>,
    protocol: &'static str,
    work: impl FnOnce(Streams) -> F + Send + 'static,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let headers = request.headers();
    let names = |name: http::HeaderName, wanted: &str| {
        let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    if !names(http::header::CONNECTION, "upgrade") || !names(http::header::UPGRADE, "SPDY/3.1") {
        return Err(refuse(400, "unable to upgrade: missing upgrade headers in request"));
    }
    let offered = headers.get_all(PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|list| list.split(',')).map(str::trim).collect();
    if !offered.contains(&protocol) {
        let offered = offered.join(" ");
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{offered}], \
             server accepts [{protocol}]"
        );
        return Err(refuse(403, message));
    }
    tokio::spawn(async move {
        let served = match hyper::upgrade::on(request).await {
            Ok(upgraded) => connection::serve(TokioIo::new(upgraded), work).await,
            Err(error) => return tracing::debug!(%error, "a SPDY connection was not opened"),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a SPDY connection broke");
        }
    });
    let response = Response::builder()
        .status(101)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "SPDY/3.1")
        .header(PROTOCOL, protocol)
        .body(empty());
    response.map_err(|error| refuse(500, error))
}

/// The streams of one exec, once all are there.
#[derive(Debug, Default)]
struct Exec {
    error: Option<Ends>,
    stdin: Option<Ends>,
    stdout: Option<Ends>,
    stderr: Option<Ends>,
    resize: Option<Ends>,
}

/// Source: kubernetes v1.36 `cri-streaming/pkg/streaming/remotecommand/httpstream.go`.
async fn serve_exec<F: Future<Output = ()>>(
    mut streams: Streams,
    asked: ExecAsked,
    work: impl FnOnce(Remote) -> F,
) -> std::io::Result<()> {
    let all = timeout(STREAMS_WITHIN, collect(&mut streams, &asked)).await;
    let late = |_| std::io::Error::other("timed out waiting for client to create streams");
    let exec = all.map_err(late)??;
    let (remote, carrier) = remote::pair();
    tokio::join!(work(remote), carry(streams, exec, carrier));
    Ok(())
}

async fn collect(streams: &mut Streams, asked: &ExecAsked) -> std::io::Result<Exec> {
    let mut exec = Exec::default();
    let wanted = |wanted: bool, there: &Option<Ends>| !wanted || there.is_some();
    loop {
        let complete = exec.error.is_some()
            && wanted(asked.stdin, &exec.stdin)
            && wanted(asked.stdout, &exec.stdout)
            && wanted(asked.stderr, &exec.stderr)
            && wanted(asked.tty, &exec.resize);
        if complete {
            return Ok(exec);
        }
        let stream = streams.next().await;
        let stream = stream.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let kind = stream.headers.get(STREAM_TYPE).map(String::as_str);
        let place = match kind {
            Some("error") => &mut exec.error,
            Some("stdin") => &mut exec.stdin,
            Some("stdout") => &mut exec.stdout,
            Some("stderr") => &mut exec.stderr,
            Some("resize") => &mut exec.resize,
            _ => {
                stream.refuse().await;
                continue;
            }
        };
        *place = Some(stream.accept().await?);
    }
}

/// Carries until the program has ended and the client has gone.
async fn carry(mut streams: Streams, exec: Exec, carrier: Carrier) {
    let Carrier { said, mut told } = carrier;
    let (stdin, stdin_end) = exec.stdin.map(|ends| (ends.receive, ends.send)).unzip();
    let (resize, resize_end) = exec.resize.map(|ends| (ends.receive, ends.send)).unzip();
    let send = |ends: Option<Ends>| ends.map(|ends| ends.send);
    let (stdout, stderr, error) = (send(exec.stdout), send(exec.stderr), send(exec.error));
    let hears = async {
        tokio::join!(hear_input(stdin, &said), hear_sizes(resize, &said));
        std::future::pending::<()>().await;
    };
    let tells = async {
        while let Some(told) = told.recv().await {
            let (sink, bytes, last) = match told {
                Told::Output(bytes) => (&stdout, bytes, false),
                Told::Error(bytes) => (&stderr, bytes, false),
                Told::Ended(bytes) => (&error, bytes, true),
            };
            if let Some(sink) = sink
                && sink.send(bytes).await.is_err()
            {
                return;
            }
            if last {
                return;
            }
        }
    };
    tokio::select! {
        () = hears => (),
        () = tells => (),
        () = streams.gone() => return,
    }
    for sink in [stdin_end, resize_end].into_iter().flatten() {
        sink.reset(CANCEL).await;
    }
    for sink in [stdout, stderr, error].into_iter().flatten() {
        Sink::finish(sink).await;
    }
    // The client closes once it has read everything: closing first could cut its output off.
    drop(timeout(FINISH_MAX, streams.gone()).await);
}

async fn hear_input(receive: Option<mpsc::Receiver<Bytes>>, said: &mpsc::Sender<Said>) {
    let Some(mut receive) = receive else { return };
    while let Some(bytes) = receive.recv().await {
        if said.send(Said::Input(bytes)).await.is_err() {
            return;
        }
    }
    // Whoever listens no more needs no end.
    drop(said.send(Said::InputEnds).await);
}

/// A stream of JSON objects, one a line.
async fn hear_sizes(receive: Option<mpsc::Receiver<Bytes>>, said: &mpsc::Sender<Said>) {
    let Some(mut receive) = receive else { return };
    let mut text = Vec::new();
    while let Some(bytes) = receive.recv().await {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'}') {
            let rest = text.split_off(end + 1);
            if let Some(size) = websocket::size(text.trim_ascii())
                && said.send(size).await.is_err()
            {
                return;
            }
            text = rest;
        }
        if text.len() > SIZE_MAX_BYTES {
            return;
        }
    }
}
