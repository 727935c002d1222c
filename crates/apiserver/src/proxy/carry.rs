//! Carrying one request over an open connection, and bytes both ways once it was upgraded.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header, request::Parts};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy, split},
    task::AbortHandle,
    time::{Duration, timeout},
};

use super::dial::Stream;
use crate::answer::{Body, BoxError, RequestBody};

/// How long the goodbye on a connection may take once its other half has ended.
const GOODBYE_MAX: Duration = Duration::from_secs(5);
/// What a connection says about itself, and not about the message. Source: RFC 9110, 7.6.1.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// How a bearer token stands among the protocols of a WebSocket.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Ends the task of a connection with its last user.
#[derive(Debug)]
pub(super) struct Connected(AbortHandle);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request and waits for the head of the answer.
///
/// # Errors
///
/// What the other side did wrong, as Go says it where it does.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Connected), String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a node or pod ended early");
        }
    });
    let connected = Connected(task.abort_handle());
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    Ok((response, connected))
}

fn broken(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// An answer's body; the connection ends with it.
struct Held {
    body: Incoming,
    _connected: Connected,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which streams through.
pub(super) fn streamed(body: Incoming, connected: Connected) -> RequestBody {
    Held { body, _connected: connected }.boxed_unsync()
}

/// The client wants to speak another protocol. Source: `httpstream.IsUpgradeRequest`.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// The client's half of an upgrade; `None` where its connection cannot be taken over (HTTP/2).
pub(super) fn client_half(parts: &mut Parts) -> Option<OnUpgrade> {
    parts.extensions.remove::<OnUpgrade>()
}

/// A body of nothing.
pub(super) fn nothing() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Drops what concerns the connection only; an upgrade keeps its words.
pub(super) fn strip(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let keep = if upgrade { headers.get(header::UPGRADE).cloned() } else { None };
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if let Some(protocol) = keep {
        headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Drops what tells who the client is: it has been told who it is, and nobody else must.
pub(super) fn strip_identity(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    let secret = |name: &HeaderName| name.as_str().starts_with("impersonate-");
    let names: Vec<HeaderName> = headers.keys().filter(|name| secret(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols: Vec<&str> = protocols.filter_map(|value| value.to_str().ok()).collect();
    if protocols.is_empty() {
        return;
    }
    let joined = protocols.join(",");
    let kept = joined.split(',').map(str::trim).filter(|word| !word.starts_with(TOKEN_PROTOCOL));
    let kept = kept.collect::<Vec<_>>().join(", ");
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Ok(value) = kept.parse::<http::HeaderValue>()
        && !kept.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// Answers 101 as the other side did, and copies bytes both ways until either ends.
pub(super) fn splice(
    client: OnUpgrade,
    mut answered: Response<Incoming>,
    connected: Connected,
) -> Response<Body> {
    let node = hyper::upgrade::on(&mut answered);
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    std::mem::swap(response.headers_mut(), answered.headers_mut());
    tokio::spawn(async move {
        let node = match node.await {
            Ok(node) => TokioIo::new(node),
            Err(error) => return tracing::debug!(%error, "the node did not upgrade"),
        };
        drop(connected);
        let client = match client.await {
            Ok(client) => TokioIo::new(client),
            Err(error) => return tracing::debug!(%error, "the client did not upgrade"),
        };
        both_ways(client, node).await;
    });
    response
}

async fn both_ways(client: impl Stream, node: impl Stream) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_node, mut to_node) = split(node);
    // None of the protocols closes one half: the end of either side is the end.
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_node) => ended,
        ended = copy(&mut from_node, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an upgraded connection ended early");
    }
    let goodbye = async { (to_client.shutdown().await, to_node.shutdown().await) };
    match timeout(GOODBYE_MAX, goodbye).await {
        Ok((Ok(()), Ok(()))) => {}
        Ok((Err(error), _) | (_, Err(error))) => {
            tracing::debug!(%error, "an upgraded connection was closed without a goodbye");
        }
        Err(_late) => tracing::debug!("an upgraded connection was closed without a goodbye"),
    }
}
