//! The standard gRPC health check, by hand: one message of one field each way.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Outcome, dial};

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Asks for the health of `service`; empty: of the whole server.
pub(super) async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let place = dial::host_port(host, port);
    let late = || {
        let seconds = timeout.as_secs();
        Outcome::Failure(format!(
            "timeout: failed to connect service \"{place}\" within {seconds}s: context deadline exceeded"
        ))
    };
    match tokio::time::timeout(timeout, ask(host, port, service, timeout)).await {
        Ok(Ok(1)) => Outcome::Success,
        Ok(Ok(status)) => {
            let name = STATUSES.get(status).copied().unwrap_or("UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with \"{name}\")"))
        }
        Ok(Err(Wrong::Connect)) | Err(_) => late(),
        Ok(Err(Wrong::Unimplemented)) => Outcome::Failure(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                .to_owned(),
        ),
        Ok(Err(Wrong::Other(why))) => {
            Outcome::Failure(format!("error: health rpc probe failed: {why}"))
        }
    }
}

enum Wrong {
    Connect,
    Unimplemented,
    Other(String),
}

async fn ask(host: &str, port: u16, service: &str, timeout: Duration) -> Result<usize, Wrong> {
    let other = |error: &dyn std::fmt::Display| Wrong::Other(error.to_string());
    let stream = dial::tcp(host, port, timeout).await.map_err(|_| Wrong::Connect)?;
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|_| Wrong::Connect)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/grpc.health.v1.Health/Check", dial::host_port(host, port)))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(|error| other(&error))?;
    let answer = sender.send_request(request).await;
    let result = match answer {
        Ok(answer) => {
            let head = answer.headers().get("grpc-status").cloned();
            match answer.into_body().collect().await {
                Ok(body) => {
                    let trailer = body.trailers().and_then(|t| t.get("grpc-status")).cloned();
                    verdict(head.or(trailer), &body.to_bytes())
                }
                Err(error) => Err(other(&error)),
            }
        }
        Err(error) => Err(other(&error)),
    };
    connection.abort();
    result
}

fn verdict(code: Option<http::HeaderValue>, body: &[u8]) -> Result<usize, Wrong> {
    match code.as_ref().map(http::HeaderValue::as_bytes) {
        None | Some(b"0") => {}
        Some(b"12") => return Err(Wrong::Unimplemented),
        Some(code) => {
            let code = String::from_utf8_lossy(code);
            return Err(Wrong::Other(format!("rpc error: code = {code}")));
        }
    }
    // Flag, length, then field 1 as a varint; a status of 0 is left out.
    Ok(match body.get(5..) {
        Some([8, status, ..]) => usize::from(*status),
        _ => 0,
    })
}

fn message(service: &str) -> Bytes {
    let mut inner = BytesMut::new();
    if !service.is_empty() {
        inner.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            inner.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        inner.put_u8(u8::try_from(length).unwrap_or(0));
        inner.put_slice(service.as_bytes());
    }
    let mut all = BytesMut::new();
    all.put_u8(0);
    all.put_u32(u32::try_from(inner.len()).unwrap_or(0));
    all.extend_from_slice(&inner);
    all.freeze()
}
