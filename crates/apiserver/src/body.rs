//! Request bodies: collected up to a limit.

use api::{ApiError, Reason};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::answer::RequestBody;

/// Upstream's limit of a request body in bytes.
pub(crate) const BODY_MAX_BYTES: usize = 3 * 1024 * 1024;

/// Bytes of a refused body that are still read, and let go: a client that is sending may take an
/// answer before its end for a broken connection, and never see what it says.
const LET_GO_MAX_BYTES: usize = 16 * 1024 * 1024;

/// All of a body.
///
/// # Errors
///
/// 413 when it is longer than the limit, 400 when the client stops sending.
pub(crate) async fn collect(headers: &HeaderMap, mut body: RequestBody) -> Result<Bytes, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|n| n > LET_GO_MAX_BYTES) {
        return Err(too_large());
    }
    let mut seen_bytes = 0;
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(format!("the body of the request could not be read: {error}"))
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        seen_bytes += chunk.len();
        if seen_bytes > LET_GO_MAX_BYTES {
            return Err(too_large());
        }
        if seen_bytes > BODY_MAX_BYTES {
            (first, more) = (Bytes::new(), BytesMut::new());
            continue;
        }
        if first.is_empty() {
            first = chunk;
        } else {
            more.extend_from_slice(&chunk);
        }
    }
    if seen_bytes > BODY_MAX_BYTES {
        return Err(too_large());
    }
    if more.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + more.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&more);
    Ok(whole.freeze())
}

fn too_large() -> ApiError {
    let text = format!("Request entity too large: limit is {BODY_MAX_BYTES}");
    ApiError::new(Reason::RequestEntityTooLarge, text)
}
