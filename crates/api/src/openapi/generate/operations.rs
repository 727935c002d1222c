//! The paths: every verb of every kind as an operation.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{META, schemas::Version};
use crate::{
    facts::schema_name,
    resource::{Resource, Subresource},
};

/// A query or path parameter.
fn parameter(version: Version, place: &str, name: &str, kind: &str, text: &str) -> Value {
    let mut out = json!({"name": name, "in": place, "description": text, "uniqueItems": true});
    if place == "path" {
        out["required"] = true.into();
    }
    match version {
        Version::V2 => out["type"] = kind.into(),
        Version::V3 => out["schema"] = json!({"type": kind, "uniqueItems": true}),
    }
    if version == Version::V3 {
        out.as_object_mut().unwrap().remove("uniqueItems");
    }
    out
}

const DRY_RUN: (&str, &str, &str) = (
    "dryRun",
    "string",
    "When present, indicates that modifications should not be persisted. An invalid or unrecognized dryRun directive will result in an error response and no further processing of the request. Valid values are: - All: all dry run stages will be processed",
);
const MANAGER: (&str, &str, &str) = (
    "fieldManager",
    "string",
    "fieldManager is a name associated with the actor or entity that is making these changes. The value must be less than or 128 characters long, and only contain printable characters, as defined by https://golang.org/pkg/unicode/#IsPrint.",
);
const VALIDATION: (&str, &str, &str) = (
    "fieldValidation",
    "string",
    "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing unknown or duplicate fields. Valid values are: - Ignore: This will ignore any unknown fields that are silently dropped from the object, and will ignore all but the last duplicate field that the decoder encounters. This is the default behavior prior to v1.23. - Warn: This will send a warning via the standard warning response header for each unknown field that is dropped from the object, and for each duplicate field that is encountered. The request will still succeed if there are no other errors, and will only persist the last of any duplicate fields. This is the default in v1.23+ - Strict: This will fail the request with a BadRequest error if any unknown fields would be dropped from the object, or if any duplicate fields are present. The error returned from the server will contain all unknown and duplicate fields encountered.",
);
const FORCE: (&str, &str, &str) = (
    "force",
    "boolean",
    "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields owned by other people. Force flag must be unset for non-apply patch requests.",
);
const LISTING: [(&str, &str, &str); 9] = [
    (
        "allowWatchBookmarks",
        "boolean",
        "allowWatchBookmarks requests watch events with type \"BOOKMARK\". Servers that do not implement bookmarks may ignore this flag and bookmarks are sent at the server's discretion.",
    ),
    (
        "continue",
        "string",
        "The continue option should be set when retrieving more results from the server.",
    ),
    (
        "fieldSelector",
        "string",
        "A selector to restrict the list of returned objects by their fields. Defaults to everything.",
    ),
    (
        "labelSelector",
        "string",
        "A selector to restrict the list of returned objects by their labels. Defaults to everything.",
    ),
    ("limit", "integer", "limit is a maximum number of responses to return for a list call."),
    (
        "resourceVersion",
        "string",
        "resourceVersion sets a constraint on what resource versions a request may be served from.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "resourceVersionMatch determines how resourceVersion is applied to list calls.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "`sendInitialEvents=true` may be set together with `watch=true`.",
    ),
    (
        "watch",
        "boolean",
        "Watch for changes to the described resources and return them as a stream of add, update, and remove notifications.",
    ),
];
const DELETING: [(&str, &str, &str); 3] = [
    (
        "gracePeriodSeconds",
        "integer",
        "The duration in seconds before the object should be deleted. Value must be non-negative integer. The value zero indicates delete immediately.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Deprecated: please use the PropagationPolicy, this field will be deprecated in 1.7.",
    ),
    ("propagationPolicy", "string", "Whether and how garbage collection will be performed."),
];

fn queries_of(action: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut queries = Vec::new();
    match action {
        "post" | "put" => queries.extend([DRY_RUN, MANAGER, VALIDATION]),
        "patch" => queries.extend([DRY_RUN, MANAGER, VALIDATION, FORCE]),
        "delete" => queries.extend(std::iter::once(DRY_RUN).chain(DELETING)),
        "deletecollection" => {
            queries.extend(std::iter::once(DRY_RUN).chain(DELETING).chain(LISTING))
        }
        "list" => queries.extend(LISTING),
        _ => {}
    }
    queries
}

struct Call<'a> {
    version: Version,
    kind: &'a dyn Resource,
    sub: Option<&'a Subresource>,
}

