//! Answers: bodies, error documents, compression.

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use api::{ApiError, k8s::apimachinery::pkg::apis::meta::v1::Status};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::Value;

use crate::negotiate::Format;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A request body whose type is forgotten.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Lists at least this long are compressed for clients that can read it: upstream's 128 KiB,
/// below which compression costs more time than the wire.
const GZIP_MIN_BYTES: usize = 128 * 1024;

/// The body of an answer.
pub enum Body {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// A watch: each item is flushed by itself.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    /// Bytes that pass through from elsewhere.
    Passed(RequestBody),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Body::Whole(_) => "Whole",
            Body::Stream(_) => "Stream",
            Body::Passed(_) => "Passed",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|item| item.map(|bytes| Ok(Frame::data(bytes))))
            }
            Body::Passed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Stream(_) => false,
            Body::Passed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Body::Stream(_) => SizeHint::default(),
            Body::Passed(body) => body.size_hint(),
        }
    }
}

/// A JSON document.
pub(crate) fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    typed(code, "application/json", bytes)
}

/// A document of this content type.
pub(crate) fn typed(
    code: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let bytes: Bytes = bytes.into();
    let mut response = Response::new(Body::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    typed(code, "text/plain; charset=utf-8", text.into())
}

/// The document of an error.
pub(crate) fn error(error: &ApiError) -> Response<Body> {
    status(&error.to_status())
}

/// A Status, with its code on the answer itself.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let code = status.code.and_then(|code| u16::try_from(code).ok());
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    let bytes = serde_json::to_vec(status).unwrap_or_default();
    let mut response = json(code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), bytes);
    let retry_s = status.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Writes JSON bytes in the format agreed on; compresses long ones where the client can read it.
pub(crate) fn document(
    code: StatusCode,
    format: Format,
    bytes: Bytes,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    if format == Format::Yaml {
        let value: Value = serde_json::from_slice(&bytes).map_err(ApiError::internal)?;
        let text = serde_saphyr::to_string(&value).map_err(ApiError::internal)?;
        return Ok(typed(code, "application/yaml", text));
    }
    if bytes.len() >= GZIP_MIN_BYTES && reads_gzip(headers) {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::fast());
        let packed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        let mut response = json(code, packed.map_err(ApiError::internal)?);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        return Ok(response);
    }
    Ok(json(code, bytes))
}

/// Whether the client can read gzip.
pub(crate) fn reads_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values.filter_map(|value| value.to_str().ok()).any(|text| {
        text.split(',').any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
    })
}
