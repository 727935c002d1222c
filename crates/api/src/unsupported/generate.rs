//! Finds fields that no room reads, and writes `docs/unsupported-fields.md`.
//!
//! `UPDATE_EXPECT=1 cargo test -p api unsupported` writes the document anew. A field counts as read
//! when its Rust name stands in the code of a room that acts; where two types share a name, the list
//! says more than this test can find.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use expect_test::expect_file;

use super::{LIST, inside};
use crate::{
    facts::{self, Shape},
    resource,
};

/// Rooms that act on objects.
const ROOMS: &[&str] = &[
    "admission",
    "agent",
    "apiserver",
    "controllers",
    "dns",
    "host",
    "manager",
    "network",
    "podsync",
    "scheduler",
    "stead",
];

/// What several of them ask, and this crate answers.
const SHARED: &str = "api/src/selector";

/// Data that clients keep for each other, or that is turned into something else before it is stored.
const NOT_FOR_US: &[(&str, &str)] = &[
    ("ControllerRevision", "a set's own"),
    ("Endpoint.deprecatedTopology", "clients read it"),
    ("EphemeralContainer", "no request can add one yet"),
    ("Event", "people read it"),
    ("ManagedFieldsEntry", "crate api keeps them"),
    ("ResourceAttributes.fieldSelector", "roles have no selectors, upstream's neither"),
    ("ResourceAttributes.labelSelector", "roles have no selectors, upstream's neither"),
    ("Lease", "its holders read it"),
    ("Node", "the agent writes it"),
    ("Secret.stringData", "becomes data"),
];

fn is_for_us(kind: &str, field: &str) -> bool {
    let whole = format!("{kind}.{field}");
    NOT_FOR_US.iter().all(|(name, _)| *name != kind && *name != whole)
}

/// Each type that a client may fill in, with where it is first met.
fn places() -> BTreeMap<&'static str, String> {
    let mut places = BTreeMap::new();
    for kind in resource::all() {
        let names = kind.names();
        let Shape::Struct(id) = facts::of_kind(names) else { continue };
        let mut open = vec![(facts::types().get(id), names.kind.to_owned())];
        while let Some((one, place)) = open.pop() {
            if !is_for_us(one.short_name(), "") || places.contains_key(one.name) {
                continue;
            }
            for field in one.fields() {
                let is_root = place == names.kind;
                let is_listed = listed(one.name).any(|name| name == field.name);
                let is_ours = is_for_us(one.short_name(), field.name);
                if is_listed || !is_ours || is_root && matches!(field.name, "metadata" | "status") {
                    continue;
                }
                let ends = if matches!(field.shape, Shape::List(_)) { "[]" } else { "" };
                let sep = if is_root { ' ' } else { '.' };
                let place = format!("{place}{sep}{}{ends}", field.name);
                open.extend(inside(field.shape).map(|inner| (inner, place)));
            }
            places.insert(one.name, place);
        }
    }
    places
}

fn listed(kind: &str) -> impl Iterator<Item = &'static str> {
    LIST.fields.get(kind).into_iter().flatten().map(|(name, _)| *name)
}

/// `podIPs` is `pod_ips` in Rust.
fn rust_name(json: &str) -> String {
    let mut name = String::new();
    let chars: Vec<char> = json.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let rest: String = chars[at + 1..].iter().take(2).collect();
        let begins = before.is_some_and(|c| !c.is_ascii_uppercase())
            || before.is_some()
                && rest.starts_with(|c: char| c.is_ascii_lowercase())
                && rest != "s";
        if c.is_ascii_uppercase() && begins {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    if matches!(name.as_str(), "type" | "ref" | "enum") { name + "_" } else { name }
}

/// Every name in the code of these rooms, tests and comments aside.
fn words() -> BTreeSet<String> {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut words = BTreeSet::new();
    for room in ROOMS {
        read(&crates.join(room).join("src"), &mut words);
    }
    read(&crates.join(SHARED), &mut words);
    words
}

fn read(folder: &Path, words: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("tests") || name == "bootstrap_roles.rs" {
            continue;
        }
        if path.is_dir() {
            read(&path, words);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            let names =
                code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
            words.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn what_no_room_reads_is_listed() {
    let words = words();
    let mut silent = Vec::new();
    for (name, place) in places() {
        let id = facts::types().find(name).unwrap();
        let one = facts::types().get(id);
        for field in one.fields() {
            let is_read = words.contains(&rust_name(field.name))
                || matches!(field.name, "apiVersion" | "kind")
                || listed(name).any(|known| known == field.name);
            if !is_read && is_for_us(one.short_name(), field.name) {
                silent.push(format!("{place}.{} ({name})", field.name));
            }
        }
    }
    assert!(silent.is_empty(), "nothing reads these; list them in fields.txt: {silent:#?}");
}

#[test]
fn what_is_listed_is_in_the_schema() {
    for (kind, fields) in &LIST.fields {
        let id = facts::types().find(kind).unwrap_or_else(|| panic!("no type {kind}"));
        for (name, _) in fields {
            assert!(facts::types().get(id).field(name).is_some(), "{kind} has no {name}");
        }
    }
}

#[test]
fn the_document_is_up_to_date() {
    let places = places();
    let mut text = "# Unsupported fields\n\n\
        These fields are accepted, checked and stored as upstream does, and nothing acts on them yet. Whoever uses one\n\
        gets a warning: `spec.x is not supported by this version of stead and has no effect`. A pod that needs a volume of a listed kind waits, with an event.\n\n\
        A pod's fields hold for the template of a StatefulSet, a claim's for its claim templates. This page is written by a test\n\
        from `crates/api/src/unsupported/fields.txt`; see [CONTRIBUTING.md](../CONTRIBUTING.md).\n\n\
        | first met at | field | fine as |\n|---|---|---|\n"
        .to_owned();
    for (kind, fields) in &LIST.fields {
        let place = places.get(kind).unwrap_or_else(|| panic!("{kind} is not met anywhere"));
        for (name, usual) in fields {
            let usual = usual.as_ref().map(|usual| format!("`{usual}`")).unwrap_or_default();
            writeln!(text, "| {place} | `{name}` | {usual} |").unwrap();
        }
    }
    expect_file!["../../../../docs/unsupported-fields.md"].assert_eq(&text);
}
