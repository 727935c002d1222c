//! HTTP questions to a pod: for probes and lifecycle hooks.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Version, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outcome, dial};

/// Most bytes read of a body. Source: kubelet v1.36 `maxRespBodyLength`.
const BODY_MAX_BYTES: usize = 10 << 10;

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    secure: bool,
    host: String,
    port: u16,
    /// With a leading slash.
    path: String,
    headers: Vec<(String, String)>,
    agent: &'static str,
}

impl Get {
    pub(crate) fn new(action: &HTTPGetAction, host: &str, port: u16) -> Get {
        let path = action.path.as_deref().unwrap_or("/");
        Get {
            secure: action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            host: host.to_owned(),
            port,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: action
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            agent: "kube-probe/1.36",
        }
    }

    /// The same question as a lifecycle hook asks it.
    pub(crate) fn for_hook(mut self) -> Get {
        self.agent = "kube-lifecycle/1.36";
        self
    }

    fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", dial::host_port(&self.host, self.port), self.path)
    }
}

/// Asks; statuses from 200 to 399 are well.
pub(crate) async fn probe(get: &Get, timeout: Duration) -> Outcome {
    match ask(get, timeout).await {
        Ok((status, _)) if (200..400).contains(&status) => Outcome::Success,
        Ok((status, _)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        Err(why) => Outcome::Failure(why),
    }
}

/// The answer's status and the beginning of its body, or upstream's sentence.
pub(crate) async fn ask(get: &Get, timeout: Duration) -> Result<(u16, String), String> {
    let url = get.url();
    let words = |why: String| format!("Get \"{url}\": {why}");
    let late = || {
        let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        format!("Get \"{url}\": {why}")
    };
    match tokio::time::timeout(timeout, exchange(get, timeout)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(words(why)),
        Err(_) => Err(late()),
    }
}

async fn exchange(get: &Get, timeout: Duration) -> Result<(u16, String), String> {
    let stream = dial::tcp(&get.host, get.port, timeout).await?;
    if get.secure {
        let config = Arc::new(trusting()?);
        let name = ServerName::try_from(get.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.map_err(|e| format!("tls: {e}"))?;
        return over(get, stream).await;
    }
    over(get, stream).await
}

async fn over<S>(get: &Get, stream: S) -> Result<(u16, String), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(words)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request(get)?).await.map_err(words);
    let result = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            let mut bytes = Vec::new();
            while bytes.len() < BODY_MAX_BYTES {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            bytes.extend_from_slice(&data);
                        }
                    }
                    Some(Err(_)) | None => break,
                }
            }
            Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(why) => Err(why),
    };
    connection.abort();
    result
}

fn request(get: &Get) -> Result<Request<Empty<Bytes>>, String> {
    let given = |name: &str| get.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut request = Request::builder()
        .method(Method::GET)
        .version(Version::HTTP_11)
        .uri(&get.path)
        .header(header::CONNECTION, "close");
    if !given("host") {
        request = request.header(header::HOST, dial::host_port(&get.host, get.port));
    }
    if !given("user-agent") {
        request = request.header(header::USER_AGENT, get.agent);
    }
    if !given("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    for (name, value) in &get.headers {
        request = request.header(name, value);
    }
    request.body(Empty::new()).map_err(|error| error.to_string())
}

fn words(error: hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// TLS without looking at the certificate: a probe asks for life, not for identity.
fn trusting() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    client::trust_anyone(&mut config);
    Ok(config)
}
