//! Paths that are no resource: health, version, metrics, discovery, schemas, keys.

use std::fmt::Write as _;

use api::ApiError;
use http::{Method, Response, StatusCode, request::Parts};

use crate::{
    answer::{self, Body},
    discovery::schemas,
    path::Ask,
    query::Query,
    server::{ApiServer, not_allowed},
};

/// One thing that must be well; upstream's names where they fit.
struct Check {
    name: &'static str,
    well: bool,
}

/// The list that kubectl asks for before it says that a kind is unknown.
pub(crate) fn is_definitions(ask: &Ask) -> bool {
    let asked = (ask.group.as_str(), ask.version.as_str(), ask.resource.as_str(), ask.verb);
    asked == ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "list")
}

impl ApiServer {
    /// No kind of ours is defined by an object. Were this list not found, kubectl would speak of
    /// it and not of the kind that a manifest misspells.
    pub(crate) fn definitions(&self) -> Response<Body> {
        let list = serde_json::json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinitionList",
            "metadata": {"resourceVersion": self.store().revision().to_string()},
            "items": [],
        });
        answer::json(StatusCode::OK, list.to_string())
    }

    /// Answers a path that names no resource.
    pub(crate) async fn document(
        &self,
        ask: &Ask,
        parts: &Parts,
    ) -> Result<Response<Body>, ApiError> {
        let path = ask.path.trim_end_matches('/');
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(not_allowed());
        }
        let first = path.split('/').nth(1).unwrap_or_default();
        match first {
            "healthz" | "livez" | "readyz" => {
                let query = Query::parse(parts.uri.query().unwrap_or_default());
                Ok(self.health(first, path, &query))
            }
            "version" if path == "/version" => {
                let bytes = serde_json::to_vec_pretty(&self.options().version);
                Ok(answer::json(StatusCode::OK, bytes.map_err(ApiError::internal)?))
            }
            "metrics" if path == "/metrics" => {
                let text = self.metrics().text().map_err(ApiError::internal)?;
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                Ok(answer::typed(StatusCode::OK, kind, text))
            }
            "api" | "apis" => Ok(self.discovery(path, &parts.headers)?.unwrap_or_else(nothing)),
            "openapi" => {
                let query = Query::parse(parts.uri.query().unwrap_or_default());
                Ok(schemas(path, &query, &parts.headers)?.unwrap_or_else(nothing))
            }
            _ => match self.options().access.document(path) {
                Some((content_type, bytes)) => {
                    Ok(answer::typed(StatusCode::OK, content_type, bytes))
                }
                None => Ok(nothing()),
            },
        }
    }

    fn checks(&self, kind: &str) -> Vec<Check> {
        let mut checks = vec![
            Check { name: "ping", well: true },
            Check { name: "log", well: true },
            Check { name: "etcd", well: self.disk_serves() },
        ];
        if kind != "livez" {
            let name = "poststarthook/bootstrap-system";
            checks.push(Check { name, well: self.is_bootstrapped() });
        }
        if kind == "readyz" {
            checks.push(Check { name: "shutdown", well: !self.is_stopping() });
        }
        checks
    }

    fn health(&self, kind: &str, path: &str, query: &Query) -> Response<Body> {
        let mut checks = self.checks(kind);
        let rest = path.trim_start_matches('/').split_once('/').map(|(_, rest)| rest);
        if let Some(one) = rest {
            return match checks.iter().find(|check| check.name == one) {
                Some(Check { well: true, .. }) => answer::text(StatusCode::OK, "ok"),
                Some(_) => {
                    let text = "internal server error: reason withheld\n";
                    answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
                }
                None => nothing(),
            };
        }
        checks.retain(|check| !query.all("exclude").any(|name| name == check.name));
        let mut text = String::new();
        for Check { name, well } in &checks {
            let written = if *well {
                writeln!(text, "[+]{name} ok")
            } else {
                writeln!(text, "[-]{name} failed: reason withheld")
            };
            // Writing to a String cannot fail.
            written.unwrap_or_default();
        }
        if !checks.iter().all(|check| check.well) {
            let text = format!("{text}{kind} check failed\n");
            return answer::text(StatusCode::INTERNAL_SERVER_ERROR, text);
        }
        if query.given("verbose").is_some() {
            return answer::text(StatusCode::OK, format!("{text}{kind} check passed\n"));
        }
        answer::text(StatusCode::OK, "ok")
    }
}

fn nothing() -> Response<Body> {
    answer::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
