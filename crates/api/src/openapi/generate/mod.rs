//! Makes the documents.
//!
//! `UPDATE_EXPECT=1 cargo test -p api documents_are_up_to_date` writes them anew.

mod operations;
mod schemas;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    path::PathBuf,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::FILES;
use crate::{facts::generate::reference, resource};
use operations::paths_of;
use schemas::{Version, schemas};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

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
