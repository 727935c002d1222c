//! Rows of revisions: R1 to R11.

use std::sync::Arc;

use api::{
    k8s::{
        api::apps::v1::{ControllerRevision, StatefulSet},
        apimachinery::pkg::runtime::RawExtension,
    },
    resource,
};
use serde_json::{Value, json};

use super::{
    super::{View, go_json, reconcile, revision_data, revision_hash},
    case::{check, revision, revision_name, short, view},
};
use crate::Verb;

/// Pairs that a Kubernetes 1.36.2 control plane made; the file says how.
const PAIRS: &str = include_str!("../../../../api/tests/fixtures/revisions.md");

#[test]
fn r1_r3_names_and_bytes_are_upstreams() {
    let mut seen = 0;
    for part in PAIRS.split("\n## `").skip(1) {
        let (name, rest) = part.split_once('`').unwrap();
        let mut blocks = rest.split("```json\n").skip(1);
        let mut block = || blocks.next().unwrap().split("\n```").next().unwrap();
        let (sent, data) = (block(), block());
        let (set, _) = name.rsplit_once('-').unwrap();
        let sent: Value = serde_json::from_str(sent).unwrap();
        let mut object: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": set, "namespace": "rev"},
            "spec": {"serviceName": "s", "replicas": 0, "template": sent,
                "selector": {"matchLabels": {"app": set}}},
        }))
        .unwrap();
        resource::of::<StatefulSet>().apply_defaults(&mut object);
        let made = revision_data(&object);
        assert_eq!(go_json::encode(&made), data, "{name}");
        assert_eq!(format!("{set}-{}", revision_hash(&made, 0)), name);
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn r1_strings_are_escaped_as_go_escapes_them() {
    for (text, wanted) in [
        ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
        ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
        ("\u{1}\u{8}\u{c}\n\r\t", r#""\u0001\b\f\n\r\t""#),
        ("\"\\/\u{7f}é😀", "\"\\\"\\\\/\u{7f}é😀\""),
    ] {
        assert_eq!(go_json::encode(&json!(text)), wanted);
    }
    assert_eq!(
        go_json::encode(&json!({"b": [1, null, true], "a": {}})),
        r#"{"a":{},"b":[1,null,true]}"#
    );
}

#[test]
fn r3_the_collision_count_changes_the_hash() {
    let data = json!({"spec": {}});
    let (none, one) = (revision_hash(&data, 0), revision_hash(&data, 1));
    assert_ne!(none, one);
    for hash in [none, one] {
        assert!((1..=10).contains(&hash.len()));
        assert!(hash.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)), "{hash}");
    }
}

fn new_revision(view: &View) -> ControllerRevision {
    let plan = reconcile(view);
    let made = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Create(object) => object.as_any().downcast_ref::<ControllerRevision>(),
        _ => None,
    });
    made.unwrap_or_else(|| panic!("{plan}")).clone()
}

#[test]
fn r2_labels_annotations_and_owner() {
    let made = new_revision(&view("0@a unrevised |"));
    let meta = &made.metadata;
    let labels = meta.labels.as_ref().unwrap();
    assert_eq!(labels["app"], "web");
    assert_eq!(format!("web-{}", labels["controller.kubernetes.io/hash"]), revision_name("a"));
    assert_eq!(meta.annotations.as_ref().unwrap()["kubernetes.io/change-cause"], "why not");
    assert_eq!(meta.namespace.as_deref(), Some("default"));
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), ("set", Some(true)));
    assert_eq!(made.revision, 1);
}

#[test]
fn r3_a_long_name_is_cut_at_223() {
    let mut long = view("0@a unrevised |");
    Arc::make_mut(&mut long.set).metadata.name = Some("x".repeat(230));
    let name = new_revision(&long).metadata.name.unwrap();
    assert_eq!(name.find('-'), Some(223));
}

#[test]
fn r5_y5_the_newest_stays_an_older_one_is_raised_another_is_new() {
    check(
        "
        0@a unrevised |         => create a
        0@a |                   => nothing
        0@b had=a |             => create b
        0@b had=a,b |           => nothing
        0@a had=a,b |           => update a
        0@b had=a,b,c |         => update b
        ",
    );
    assert_eq!(new_revision(&view("0@c had=a,b |")).revision, 3);
    let plan = reconcile(&view("0@a had=a,b,c |"));
    let Verb::Update { object, subresource: None } = &plan.actions[0].verb else {
        panic!("{plan}")
    };
    let raised = object.to_value();
    assert_eq!(raised["revision"], 4);
    assert_eq!(raised["metadata"]["name"], revision_name("a"), "a rollback reuses the name");
}

