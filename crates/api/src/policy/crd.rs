//! Makes `deploy/crd.yaml`, by which other clusters serve StatefulSetPolicy.
//!
//! `UPDATE_EXPECT=1 cargo test -p api crd_is_up_to_date` writes it anew.

use expect_test::expect_file;
use serde_json::{Map, Value, json};

use super::{RESERVED_PATTERN, StatefulSetPolicy};
use crate::{
    columns::stead::STATEFUL_SET_POLICY as COLUMNS,
    facts::{
        generate::{definitions, reference},
        schema_name,
    },
    resource,
};

/// What each column but the name is read from.
const PATHS: &[(&str, &str)] = &[
    ("StatefulSet", ".spec.statefulSetName"),
    ("Paused", ".spec.paused"),
    ("Max Unavailable", ".spec.rollout.maxUnavailable"),
    ("Reserved", ".spec.ordinals.reserved"),
    ("Accepted", ".status.conditions[?(@.type==\"Accepted\")].status"),
    ("Age", ".metadata.creationTimestamp"),
];

/// A schema as a CRD has it: without references.
fn inlined(schema: &Value, all: &Map<String, Value>) -> Value {
    if let Some(name) = reference(schema) {
        if name.ends_with(".ObjectMeta") {
            // Every object has it: a CRD may say no more.
            return json!({"type": "object"});
        }
        let mut out = match name.rsplit('.').next().unwrap() {
            "Time" => json!({"type": "string", "format": "date-time"}),
            "IntOrString" => json!({
                "x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": "^(100|[1-9][0-9]?)%$",
            }),
            _ => inlined(&all[&name], all),
        };
        if let Some(text) = schema.get("description") {
            out["description"] = text.clone();
        }
        return out;
    }
    let mut out = schema.clone();
    if let Some(Value::Object(fields)) = out.get_mut("properties") {
        for field in fields.values_mut() {
            *field = inlined(field, all);
        }
    }
    if let Some(items) = out.get_mut("items") {
        *items = inlined(items, all);
    }
    out
}

fn schema() -> Value {
    let all = definitions();
    let names = resource::of::<StatefulSetPolicy>().names();
    let name = schema_name(names.group, names.version, names.kind);
    let mut out = inlined(&all[&name], &all);
    out["required"] = json!(["spec"]);
    let spec = &mut out["properties"]["spec"]["properties"];
    let name = spec["statefulSetName"].as_object_mut().unwrap();
    name.extend(fields(&json!({
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "field is immutable"}],
    })));
    let rollout = &mut spec["rollout"];
    rollout["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.onDeadline) || self.onDeadline != 'Return' || has(self.progressDeadlineSeconds)",
        "message": "progressDeadlineSeconds must be specified when onDeadline is 'Return'",
    }]);
    rollout["properties"]["progressDeadlineSeconds"]["minimum"] = json!(1);
    rollout["properties"]["creation"]["default"] = json!("Ordered");
    rollout["properties"]["onDeadline"]["default"] = json!("None");
    let ordinals = &mut spec["ordinals"]["properties"];
    ordinals["claims"]["default"] = json!("Retain");
    ordinals["reserved"]["items"]["pattern"] = json!(format!("^{RESERVED_PATTERN}$"));
    // Two numbers of ten digits and a dash.
    ordinals["reserved"]["items"]["maxLength"] = json!(21);
    out
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn columns() -> Vec<Value> {
    let shown = COLUMNS.iter().filter(|column| column.format != "name").zip(PATHS);
    let column = |(column, (name, path)): (&resource::Column, &(&str, &str))| {
        assert_eq!(column.name, *name, "PATHS follows the columns");
        let kind = if column.name == "Age" { "date" } else { column.kind };
        let mut out = json!({"name": name, "type": kind, "jsonPath": path});
        if column.priority > 0 {
            out["priority"] = column.priority.into();
        }
        if column.name != "Age" {
            out["description"] = column.description.into();
        }
        out
    };
    let columns: Vec<Value> = shown.map(column).collect();
    assert_eq!(columns.len(), COLUMNS.len() - 1, "every column has a path");
    columns
}

fn render() -> String {
    let names = resource::of::<StatefulSetPolicy>().names();
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", names.plural, names.group)},
        "spec": {
            "group": names.group,
            "names": {
                "kind": names.kind,
                "listKind": format!("{}List", names.kind),
                "plural": names.plural,
                "singular": names.singular,
                "shortNames": names.short,
            },
            "scope": "Namespaced",
            "versions": [{
                "name": names.version,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": schema()},
            }],
        },
    });
    let head =
        "# Lets a cluster serve StatefulSetPolicy. Made from the type by a test of crate api.\n";
    format!("{head}{}", serde_saphyr::to_string(&crd).unwrap())
}

#[test]
fn crd_is_up_to_date() {
    expect_file!["../../../../deploy/crd.yaml"].assert_eq(&render());
}

/// What the API server of another cluster demands of a schema beyond OpenAPI.
#[test]
fn the_schema_is_structural() {
    let mut open = vec![("".to_owned(), schema())];
    while let Some((path, one)) = open.pop() {
        assert!(one.get("$ref").is_none(), "{path}: a reference");
        let is_either = one.get("x-kubernetes-int-or-string").is_some();
        assert_eq!(one.get("type").is_none(), is_either, "{path}: a type");
        for (name, field) in one.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            open.push((format!("{path}.{name}"), field.clone()));
        }
        if let Some(items) = one.get("items") {
            open.push((format!("{path}[]"), items.clone()));
        }
    }
}
