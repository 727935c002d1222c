//! What there is: groups, versions, resources and their verbs, derived from the table of kinds.
//!
//! Clients read `/api`, `/apis` and the groups below them in one of two forms: plain lists, or, by
//! `Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`, all at once.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::resource::{self, Names, Resource, Subresource};

/// `/api`; `address` is where clients reach the server (`host:port`).
#[must_use]
pub fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`
#[must_use]
pub fn groups() -> Value {
    let groups: Vec<Value> = group_names().into_iter().map(group_body).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` for a group that is not there, and for core.
#[must_use]
pub fn group(name: &str) -> Option<Value> {
    let name = group_names().into_iter().find(|known| *known == name)?;
    let mut body = group_body(name);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    Some(body)
}

/// `/api/v1` and `/apis/GROUP/VERSION`; `None` where there is none.
#[must_use]
pub fn resources(group: &str, version: &str) -> Option<Value> {
    let mut rows = BTreeMap::new();
    for kind in of_version(group, version) {
        let names = kind.names();
        rows.insert(names.plural.to_owned(), api_resource(kind));
        for sub in kind.subresources() {
            rows.insert(format!("{}/{}", names.plural, sub.name), api_subresource(kind, sub));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let rows: Vec<Value> = rows.into_values().collect();
    let mut body = json!({"kind": "APIResourceList", "resources": rows});
    if group.is_empty() {
        body["groupVersion"] = version.into();
    } else {
        body["apiVersion"] = "v1".into();
        body["groupVersion"] = format!("{group}/{version}").into();
    }
    Some(body)
}

/// `/api` (`core`) or `/apis` in the aggregated form.
#[must_use]
pub fn aggregated(core: bool) -> Value {
    let names = if core { vec![""] } else { group_names() };
    let items: Vec<Value> = names.into_iter().map(aggregated_group).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

/// The ETag of an aggregated document: changes when it does.
#[must_use]
pub fn etag(document: &[u8]) -> String {
    let hash = digest(&SHA256, document);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The word by which clients notice that a kind is stored in another version.
#[must_use]
pub fn storage_version_hash(names: &Names) -> String {
    let Names { group, version, kind, .. } = names;
    let hash = digest(&SHA256, format!("{group}/{version}/{kind}").as_bytes());
    STANDARD.encode(&hash.as_ref()[..8])
}

/// Every group but core, in the order of the table.
fn group_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for kind in resource::all() {
        let name = kind.names().group;
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The versions of a group, best first: `v2` before `v1` before `v1beta1`, here by text.
fn versions(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&str> = resource::all()
        .iter()
        .map(|kind| kind.names())
        .filter(|names| names.group == group)
        .map(|names| names.version)
        .collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

fn of_version(group: &str, version: &str) -> impl Iterator<Item = &'static dyn Resource> {
    let kinds = resource::all().iter().copied();
    kinds.filter(move |kind| kind.names().group == group && kind.names().version == version)
}

fn group_body(name: &str) -> Value {
    let versions: Vec<Value> = versions(name)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn api_resource(kind: &dyn Resource) -> Value {
    let names = kind.names();
    let mut row = json!({
        "name": names.plural,
        "singularName": names.singular,
        "namespaced": kind.namespaced(),
        "kind": names.kind,
        "verbs": kind.verbs(),
    });
    if !names.short.is_empty() {
        row["shortNames"] = json!(names.short);
    }
    if !names.categories.is_empty() {
        row["categories"] = json!(names.categories);
    }
    if kind.verbs().contains(&"list") {
        row["storageVersionHash"] = storage_version_hash(names).into();
    }
    row
}

fn api_subresource(kind: &dyn Resource, sub: &Subresource) -> Value {
    let names = kind.names();
    let mut row = json!({
        "name": format!("{}/{}", names.plural, sub.name),
        "singularName": "",
        "namespaced": kind.namespaced(),
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if (sub.group, sub.version) != (names.group, names.version) {
        if !sub.group.is_empty() {
            row["group"] = sub.group.into();
        }
        row["version"] = sub.version.into();
    }
    row
}

fn aggregated_group(name: &str) -> Value {
    let versions: Vec<Value> = versions(name)
        .into_iter()
        .map(|version| {
            let mut rows = BTreeMap::new();
            for kind in of_version(name, version) {
                rows.insert(kind.names().plural, aggregated_resource(kind));
            }
            let rows: Vec<Value> = rows.into_values().collect();
            json!({"version": version, "resources": rows, "freshness": "Current"})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !name.is_empty() {
        metadata["name"] = name.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &dyn Resource) -> Value {
    let names = kind.names();
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut row = json!({
        "resource": names.plural,
        "responseKind": response(names.group, names.version, names.kind),
        "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": kind.verbs(),
    });
    if !names.short.is_empty() {
        row["shortNames"] = json!(names.short);
    }
    if !names.categories.is_empty() {
        row["categories"] = json!(names.categories);
    }
    if !kind.subresources().is_empty() {
        let subs = kind.subresources().iter().map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": response(sub.group, sub.version, sub.kind),
                "verbs": sub.verbs,
            })
        });
        row["subresources"] = subs.collect::<Vec<Value>>().into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(list: &'a Value, name: &str) -> &'a Value {
        list["resources"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
    }

    #[test]
    fn a4_plain_lists() {
        let core = resources("", "v1").unwrap();
        assert_eq!(core["groupVersion"], "v1");
        let pods = row(&core, "pods");
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(pods["categories"], json!(["all"]));
        assert_eq!(pods["singularName"], "pod");
        // As upstream's servers say: the hash is of group, version and kind alone.
        assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
        assert_eq!(row(&core, "pods/eviction")["group"], "policy");
        let apps = resources("apps", "v1").unwrap();
        assert_eq!(
            row(&apps, "statefulsets/scale"),
            &json!({"name": "statefulsets/scale", "singularName": "", "namespaced": true, "kind": "Scale", "verbs": ["get", "patch", "update"], "group": "autoscaling", "version": "v1"})
        );
        assert_eq!(row(&apps, "statefulsets")["storageVersionHash"], "H+vl74LkKdo=");
        assert!(resources("apps", "v2").is_none());
        assert!(resources("nope", "v1").is_none());
    }

    #[test]
    fn a4_groups() {
        assert_eq!(
            group("apps").unwrap(),
            json!({"kind": "APIGroup", "apiVersion": "v1", "name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}], "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}})
        );
        assert!(group("").is_none());
        let listed = groups()["groups"].as_array().unwrap().len();
        assert_eq!(listed, aggregated(false)["items"].as_array().unwrap().len());
        assert_eq!(
            core_versions("10.0.0.1:6443")["serverAddressByClientCIDRs"][0]["serverAddress"],
            "10.0.0.1:6443"
        );
    }

    #[test]
    fn a4_aggregated() {
        let core = aggregated(true);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let all = aggregated(false);
        let apps = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["metadata"]["name"] == "apps")
            .unwrap();
        let sets = &apps["versions"][0]["resources"][1];
        assert_eq!(sets["resource"], "statefulsets");
        assert_eq!(sets["scope"], "Namespaced");
        assert_eq!(
            sets["subresources"][0]["responseKind"],
            json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
        );
    }
}
