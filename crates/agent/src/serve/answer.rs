//! Answers of the kubelet API.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use serde::Serialize;

use super::Body;

/// A request that is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) message: String,
}

pub(crate) fn refuse(code: u16, message: impl ToString) -> Refusal {
    Refusal { code, message: message.to_string() }
}

/// A line of text.
pub(crate) fn text(code: u16, text: &str) -> Response<Body> {
    whole(code, "text/plain; charset=utf-8", Bytes::from(text.to_owned()))
}

/// A JSON value.
pub(crate) fn json(value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let bytes = serde_json::to_vec(value).map_err(|error| refuse(500, error))?;
    Ok(whole(200, "application/json", bytes.into()))
}

/// Bytes that are all there.
pub(crate) fn whole(code: u16, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    if let Ok(code) = code.try_into() {
        *response.status_mut() = code;
    }
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// No bytes; for upgrades.
pub(crate) fn empty() -> Body {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}