impl Call<'_> {
    /// Schema of what is sent and answered.
    fn body(&self) -> String {
        let names = self.kind.names();
        match self.sub {
            Some(sub) => schema_name(sub.group, sub.version, sub.kind),
            None => schema_name(names.group, names.version, names.kind),
        }
    }

    fn operation(&self, action: &str, id: &str, known: &BTreeMap<String, Value>) -> Value {
        let names = self.kind.names();
        let (group, version, kind) = match self.sub {
            Some(sub) => (sub.group, sub.version, sub.kind),
            None => (names.group, names.version, names.kind),
        };
        let mut parameters: Vec<Value> = queries_of(action)
            .into_iter()
            .map(|(name, kind, text)| parameter(self.version, "query", name, kind, text))
            .collect();
        let own = self.body();
        let answer = match action {
            "list" => format!("{own}List"),
            "delete" | "deletecollection" => format!("{META}.Status"),
            _ => own.clone(),
        };
        let sent = match action {
            "post" | "put" => Some(own),
            "patch" => Some(format!("{META}.Patch")),
            "delete" | "deletecollection" => Some(format!("{META}.DeleteOptions")),
            _ => None,
        };
        let schema = |name: &String| match known.contains_key(name) {
            true => self.version.reference(name),
            false => json!({"type": "string"}),
        };
        let media = "application/json";
        let mut out = json!({
            "description": format!("{action} {}", names.kind),
            "operationId": id,
            "tags": [format!("{}_{}", names.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core"), names.version)],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
        });
        match self.version {
            Version::V2 => {
                if let Some(sent) = &sent {
                    parameters.push(json!({"name": "body", "in": "body", "required": action != "delete" && action != "deletecollection", "schema": schema(sent)}));
                }
                out["responses"] = json!({"200": {"description": "OK", "schema": schema(&answer)}, "401": {"description": "Unauthorized"}});
                out["produces"] = json!(["application/json", "application/yaml"]);
                out["consumes"] = match action {
                    "patch" => json!([
                        "application/json-patch+json",
                        "application/merge-patch+json",
                        "application/strategic-merge-patch+json",
                        "application/apply-patch+yaml"
                    ]),
                    _ => json!(["*/*"]),
                };
            }
            Version::V3 => {
                if let Some(sent) = &sent {
                    let content = match action {
                        "patch" => crate::patch::PatchType::MEDIA_TYPES
                            .iter()
                            .map(|(media, _)| {
                                ((*media).to_owned(), json!({"schema": schema(sent)}))
                            })
                            .collect::<Map<_, _>>(),
                        _ => std::iter::once(("*/*".to_owned(), json!({"schema": schema(sent)})))
                            .collect(),
                    };
                    out["requestBody"] = json!({"content": content});
                }
                out["responses"] = json!({"200": {"description": "OK", "content": {media: {"schema": schema(&answer)}}}, "401": {"description": "Unauthorized"}});
            }
        }
        if !parameters.is_empty() {
            out["parameters"] = parameters.into();
        }
        out
    }
}

fn path_parameters(version: Version, path: &str) -> Value {
    let mut out = Vec::new();
    if path.contains("{name}") {
        out.push(parameter(version, "path", "name", "string", "name of the object"));
    }
    if path.contains("{namespace}") {
        out.push(parameter(
            version,
            "path",
            "namespace",
            "string",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    out.push(parameter(
        version,
        "query",
        "pretty",
        "string",
        "If 'true', then the output is pretty printed.",
    ));
    out.into()
}

pub(super) fn paths_of(
    version: Version,
    kind: &dyn Resource,
    known: &BTreeMap<String, Value>,
) -> Map<String, Value> {
    let names = kind.names();
    let mut out = Map::new();
    let place = if kind.namespaced() { "/namespaces/{namespace}" } else { "" };
    let all = format!("{}{place}/{}", names.root(), names.plural);
    let one = format!("{all}/{{name}}");
    let mut add = |path: &str, method: &str, call: &Call<'_>, action: &str| {
        let id = format!("{action}{}", path.replace(['/', '{', '}', '.'], "_"));
        let operation = call.operation(action, &id, known);
        let entry = out
            .entry(path.to_owned())
            .or_insert_with(|| json!({"parameters": path_parameters(version, path)}));
        entry[method] = operation;
    };
    let call = Call { version, kind, sub: None };
    for verb in kind.verbs() {
        match *verb {
            "create" => add(&all, "post", &call, "post"),
            "list" => {
                add(&all, "get", &call, "list");
                if kind.namespaced() {
                    add(&format!("{}/{}", names.root(), names.plural), "get", &call, "list");
                }
            }
            "deletecollection" => add(&all, "delete", &call, "deletecollection"),
            "get" => add(&one, "get", &call, "get"),
            "update" => add(&one, "put", &call, "put"),
            "patch" => add(&one, "patch", &call, "patch"),
            "delete" => add(&one, "delete", &call, "delete"),
            _ => {}
        }
    }
    for sub in kind.subresources() {
        let path = format!("{one}/{}", sub.name);
        let call = Call { version, kind, sub: Some(sub) };
        let connects = matches!(sub.name, "exec" | "attach" | "portforward" | "proxy" | "log");
        for verb in sub.verbs {
            let (method, action) = match *verb {
                "create" => ("post", "post"),
                "get" => ("get", "get"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => continue,
            };
            add(&path, method, &call, if connects { "connect" } else { action });
        }
    }
    out
}
