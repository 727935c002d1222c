//! Makes `types.txt` out of k8s-openapi's schemas and `list-keys.json`.
//!
//! `UPDATE_EXPECT=1 cargo test -p api types_are_up_to_date` writes it anew.

use std::{collections::BTreeMap, fmt::Write as _};

use expect_test::expect_file;
use k8s_openapi::{
    api::{
        apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
        autoscaling::v1 as autoscaling, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, policy::v1 as policy, rbac::v1 as rbac,
        scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apimachinery::pkg::apis::meta::v1 as meta,
};
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::resource;

/// The schemas of everything the server reads, and of what they refer to.
pub(crate) fn definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    macro_rules! add {
        ($($module:ident: $($kind:ident),+;)+) => {
            $($({
                let _: schemars::Schema = generator.subschema_for::<$module::$kind>();
            })+)+
        };
    }
    add! {
        core: ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
            PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service, ServiceAccount, Binding;
        apps: ControllerRevision, StatefulSet;
        authentication: SelfSubjectReview, TokenReview, TokenRequest;
        authorization: LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview,
            SubjectAccessReview;
        autoscaling: Scale;
        coordination: Lease;
        discovery: EndpointSlice;
        events: Event;
        policy: Eviction;
        rbac: ClusterRole, ClusterRoleBinding, Role, RoleBinding;
        scheduling: PriorityClass;
        storage: StorageClass;
        meta: APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, ListMeta, Status;
    }
    let _: schemars::Schema = generator.subschema_for::<crate::policy::StatefulSetPolicy>();
    generator.take_definitions(false)
}

/// Facts by type and field; `.` is the type itself.
pub(crate) type Facts = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

pub(crate) fn facts() -> Facts {
    serde_json::from_str(include_str!("../list-keys.json")).unwrap()
}

pub(crate) fn reference(schema: &Value) -> Option<String> {
    let target = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
    Some(target.replace("~1", "/").replace("~0", "~"))
}

fn shape(schema: &Value) -> String {
    if let Some(target) = reference(schema) {
        return match target.rsplit('.').next().unwrap() {
            "Time" => "t".to_owned(),
            "MicroTime" => "u".to_owned(),
            "Quantity" => "q".to_owned(),
            "IntOrString" => "x".to_owned(),
            "RawExtension" | "FieldsV1" | "JSON" => "?".to_owned(),
            _ => format!("@{target}"),
        };
    }
    let word = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    match (word("type"), word("format")) {
        ("string", "byte") => "y".to_owned(),
        ("string", _) => "s".to_owned(),
        ("integer", "int32") => "i".to_owned(),
        ("integer", _) => "l".to_owned(),
        ("number", _) => "n".to_owned(),
        ("boolean", _) => "b".to_owned(),
        ("array", _) => format!("[{}", shape(&schema["items"])),
        ("object", _) => match schema.get("additionalProperties") {
            Some(values) => format!("{{{}", shape(values)),
            None => "?".to_owned(),
        },
        _ => panic!("a shape unheard of: {schema}"),
    }
}

/// Fields that Go holds by value (or lists that it always writes): they are there even when empty, so
/// that nobody becomes their owner by setting something within.
///
/// Source: k8s.io/api v1.36, fields of struct type without a pointer.
const BY_VALUE: &[&str] = &[
    "*.metadata",
    "*.spec",
    "*.status",
    "Container.resources",
    "EphemeralContainer.resources",
    "ContainerStatus.lastState",
    "ContainerStatus.state",
    "Endpoint.conditions",
    "Event.deprecatedSource",
    "Event.involvedObject",
    "Event.regarding",
    "Event.source",
    "ClusterRoleBinding.roleRef",
    "NodeDaemonEndpoints.kubeletEndpoint",
    "NodeStatus.daemonEndpoints",
    "NodeStatus.nodeInfo",
    "PersistentVolumeClaimSpec.resources",
    "PodSpec.containers",
    "PreferredSchedulingTerm.preference",
    "RoleBinding.roleRef",
    "ServiceStatus.loadBalancer",
    "StatefulSetSpec.template",
    "StatefulSetSpec.updateStrategy",
    "WeightedPodAffinityTerm.podAffinityTerm",
];

fn is_by_value(name: &str, field: &str, schema: &Value) -> bool {
    let short = name.rsplit('.').next().unwrap();
    let refers = shape(schema).starts_with('@');
    let everywhere = refers && BY_VALUE.contains(&format!("*.{field}").as_str());
    everywhere || BY_VALUE.contains(&format!("{short}.{field}").as_str())
}

fn fact_words(facts: &Map<String, Value>) -> String {
    let word = |key: &str| facts.get(key).and_then(Value::as_str);
    let mut out = String::new();
    match word("list-type") {
        Some("map") => {
            let keys: Vec<&str> = facts["list-map-keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key.as_str().unwrap())
                .collect();
            write!(out, " l=map:{}", keys.join(",")).unwrap();
        }
        Some(kind) => write!(out, " l={kind}").unwrap(),
        None => {}
    }
    for (letter, key) in [("m", "map-type"), ("p", "patch-merge-key"), ("s", "patch-strategy")] {
        if let Some(value) = word(key) {
            write!(out, " {letter}={value}").unwrap();
        }
    }
    out
}

fn render() -> String {
    let (facts, mut out) = (facts(), String::new());
    let none = BTreeMap::new();
    let definitions: BTreeMap<String, Value> = definitions().into_iter().collect();
    for (name, schema) in definitions {
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else { continue };
        let known = facts.get(&name).unwrap_or(&none);
        let atomic = known.get(".").is_some_and(|own| own["map-type"] == "atomic");
        writeln!(out, "{name}{}", if atomic { " atomic" } else { "" }).unwrap();
        let fields: BTreeMap<&String, &Value> = fields.iter().collect();
        for (field, schema) in fields {
            let mut words = known.get(field).map(fact_words).unwrap_or_default();
            if is_by_value(&name, field, schema) {
                words.push_str(" v");
            }
            writeln!(out, " {field} {}{words}", shape(schema)).unwrap();
        }
    }
    out
}

#[test]
fn types_are_up_to_date() {
    expect_file!["types.txt"].assert_eq(&render());
}

#[test]
fn every_kind_and_fact_is_in_the_table() {
    for resource in resource::all() {
        let names = resource.names();
        let name = super::schema_name(names.group, names.version, names.kind);
        assert!(super::types().find(&name).is_some(), "{name} is missing from definitions()");
    }
}
