//! Proxies to pods, services and nodes: what is changed on the way there and back.
//!
//! Source: kubernetes v1.36 `apimachinery/pkg/util/proxy`.

use std::{
    io::{Read, Write},
    pin::Pin,
};

use api::{ApiError, Reason};
use bytes::{Bytes, BytesMut};
use flate2::{
    Compression,
    read::{DeflateDecoder, GzDecoder},
    write::{DeflateEncoder, GzEncoder},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;

use super::{
    Nodes,
    carry::{
        Connected, client_half, exchange, nothing, splice, streamed, strip, strip_identity,
        wants_upgrade,
    },
    dial::dial,
    failure,
    html::Page,
    target::Target,
};
use crate::{
    answer::{Body, RequestBody},
    contract::Connection,
    server::Peer,
};

/// Pages longer than this pass through as they are: rewriting needs all of one in memory.
const PAGE_MAX_BYTES: usize = 8 * 1024 * 1024;

impl Nodes {
    /// Carries a request to a pod, a service's endpoint or a node, and its answer back.
    pub(super) async fn proxy(
        self,
        connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<Body>, ApiError> {
        let resource = connection.resource.names().plural;
        let target = self.target(resource, &connection.namespace, &connection.name)?;
        let (prefix, rest) = split_path(request.uri().path(), resource);
        let (prefix, rest) = (prefix.to_owned(), rest.to_owned());
        let upgrade = wants_upgrade(request.headers());
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if rest.is_empty() && reads && !upgrade {
            return moved(&prefix, request.uri().query());
        }
        let (mut parts, body) = request.into_parts();
        let asked = match &parts.headers.get(header::HOST) {
            Some(host) => host.to_str().unwrap_or_default().to_owned(),
            None => parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        };
        let client = if upgrade { client_half(&mut parts) } else { None };
        if upgrade && client.is_none() {
            return Err(ApiError::bad_request("this connection cannot be upgraded: use HTTP/1.1"));
        }
        strip_identity(&mut parts.headers);
        strip(&mut parts.headers, upgrade);
        forwarded(&mut parts, &prefix, &rest, upgrade);
        let host = if asked.is_empty() { &target.host } else { &asked };
        if let Ok(host) = HeaderValue::from_str(host) {
            parts.headers.insert(header::HOST, host);
        }
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = if rest.is_empty() { "/" } else { &rest };
        parts.uri = format!("{path}{query}").parse::<Uri>().map_err(ApiError::internal)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let body = if upgrade { nothing() } else { body };
        let page = Page { host: target.host.clone(), asked, prefix };
        let answered = reach(target.clone(), Request::from_parts(parts, body)).await;
        match (client, answered) {
            (Some(_), Err(why)) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Ok(failure(status, &format!("error dialing backend: {why}")))
            }
            (None, Err(why)) => {
                let text = format!("error trying to reach service: {why}");
                Err(ApiError::new(Reason::ServiceUnavailable, text))
            }
            (Some(client), Ok((answered, connected)))
                if answered.status() == StatusCode::SWITCHING_PROTOCOLS =>
            {
                Ok(splice(client, answered, connected))
            }
            (_, Ok((answered, connected))) => bring_back(page, answered, connected).await,
        }
    }
}

/// Dials and asks.
pub(super) fn reach(target: Target, request: Request<RequestBody>) -> Reaching {
    Box::pin(async move {
        let stream = dial(target.address, target.security).await?;
        exchange(stream, request).await
    })
}

/// The path up to and with `proxy`, and what follows as it was sent.
pub(super) fn split_path<'a>(path: &'a str, resource: &str) -> (&'a str, &'a str) {
    // api/v1/namespaces/NS/pods/NAME/proxy, or api/v1/nodes/NAME/proxy
    let wanted = if resource == "nodes" { 5 } else { 7 };
    let (mut seen, mut inside) = (0, false);
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            if seen == wanted {
                return path.split_at(at);
            }
            inside = false;
        } else if !inside {
            inside = true;
            seen += 1;
        }
    }
    (path, "")
}

