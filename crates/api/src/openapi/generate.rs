//! Makes the documents.
//!
//! `UPDATE_EXPECT=1 cargo test -p api documents_are_up_to_date` writes them anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    path::PathBuf,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::FILES;
use crate::{
    facts::generate::{Facts, definitions, facts, reference},
    facts::schema_name,
    resource::{self, Resource, Subresource},
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

impl Version {
    fn reference(self, name: &str) -> Value {
        match self {
            Version::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Version::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// Every schema in the form of this version, lists and patches among them.
fn schemas(version: Version) -> BTreeMap<String, Value> {
    let (facts, all) = (facts(), definitions());
    let converted = |(name, schema): (&String, &Value)| {
        (name.clone(), definition(version, name, schema, &facts))
    };
    let mut out: BTreeMap<String, Value> = all.iter().map(converted).collect();
    let head = convert(version, &all[&format!("{META}.APIGroupList")]);
    for kind in resource::all() {
        let names = kind.names();
        let name = schema_name(names.group, names.version, names.kind);
        let gvk = json!([{"group": names.group, "kind": names.kind, "version": names.version}]);
        let own = out.get_mut(&name).unwrap();
        own["x-kubernetes-group-version-kind"] = gvk;
        // k8s-openapi demands metadata; the API does not.
        if let Some(required) = own.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != "metadata");
            if required.is_empty() {
                own.as_object_mut().unwrap().remove("required");
            }
        }
        if kind.verbs().contains(&"list") {
            out.insert(format!("{name}List"), list_schema(version, *kind, &name, &head));
        }
    }
    for (group, v, kind) in [
        ("autoscaling", "v1", "Scale"),
        ("policy", "v1", "Eviction"),
        ("", "v1", "Binding"),
        ("authentication.k8s.io", "v1", "TokenRequest"),
    ] {
        let own = out.get_mut(&schema_name(group, v, kind)).unwrap();
        own["x-kubernetes-group-version-kind"] =
            json!([{"group": group, "kind": kind, "version": v}]);
    }
    for kind in ["Status", "DeleteOptions"] {
        let own = out.get_mut(&format!("{META}.{kind}")).unwrap();
        own["x-kubernetes-group-version-kind"] =
            json!([{"group": "", "kind": kind, "version": "v1"}]);
    }
    let patch =
        "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    out.insert(format!("{META}.Patch"), json!({"description": patch, "type": "object"}));
    out
}

fn definition(version: Version, name: &str, schema: &Value, facts: &Facts) -> Value {
    let mut out = convert(version, schema);
    match name.rsplit('.').next().unwrap() {
        "IntOrString" => {
            out.as_object_mut().unwrap().remove("x-kubernetes-int-or-string");
            out["format"] = "int-or-string".into();
            match version {
                Version::V2 => out["type"] = "string".into(),
                Version::V3 => out["oneOf"] = json!([{"type": "integer"}, {"type": "string"}]),
            }
        }
        "Quantity" => {
            out.as_object_mut().unwrap().remove("x-kubernetes-int-or-string");
            match version {
                Version::V2 => out["type"] = "string".into(),
                Version::V3 => out["oneOf"] = json!([{"type": "string"}, {"type": "number"}]),
            }
        }
        _ => {}
    }
    for (field, said) in facts.get(name).into_iter().flatten() {
        let target = match field.as_str() {
            "." => Some(&mut out),
            _ => out.get_mut("properties").and_then(|fields| fields.get_mut(field)),
        };
        let Some(target) = target else { continue };
        for (key, value) in said {
            target[format!("x-kubernetes-{key}")] = value.clone();
        }
    }
    out
}

fn convert(version: Version, schema: &Value) -> Value {
    if let Some(name) = reference(schema) {
        let to = version.reference(&name);
        let description = schema.get("description");
        return match (version, description) {
            (_, None) => to,
            (Version::V2, Some(text)) => json!({"$ref": to["$ref"], "description": text}),
            (Version::V3, Some(text)) => json!({"allOf": [to], "description": text}),
        };
    }
    let mut out = Map::new();
    for (key, value) in schema.as_object().unwrap() {
        let value = match key.as_str() {
            "properties" => {
                let fields = value.as_object().unwrap().iter();
                Value::Object(fields.map(|(k, v)| (k.clone(), convert(version, v))).collect())
            }
            "items" | "additionalProperties" => convert(version, value),
            _ => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    Value::Object(out)
}

fn list_schema(version: Version, kind: &dyn Resource, item: &str, head: &Value) -> Value {
    let names = kind.names();
    let list = format!("{}List", names.kind);
    let metadata = json!({"$ref": format!("#/$defs/{META}.ListMeta"), "description": "Standard list metadata."});
    json!({
        "description": format!("{list} is a list of {}.", names.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": head["properties"]["apiVersion"],
            "items": {"description": format!("Items is the list of {}.", names.kind), "type": "array", "items": version.reference(item)},
            "kind": head["properties"]["kind"],
            "metadata": convert(version, &metadata),
        },
        "x-kubernetes-group-version-kind": [{"group": names.group, "kind": list, "version": names.version}],
    })
}

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

fn paths_of(
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

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.36.2"})
}

fn render_v2() -> Value {
    let schemas = schemas(Version::V2);
    let mut paths = Map::new();
    for kind in resource::all() {
        paths.extend(paths_of(Version::V2, *kind, &schemas));
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": schemas})
}

fn render_v3(root: &str, schemas: &BTreeMap<String, Value>) -> Value {
    let mut paths = Map::new();
    let mut wanted = BTreeSet::new();
    for kind in resource::all() {
        if kind.names().root().trim_start_matches('/') == root {
            paths.extend(paths_of(Version::V3, *kind, schemas));
        }
    }
    let mut open = vec![Value::Object(paths.clone())];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(map) => {
                if let Some(name) = reference(&Value::Object(map.clone()))
                    && wanted.insert(name.clone())
                {
                    open.push(schemas[&name].clone());
                }
                open.extend(map.into_values());
            }
            _ => {}
        }
    }
    let used: BTreeMap<&String, &Value> =
        wanted.iter().map(|name| (name, &schemas[name])).collect();
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": used}})
}

fn inflate(gzip: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut out).ok()?;
    Some(out)
}

#[test]
fn documents_are_up_to_date() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/openapi/generated");
    let mut documents = vec![("v2", render_v2())];
    let schemas = schemas(Version::V3);
    documents.extend(FILES.iter().map(|(path, file)| (*file, render_v3(path, &schemas))));
    for (file, document) in documents {
        let path = folder.join(format!("{file}.json.gz"));
        let wanted = serde_json::to_vec(&document).unwrap();
        let found = std::fs::read(&path).ok().and_then(|gzip| inflate(&gzip));
        if found.as_ref() == Some(&wanted) {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE_EXPECT").is_some(),
            "{file} is out of date: run with UPDATE_EXPECT=1"
        );
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&wanted).unwrap();
        std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    }
}

