//! Discovery and OpenAPI: documents made from the table of kinds, with ETags.

use std::io::Read as _;

use api::{ApiError, discovery, openapi};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::{
    answer::{self, Body},
    negotiate::{Accept, Form},
    query::Query,
    server::ApiServer,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl ApiServer {
    /// `/api…` and `/apis…`: `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// 406.
    pub(crate) fn discovery(
        &self,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Response<Body>>, ApiError> {
        let accept = Accept::choose(headers)?;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let (["api" | "apis"], Form::Discovery) = (parts.as_slice(), accept.form) {
            return aggregated(parts[0] == "api", headers).map(Some);
        }
        let document = match parts.as_slice() {
            ["api"] => Some(discovery::core_versions(&self.address())),
            ["apis"] => Some(discovery::groups()),
            ["api", version] => discovery::resources("", version),
            ["apis", group] => discovery::group(group),
            ["apis", group, version] => discovery::resources(group, version),
            _ => None,
        };
        let Some(document) = document else { return Ok(None) };
        let bytes = serde_json::to_vec(&document).map_err(ApiError::internal)?;
        answer::document(StatusCode::OK, accept.format, bytes.into(), headers).map(Some)
    }
}

fn aggregated(core: bool, headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let document = serde_json::to_vec(&discovery::aggregated(core)).map_err(ApiError::internal)?;
    let etag = format!("\"{}\"", discovery::etag(&document));
    if let Some(response) = not_modified(&etag, headers) {
        return Ok(response);
    }
    let mut response = answer::typed(StatusCode::OK, AGGREGATED, document);
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::VARY, "Accept");
    set(&mut response, header::CACHE_CONTROL, "public");
    Ok(response)
}

/// `/openapi…`: `None` where there is nothing.
///
/// # Errors
///
/// 406 for clients that read neither JSON nor, for version 2, gnostic's protobuf.
pub(crate) fn schemas(
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Option<Response<Body>>, ApiError> {
    let document = match path.strip_prefix("/openapi/") {
        Some("v2") => openapi::v2(),
        Some("v3") => return index(headers).map(Some),
        Some(rest) => match rest.strip_prefix("v3/").and_then(openapi::v3) {
            Some(document) => document,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    let etag = format!("\"{}\"", document.hash);
    if document.path.is_empty() && wants_gnostic(headers) {
        return gnostic(document, &etag, headers).map(Some);
    }
    Accept::choose(headers)?;
    if let Some(response) = not_modified(&etag, headers) {
        return Ok(Some(response));
    }
    let mut response = if answer::reads_gzip(headers) {
        let packed = Bytes::from_static(document.gzip);
        let mut response = answer::json(StatusCode::OK, packed);
        set(&mut response, header::CONTENT_ENCODING, "gzip");
        response
    } else {
        let mut plain = Vec::new();
        GzDecoder::new(document.gzip).read_to_end(&mut plain).map_err(ApiError::internal)?;
        answer::json(StatusCode::OK, plain)
    };
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::VARY, "Accept-Encoding, Accept");
    let cache = if query.get("hash") == Some(&document.hash) {
        "public, immutable"
    } else {
        "no-cache, private"
    };
    set(&mut response, header::CACHE_CONTROL, cache);
    Ok(Some(response))
}

fn wants_gnostic(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|kind| {
        [openapi::gnostic::ASKED_TYPE, openapi::gnostic::MEDIA_TYPE].contains(&kind.trim())
    })
}

/// Version 2 in protobuf, made anew each time: kubectl asks for it only where it checks a `List`.
fn gnostic(
    document: &openapi::Document,
    etag: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    if let Some(response) = not_modified(etag, headers) {
        return Ok(response);
    }
    let mut plain = Vec::new();
    GzDecoder::new(document.gzip).read_to_end(&mut plain).map_err(ApiError::internal)?;
    let value: Value = serde_json::from_slice(&plain).map_err(ApiError::internal)?;
    let bytes = openapi::gnostic::encode(&value);
    let mut response = answer::typed(StatusCode::OK, openapi::gnostic::MEDIA_TYPE, bytes);
    set(&mut response, header::ETAG, etag);
    Ok(response)
}

fn index(headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let accept = Accept::choose(headers)?;
    let index: Value = openapi::index();
    let bytes = serde_json::to_vec(&index).map_err(ApiError::internal)?;
    answer::document(StatusCode::OK, accept.format, bytes.into(), headers)
}

fn not_modified(etag: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    if !known.split(',').any(|tag| tag.trim() == etag) {
        return None;
    }
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    set(&mut response, header::ETAG, etag);
    Some(response)
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    // All values here are ASCII: hex, and words of this file.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