fn moved(prefix: &str, query: Option<&str>) -> Result<Response<Body>, ApiError> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let to = HeaderValue::from_str(&format!("{prefix}/{query}")).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

fn forwarded(parts: &mut http::request::Parts, prefix: &str, rest: &str, upgrade: bool) {
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.address);
    let headers = &mut parts.headers;
    if let Some(address) = peer {
        let name = HeaderName::from_static("x-forwarded-for");
        let before = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
        let mut hops: Vec<String> = before.map(str::to_owned).collect();
        hops.push(address.to_string());
        if let Ok(value) = HeaderValue::from_str(&hops.join(", ")) {
            headers.insert(name, value);
        }
    }
    if upgrade {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&format!("{prefix}{rest}")) {
        headers.insert(HeaderName::from_static("x-forwarded-uri"), value);
    }
}

async fn bring_back(
    page: Page,
    answered: Response<Incoming>,
    connected: Connected,
) -> Result<Response<Body>, ApiError> {
    let (mut parts, body) = answered.into_parts();
    strip(&mut parts.headers, false);
    parts.version = Version::default();
    parts.extensions.clear();
    let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location {
        if let Some(value) = page.link(location).and_then(|link| HeaderValue::from_str(&link).ok())
        {
            parts.headers.insert(header::LOCATION, value);
        }
        return Ok(Response::from_parts(parts, Body::Passed(streamed(body, connected))));
    }
    let body = streamed(body, connected);
    if !is_page(&parts.headers) {
        return Ok(Response::from_parts(parts, Body::Passed(body)));
    }
    let body = match gather(body).await? {
        Gathered::Longer(body) => Body::Passed(body),
        // The answer to HEAD has a length and no body; it keeps it.
        Gathered::Whole(bytes) if bytes.is_empty() => Body::Whole(None),
        Gathered::Whole(bytes) => {
            let bytes = rewritten(&page, &parts.headers, bytes);
            parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
            Body::Whole(Some(bytes))
        }
    };
    Ok(Response::from_parts(parts, body))
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/html")
}

/// A request on its way. Boxed, so that its callers' futures stay small and plainly `Send`.
type Reaching =
    Pin<Box<dyn Future<Output = Result<(Response<Incoming>, Connected), String>> + Send>>;

enum Gathered {
    Whole(Bytes),
    /// Longer than the limit: what was read, and the rest behind it.
    Longer(RequestBody),
}

async fn gather(mut body: RequestBody) -> Result<Gathered, ApiError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = format!("error trying to reach service: {error}");
            ApiError::new(Reason::ServiceUnavailable, text)
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        read.extend_from_slice(&chunk);
        if read.len() > PAGE_MAX_BYTES {
            let first = futures::stream::iter([Ok(http_body::Frame::data(read.freeze()))]);
            let rest = futures::stream::unfold(body, |mut body| async move {
                body.frame().await.map(|frame| (frame, body))
            });
            let whole = futures::StreamExt::chain(first, rest);
            return Ok(Gathered::Longer(StreamBody::new(whole).boxed_unsync()));
        }
    }
    Ok(Gathered::Whole(read.freeze()))
}

/// The page with its links rewritten; one that cannot be read stays as it is.
fn rewritten(page: &Page, headers: &HeaderMap, bytes: Bytes) -> Bytes {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let unpacked = match encoding {
        None | Some(b"") => return page.rewrite(&bytes).into(),
        Some(b"gzip") => unpack(GzDecoder::new(&*bytes)),
        Some(b"deflate") => unpack(DeflateDecoder::new(&*bytes)),
        Some(_) => None,
    };
    let Some(unpacked) = unpacked else { return bytes };
    let new = page.rewrite(&unpacked);
    let level = Compression::fast();
    let packed = if encoding == Some(b"gzip") {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(&new).and_then(|()| encoder.finish())
    } else {
        let mut encoder = DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(&new).and_then(|()| encoder.finish())
    };
    packed.map_or(bytes, Into::into)
}

fn unpack(packed: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let read = packed.take(PAGE_MAX_BYTES as u64 + 1).read_to_end(&mut out).ok()?;
    (read <= PAGE_MAX_BYTES).then_some(out)
}