#[test]
fn a5_every_version_has_a_document() {
    for kind in resource::all() {
        let root = kind.names().root();
        assert!(
            super::v3(root.trim_start_matches('/')).is_some(),
            "{root} is missing from documents!"
        );
    }
    let url =
        super::index()["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
}

#[test]
fn a5_what_kubectl_reads() {
    let document: Value =
        serde_json::from_slice(&inflate(super::v3("apis/apps/v1").unwrap().gzip).unwrap()).unwrap();
    let one =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"]["patch"];
    assert_eq!(
        one["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "StatefulSet", "version": "v1"})
    );
    assert_eq!(one["x-kubernetes-action"], "patch");
    let names: Vec<&str> = one["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let pod = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(pod["properties"]["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(pod["properties"]["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
    let set = &document["components"]["schemas"]["io.k8s.api.apps.v1.StatefulSet"];
    assert_eq!(set["x-kubernetes-group-version-kind"][0]["kind"], "StatefulSet");
    assert_eq!(
        set["properties"]["spec"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.apps.v1.StatefulSetSpec"
    );
    assert!(set["properties"]["spec"]["description"].is_string());
    let v2: Value = serde_json::from_slice(&inflate(super::v2().gzip).unwrap()).unwrap();
    assert_eq!(
        v2["definitions"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]["x-kubernetes-patch-strategy"],
        "merge"
    );
}
