//! The way to nodes and pods: exec, attach, logs, port-forward and proxies.
//!
//! ```text
//!  exec, attach, log, portforward ──▶ pod: container, URL ─┐
//!  nodes/proxy ────────────────────────────────────────────┼▶ target ─▶ dial (mutual TLS) ─▶ kubelet
//!  pods/proxy, services/proxy ─────▶ forward (links) ──────┴▶ target ─▶ dial ─▶ pod
//!                                                    101: splice, bytes both ways
//! ```
//!
//! Who may has been settled before; what the client said about itself stays here.

mod carry;
mod dial;
mod forward;
mod html;
mod pod;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
};

use api::{
    ApiError,
    k8s::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status},
};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::ClientConfig;

pub use self::dial::kubelet_tls;
use self::{
    carry::{
        Connected, client_half, nothing, splice, streamed, strip, strip_identity, wants_upgrade,
    },
    forward::reach,
    target::Target,
};
use crate::{
    answer::{self, Body, RequestBody},
    contract::{Answering, Connect, Connection},
    lookup::Lookup,
    query::Query,
};

/// How much of a kubelet's refusal is read, in bytes: upstream's 50 000.
const REFUSAL_MAX_BYTES: usize = 50_000;

/// The way to nodes and the pods on them. Clones share it.
#[derive(Debug, Clone)]
pub struct Nodes {
    lookup: Lookup,
    kubelet_tls: Arc<ClientConfig>,
    /// For clients that ask not to verify.
    kubelet_blind_tls: Arc<ClientConfig>,
    pod_tls: Arc<ClientConfig>,
    /// Nodes that are not dialled where their Node object says.
    near: BTreeMap<String, SocketAddr>,
    /// Whose turn it is among a service's endpoints.
    turn: Arc<AtomicUsize>,
}

impl Nodes {
    /// Finds pods and nodes by `lookup`; speaks to kubelets by `tls` (see [`kubelet_tls`]).
    ///
    /// The name that a kubelet's certificate must bear is the name of its node.
    #[must_use]
    pub fn new(lookup: Lookup, tls: ClientConfig) -> Self {
        Self {
            lookup,
            kubelet_blind_tls: Arc::new(dial::blind(&tls)),
            pod_tls: Arc::new(dial::blind_stranger(&tls)),
            kubelet_tls: Arc::new(tls),
            near: BTreeMap::new(),
            turn: Arc::default(),
        }
    }

    /// Dials this node here, whatever its Node object says: one on this machine is at 127.0.0.1.
    #[must_use]
    pub fn near(mut self, node: impl Into<String>, kubelet: SocketAddr) -> Self {
        self.near.insert(node.into(), kubelet);
        self
    }

    async fn log(
        self,
        pod: Pod,
        query: Query,
        request: Request<RequestBody>,
    ) -> Result<Response<Body>, ApiError> {
        let url = pod::url(&pod, "log", &query)?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node.unwrap_or_default().is_empty() {
            let mut response = Response::new(Body::Whole(None));
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(response);
        }
        let verify = !query.flag("insecureSkipTLSVerifyBackend");
        let target = self.kubelet_of(&pod, verify)?;
        let ask = to_kubelet(&target, &url, request.map(|_body| nothing()), false)?;
        let (answered, connected) = match reach(target.clone(), ask).await {
            Ok(answered) => answered,
            Err(why) => {
                let text = format!("Get \"https://{}{url}\": {why}", target.host);
                return Ok(failure(StatusCode::INTERNAL_SERVER_ERROR, &text));
            }
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if !matches!(answered.status().as_u16(), 200..=206) {
            let code = answered.status();
            let text = refusal(answered, connected).await?;
            return Err(pod::log_refusal(code, &text, name));
        }
        let plain = HeaderValue::from_static("text/plain");
        let kind = answered.headers().get(header::CONTENT_TYPE).cloned().unwrap_or(plain);
        let body = Body::Passed(streamed(answered.into_body(), connected));
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }

    async fn stream(
        self,
        pod: Pod,
        subresource: String,
        query: Query,
        request: Request<RequestBody>,
    ) -> Result<Response<Body>, ApiError> {
        let url = pod::url(&pod, &subresource, &query)?;
        let target = self.kubelet_of(&pod, true)?;
        let (mut parts, _body) = request.into_parts();
        let client = client_half(&mut parts).filter(|_| wants_upgrade(&parts.headers));
        let client = client.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
        let ask = to_kubelet(&target, &url, Request::from_parts(parts, nothing()), true)?;
        let (answered, connected) = match reach(target, ask).await {
            Ok(answered) => answered,
            Err(why) => {
                let text = format!("error dialing backend: {why}");
                return Ok(failure(StatusCode::INTERNAL_SERVER_ERROR, &text));
            }
        };
        match answered.status().as_u16() {
            101 => Ok(splice(client, answered, connected)),
            code @ ..400 => {
                let text = format!("invalid upgrade response: status code {code}");
                Ok(failure(StatusCode::INTERNAL_SERVER_ERROR, &text))
            }
            // As upstream: the kubelet's own words, which kubectl repeats.
            _ => {
                let (mut head, body) = answered.into_parts();
                strip(&mut head.headers, false);
                head.version = Version::default();
                head.extensions.clear();
                Ok(Response::from_parts(head, Body::Passed(streamed(body, connected))))
            }
        }
    }

    async fn carry(
        self,
        connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<Body>, ApiError> {
        if connection.subresource == "proxy" {
            return self.proxy(connection, request).await;
        }
        pod::check_method(&connection.subresource, request.method())?;
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let pod = self.pod(&connection.namespace, &connection.name)?;
        match connection.subresource.as_str() {
            "log" => self.log(pod, query, request).await,
            _ => self.stream(pod, connection.subresource, query, request).await,
        }
    }
}

impl Connect for Nodes {
    fn connect(&self, connection: Connection, request: Request<RequestBody>) -> Answering {
        let nodes = self.clone();
        Box::pin(async move { nodes.carry(connection, request).await })
    }
}

/// The request as the kubelet sees it: the same method and headers, without who asked.
fn to_kubelet(
    target: &Target,
    url: &str,
    request: Request<RequestBody>,
    upgrade: bool,
) -> Result<Request<RequestBody>, ApiError> {
    let (mut parts, body) = request.into_parts();
    strip_identity(&mut parts.headers);
    strip(&mut parts.headers, upgrade);
    parts.headers.remove(header::CONTENT_LENGTH);
    let host = HeaderValue::from_str(&target.host).map_err(ApiError::internal)?;
    parts.headers.insert(header::HOST, host);
    parts.uri = url.parse::<Uri>().map_err(ApiError::internal)?;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body))
}

async fn refusal(answered: Response<Incoming>, connected: Connected) -> Result<String, ApiError> {
    let mut body = streamed(answered.into_body(), connected);
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(ApiError::internal)?.into_data() else { continue };
        read.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_MAX_BYTES - read.len())]);
        if read.len() == REFUSAL_MAX_BYTES {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// A failure that bears no reason, as upstream answers those of the way itself.
fn failure(code: StatusCode, text: &str) -> Response<Body> {
    tracing::warn!(why = text, "a node or pod was not reached");
    answer::status(&Status {
        status: Some("Failure".to_owned()),
        code: Some(i32::from(code.as_u16())),
        message: Some(text.to_owned()),
        ..Status::default()
    })
}
