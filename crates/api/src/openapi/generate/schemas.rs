//! The schemas, in the form of each version of OpenAPI.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::META;
use crate::{
    facts::generate::{Facts, definitions, facts, reference},
    facts::schema_name,
    resource::{self, Resource},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

impl Version {
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Version::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Version::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// Every schema in the form of this version, lists and patches among them.
pub(super) fn schemas(version: Version) -> BTreeMap<String, Value> {
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
