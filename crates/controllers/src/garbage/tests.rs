//! Rows of garbage: an object, its owners, its dependents.
//!
//! ```text
//! OBJECT       | OWNERS                    | DEPENDENTS   => PLAN
//! pod          | set:there                 | child        => nothing to do
//! ```

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Owner, OwnerState, View, reconcile};
use crate::{PatchKind, Propagation, Target, Verb, meta::Meta};

fn target(name: &str) -> Target {
    Target {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
    }
}

/// `name`, `name+term`, `name+foreground+orphan` …
fn meta(word: &str, owners: &[Value]) -> Meta {
    let mut words = word.split('+');
    let name = words.next().unwrap();
    let mut meta = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}"),
        "resourceVersion": "7", "ownerReferences": owners});
    let mut finalizers = Vec::new();
    for word in words {
        match word {
            "term" => meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            "foreground" => finalizers.push("foregroundDeletion"),
            "orphan" => finalizers.push("orphan"),
            other => finalizers.push(other),
        }
    }
    meta["finalizers"] = json!(finalizers);
    Meta { target: target(name), meta: Arc::new(serde_json::from_value(meta).unwrap()) }
}

fn reference(name: &str, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": format!("uid-{name}"),
        "blockOwnerDeletion": blocks})
}

fn view(case: &str) -> View {
    let mut parts = case.split('|');
    let object = parts.next().unwrap().trim();
    let owners: Vec<Owner> = parts
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|word| {
            let (name, state) = word.split_once(':').unwrap();
            Owner {
                reference: serde_json::from_value(reference(name, true)).unwrap(),
                state: match state {
                    "there" => OwnerState::Present(meta(name, &[])),
                    "going" => OwnerState::Present(meta(&format!("{name}+term"), &[])),
                    "waiting" => OwnerState::Present(meta(&format!("{name}+term+foreground"), &[])),
                    "absent" => OwnerState::Absent(target(name)),
                    "unknown" => OwnerState::Unknown,
                    other => panic!("{other}"),
                },
            }
        })
        .collect();
    let references: Vec<Value> =
        owners.iter().map(|owner| serde_json::to_value(&owner.reference).unwrap()).collect();
    let name = object.split('+').next().unwrap();
    let dependents = parts.next().unwrap_or_default().split_whitespace().map(|word| {
        // `~name` does not block its owner's deletion.
        let blocks = !word.starts_with('~');
        meta(word.trim_start_matches('~'), &[reference(name, blocks)])
    });
    View { object: meta(object, &references), dependents: dependents.collect(), owners }
}

#[track_caller]
fn check(rows: &str) {
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with("//")) {
        let (case, wanted) = row.split_once("=>").unwrap();
        let plan = reconcile(&view(case));
        let how = plan.actions.iter().find_map(|action| match &action.verb {
            Verb::Delete { propagation, .. } => propagation.map(|how| match how {
                Propagation::Background => " in the background",
                Propagation::Foreground => " in the foreground",
                Propagation::Orphan => " alone",
            }),
            _ => None,
        });
        let got = format!("{plan}{}", how.unwrap_or_default()).replace("ConfigMap ", "");
        assert_eq!(got, wanted.trim(), "{case}");
        assert!(plan.actions.is_sorted_by_key(|action| action.group), "{case}");
    }
}

#[test]
fn an_object_goes_with_its_last_owner() {
    check(
        "
        o | a:there              |   => nothing to do
        o |                      |   => nothing to do
        // an owner that is going, but not waiting, still keeps it
        o | a:going              |   => nothing to do
        o | a:absent             |   => confirm that a is gone; delete o in the background
        o | a:absent             | c => confirm that a is gone; delete o in the background
        o | a:absent b:absent    |   => confirm that a is gone; confirm that b is gone; delete o in the background
        // a kind that this server does not know may well have it
        o | a:unknown            |   => nothing to do
        o | a:absent b:unknown   |   => confirm that a is gone; patch o
        o+term | a:absent        |   => nothing to do
        ",
    );
}

#[test]
fn of_two_owners_one_is_enough() {
    check(
        "
        o | a:there b:there      |   => nothing to do
        o | a:absent b:there     |   => confirm that a is gone; patch o
        o | a:waiting b:there    |   => patch o
        ",
    );
    let plan = reconcile(&view("o | a:absent b:there |"));
    let Verb::Patch { body, kind: PatchKind::Strategic, .. } = &plan.actions[1].verb else {
        panic!("{plan}")
    };
    let removed = &body["metadata"]["ownerReferences"];
    assert_eq!(*removed, json!([{"$patch": "delete", "uid": "uid-a"}]));
    assert_eq!(body["metadata"]["uid"], "uid-o");
}

#[test]
fn nothing_goes_on_a_caches_word_alone() {
    let plan = reconcile(&view("o | a:absent |"));
    let Verb::ConfirmGone(target) = &plan.actions[0].verb else { panic!("{plan}") };
    assert_eq!(target.uid, "uid-a");
    let Verb::Delete { target, resource_version, .. } = &plan.actions[1].verb else {
        panic!("{plan}")
    };
    assert_eq!(target.uid, "uid-o");
    assert_eq!(resource_version.as_deref(), Some("7"), "a new owner may have come since");
    assert!(plan.actions[0].group < plan.actions[1].group);
}

#[test]
fn a_waiting_owner_takes_its_dependents_first() {
    check(
        "
        o | a:waiting            |   => delete o in the background
        o | a:waiting            | c => delete o in the foreground
        o+foreground | a:absent  |   => confirm that a is gone; delete o in the foreground
        o+orphan | a:absent      |   => confirm that a is gone; delete o alone
        ",
    );
}

#[test]
fn foreground_ends_when_nothing_blocks() {
    check(
        "
        o+term+foreground |      |       => patch o
        o+term+foreground |      | c     => nothing to do
        o+term+foreground |      | ~c    => patch o
        o+term+foreground |      | ~c d  => nothing to do
        o+foreground |           |       => nothing to do
        ",
    );
    let plan = reconcile(&view("o+term+foreground+mine | |"));
    let Verb::Patch { body, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    assert_eq!(body["metadata"]["finalizers"], json!(["mine"]), "those of others stay");
    assert_eq!(body["metadata"]["resourceVersion"], "7");
}

#[test]
fn orphans_are_let_go_before_their_owner() {
    check(
        "
        o+term+orphan |          | c d   => patch c; patch d; patch o
        o+term+orphan |          |       => patch o
        ",
    );
    let plan = reconcile(&view("o+term+orphan | | c"));
    assert!(plan.actions[0].group < plan.actions[1].group);
    let Verb::Patch { body, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    assert_eq!(body["metadata"]["ownerReferences"], json!([{"$patch": "delete", "uid": "uid-o"}]));
}
