//! Exec, attach, logs and port-forward: which container, and what the kubelet is asked.

use api::{
    ApiError, Reason,
    field::{Cause, Path},
    k8s::api::core::v1::Pod,
    status::About,
};
use http::{Method, StatusCode};

use crate::query::Query;

/// Pods as errors name them.
pub(super) const PODS: About<'static> = About { group: "", resource: "pods" };

/// The container that is meant. Source: kubernetes v1.36 `pkg/registry/core/pod/strategy.go`.
///
/// # Errors
///
/// 400 when it must be named and is not, or is not of this pod.
pub(super) fn container(pod: &Pod, asked: &str) -> Result<String, ApiError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default();
    let all: Vec<&str> = (init.iter().chain(main).map(|container| container.name.as_str()))
        .chain(ephemeral.iter().map(|container| container.name.as_str()))
        .collect();
    if !asked.is_empty() {
        return if all.contains(&asked) {
            Ok(asked.to_owned())
        } else {
            let text = format!("container {asked} is not valid for pod {name}");
            Err(ApiError::bad_request(text))
        };
    }
    match main {
        [one] => Ok(one.name.clone()),
        [] => {
            let text = format!("a container name must be specified for pod {name}");
            Err(ApiError::bad_request(text))
        }
        _ => {
            let all = all.join(" ");
            let text = format!(
                "a container name must be specified for pod {name}, choose one of: [{all}]"
            );
            Err(ApiError::bad_request(text))
        }
    }
}

/// What the kubelet is asked: path and query.
pub(super) fn url(pod: &Pod, subresource: &str, query: &Query) -> Result<String, ApiError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if subresource == "portforward" {
        let ports: Vec<&str> = query.all("ports").collect();
        let mut url = format!("/portForward/{namespace}/{name}");
        if !ports.is_empty() {
            url = format!("{url}?port={}", encode(&ports.join(",")));
        }
        return Ok(url);
    }
    let container = container(pod, query.get("container").unwrap_or_default())?;
    let (path, pairs) = match subresource {
        "log" => ("containerLogs", log_query(name, query)?),
        other => (other, stream_query(other, query)),
    };
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    let mut url = format!("/{path}/{namespace}/{name}/{container}");
    if !pairs.is_empty() {
        url = format!("{url}?{}", pairs.join("&"));
    }
    Ok(url)
}

fn stream_query<'a>(subresource: &str, query: &'a Query) -> Vec<(&'static str, &'a str)> {
    let switches = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    let on = switches.into_iter().filter(|(key, _)| query.flag(key));
    let mut pairs: Vec<(&'static str, &str)> = on.map(|(_, kubelets)| (kubelets, "1")).collect();
    if subresource == "exec" {
        pairs.extend(query.all("command").map(|word| ("command", word)));
    }
    pairs
}

fn log_query<'a>(pod: &str, query: &'a Query) -> Result<Vec<(&'static str, &'a str)>, ApiError> {
    let mut pairs = Vec::new();
    for key in ["follow", "previous", "timestamps"] {
        if query.flag(key) {
            pairs.push((key, "true"));
        }
    }
    let mut causes = Vec::new();
    for (key, least) in [("sinceSeconds", 1_i64), ("tailLines", 0), ("limitBytes", 1)] {
        let Some(text) = query.get(key) else { continue };
        let number = text.parse::<i64>().map_err(|_malformed| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })?;
        if number < least {
            let detail = match least {
                0 => "must be greater than or equal to 0",
                _ => "must be greater than 0",
            };
            causes.push(Cause::invalid(Path::new(key), number, detail));
        }
        pairs.push((key, text));
    }
    if let Some(time) = query.get("sinceTime") {
        if time.parse::<jiff::Timestamp>().is_err() {
            let text = format!("parsing time {time:?} as \"2006-01-02T15:04:05Z07:00\"");
            return Err(ApiError::bad_request(text));
        }
        if query.get("sinceSeconds").is_some() {
            let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            causes.push(Cause::forbidden(Path::new(""), detail));
        }
        pairs.push(("sinceTime", time));
    }
    if let Some(stream) = query.get("stream") {
        if !matches!(stream, "All" | "Stdout" | "Stderr") {
            let known = ["All", "Stderr", "Stdout"];
            causes.push(Cause::not_supported(Path::new("stream"), stream, &known));
        } else if stream != "All" && query.get("tailLines").is_some() {
            let detail = "`tailLines` and specific `stream` are mutually exclusive for now";
            causes.push(Cause::forbidden(Path::new(""), detail));
        }
        pairs.push(("stream", stream));
    }
    if !causes.is_empty() {
        let about = About { group: "", resource: "PodLogOptions" };
        return Err(ApiError::invalid(about, pod, &causes));
    }
    Ok(pairs)
}

/// 405 unless the subresource takes this method.
pub(super) fn check_method(subresource: &str, method: &Method) -> Result<(), ApiError> {
    let allowed = match subresource {
        "log" => matches!(*method, Method::GET | Method::HEAD),
        _ => matches!(*method, Method::GET | Method::POST),
    };
    if allowed { Ok(()) } else { Err(crate::server::not_allowed()) }
}

/// The pod has no node yet.
pub(super) fn no_host(name: &str) -> ApiError {
    ApiError::bad_request(format!("pod {name} does not have a host assigned"))
}

/// A kubelet's refusal of a log, in the words clients know.
///
/// Source: kubernetes v1.36 `NewGenericServerResponse`.
pub(super) fn log_refusal(code: StatusCode, text: &str, pod: &str) -> ApiError {
    let about = format!(" ( pods/log {pod})");
    match code.as_u16() {
        400 => ApiError::bad_request(text),
        500 => ApiError::internal(text),
        401 => {
            let text = "the server has asked for the client to provide credentials";
            ApiError::new(Reason::Unauthorized, format!("{text}{about}"))
        }
        403 => ApiError::new(Reason::Forbidden, format!("{text}{about}")),
        404 => {
            let text = "the server could not find the requested resource";
            ApiError::new(Reason::NotFound, format!("{text}{about}"))
        }
        429 => ApiError::new(Reason::TooManyRequests, format!("{text}{about}")),
        503 => {
            let text = "the server is currently unable to handle the request";
            ApiError::new(Reason::ServiceUnavailable, format!("{text}{about}"))
        }
        _ => {
            let text = format!(
                "an error on the server ({text:?}) has prevented the request from succeeding"
            );
            ApiError::new(Reason::InternalError, format!("{text}{about}"))
        }
    }
}

/// Percent-encodes all but what RFC 3986 leaves unreserved.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|nibble| {
                char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
            }));
        }
    }
    out
}
