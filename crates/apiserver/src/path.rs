//! What a URL asks for: the uniform grammar of Kubernetes' paths, before any kind is looked up.
//!
//! ```text
//! /api/v1[/watch][/namespaces/NS]/RESOURCE[/NAME[/SUBRESOURCE[/REST]]]
//! /apis/GROUP/VERSION/…                         anything else: a document
//! ```

use http::Method;

use crate::query::{Query, decode_percent};

/// A request as authorization, routing and metrics see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// It names a resource; else it is about `path`.
    pub(crate) about_resource: bool,
    /// `get`, `list`, `watch`, `create` …; for documents the method in lower case.
    pub(crate) verb: &'static str,
    /// API group; empty for core.
    pub(crate) group: String,
    /// API version.
    pub(crate) version: String,
    /// Empty for all namespaces and cluster-scoped kinds.
    pub(crate) namespace: String,
    /// Plural.
    pub(crate) resource: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// What follows the subresource, without a leading slash (`proxy`).
    pub(crate) rest: String,
    /// The path as sent.
    pub(crate) path: String,
}

impl Ask {
    /// Reads method, path and query.
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut ask = Self { path: path.to_owned(), verb: method_verb(method), ..Self::default() };
        let mut parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(decode_percent).collect();
        let head = match parts.first().map(String::as_str) {
            Some("api") if parts.len() >= 3 => 2,
            Some("apis") if parts.len() >= 4 => 3,
            _ => return ask,
        };
        if head == 3 {
            ask.group = std::mem::take(&mut parts[1]);
        }
        ask.version = std::mem::take(&mut parts[head - 1]);
        ask.about_resource = true;
        ask.read_resource(parts.drain(head..).collect(), path, method, query);
        ask
    }

    fn read_resource(
        &mut self,
        mut parts: Vec<String>,
        path: &str,
        method: &Method,
        query: &Query,
    ) {
        let old_watch = parts.len() > 1 && parts[0] == "watch";
        if old_watch {
            parts.remove(0);
        }
        if parts.len() > 1 && parts[0] == "namespaces" {
            self.namespace = parts[1].clone();
            if parts.len() > 2 && !matches!(parts[2].as_str(), "status" | "finalize") {
                parts.drain(..2);
            }
        }
        let mut parts = parts.into_iter();
        self.resource = parts.next().unwrap_or_default();
        self.name = parts.next().unwrap_or_default();
        self.subresource = parts.next().unwrap_or_default();
        self.rest = parts.collect::<Vec<_>>().join("/");
        if !self.rest.is_empty() && path.ends_with('/') {
            self.rest.push('/');
        }
        self.verb = self.resource_verb(method, query, old_watch);
        if self.name.is_empty() && matches!(self.verb, "list" | "watch" | "deletecollection") {
            self.name = query.selected_name().unwrap_or_default();
        }
    }

    fn resource_verb(&self, method: &Method, query: &Query, old_watch: bool) -> &'static str {
        if old_watch {
            return "watch";
        }
        match (method.as_str(), self.name.is_empty()) {
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            ("DELETE", false) => "delete",
            ("GET" | "HEAD", false) => "get",
            ("GET" | "HEAD", true) if query.flag("watch") => "watch",
            ("GET" | "HEAD", true) => "list",
            _ => "",
        }
    }
}

fn method_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "",
    }
}