/// R5 (G2): a template that only lacks what a newer version's defaults add makes no new revision.
#[test]
fn r5_g2_defaults_of_another_version_make_no_difference() {
    let mut seen = view("0@a |");
    let mut older = revision("a", 1);
    let mut data = older.data.take().unwrap().0;
    data["spec"]["template"]["spec"].as_object_mut().unwrap().remove("schedulerName").unwrap();
    older.data = Some(RawExtension(data));
    older.metadata.name = Some("web-older".to_owned());
    seen.revisions = vec![Arc::new(older)];
    assert_eq!(short(&reconcile(&seen)), "nothing");
}

#[test]
fn r6_a_name_that_is_taken_counts_a_collision() {
    let mut seen = view("0@a unrevised |");
    let mut squatter = revision("b", 1);
    squatter.metadata.name = Some(revision_name("a"));
    squatter.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    seen.revisions = vec![Arc::new(squatter.clone())];
    let made = new_revision(&seen);
    assert_ne!(made.metadata.name.unwrap(), revision_name("a"));
    // The label keeps the first hash (a quirk that is kept: section 18, R1 to R3).
    let labels = made.metadata.labels.unwrap();
    assert_eq!(format!("web-{}", labels["controller.kubernetes.io/hash"]), revision_name("a"));
    let plan = reconcile(&seen);
    let status = plan.actions.iter().find_map(|action| match &action.verb {
        Verb::Update { object, .. } => Some(object.to_value()["status"]["collisionCount"].clone()),
        _ => None,
    });
    assert_eq!(status, Some(json!(1)));
    // The same data under that name is the one.
    squatter.data = revision("a", 1).data;
    seen.revisions = vec![Arc::new(squatter)];
    assert!(!short(&reconcile(&seen)).contains("create"));
}

#[test]
fn r7_the_current_revision_is_the_one_in_the_status_if_it_is_there() {
    check(
        "
        2@b from=a partition=2 |           => create 0@a; until 0 is healthy
        2@b from=a had=b partition=2 |     => create 0@b; until 0 is healthy
        ",
    );
}

#[test]
fn r8_only_the_template_is_versioned() {
    check(
        "
        0@a partition=3 |            => nothing
        0@a ondelete min=3 start=2 | => nothing
        0@a scaled=Delete data |     => nothing
        ",
    );
}

#[test]
fn r9_history_keeps_what_lives_and_the_newest_of_the_rest() {
    check(
        "
        0@c had=a,b,c limit=0 |        => delete a; delete b
        0@c had=a,b,c limit=1 |        => delete a
        0@c had=a,b,c limit=2 |        => nothing
        0@c had=a,b,c limit=-1 |       => nothing
        1@c had=a,b,c limit=0 | 0:term@a => delete b; until 0 is gone
        1@c from=b had=a,b,c limit=0 | 0:term@c => delete a; until 0 is gone
        0@c deleting had=a,b,c limit=0 | => nothing
        ",
    );
    let plan = reconcile(&view("0@c had=a,b,c limit=1 |"));
    assert!(plan.actions.iter().all(|action| action.always), "also after an error");
}

#[test]
fn r10_y3_ownerless_revisions_are_adopted_first() {
    let mut seen = view("1@a |");
    let mut ownerless = revision("a", 1);
    ownerless.metadata.owner_references = None;
    seen.revisions = vec![Arc::new(ownerless.clone())];
    assert_eq!(short(&reconcile(&seen)), "confirm StatefulSet web; adopt a");
    ownerless.metadata.labels = None;
    seen.revisions = vec![Arc::new(ownerless)];
    assert!(!short(&reconcile(&seen)).contains("adopt"), "its labels do not match");
}

/// R4: revisions of other sets, and foreign ones that match, are nobody's history here.
#[test]
fn r4_only_its_own_count() {
    let mut seen = view("0@b had=a,b |");
    let mut foreign = revision("c", 9);
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    seen.revisions.push(Arc::new(foreign));
    assert_eq!(short(&reconcile(&seen)), "nothing");
}
