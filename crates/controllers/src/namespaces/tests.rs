//! Rows of a namespace's end.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{View, reconcile};
use crate::{Plan, Target, Verb, meta::Meta};

fn object(word: &str) -> Meta {
    let (kind, rest) = word.split_once('/').unwrap();
    let mut words = rest.split('+');
    let name = words.next().unwrap();
    let mut meta = json!({"name": name, "namespace": "n", "uid": format!("uid-{name}")});
    for word in words {
        match word {
            "term" => meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            finalizer => meta["finalizers"] = json!([finalizer]),
        }
    }
    let group = if kind == "StatefulSet" { "apps" } else { "" };
    let target = Target {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: "n".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
    };
    Meta { target, meta: Arc::new(serde_json::from_value(meta).unwrap()) }
}

fn plan(deleting: bool, finalizers: &Value, content: &str) -> (View, Plan) {
    let mut namespace = json!({"metadata": {"name": "n", "uid": "uid", "resourceVersion": "3"},
        "spec": {"finalizers": finalizers}, "status": {"phase": "Terminating"}});
    if deleting {
        namespace["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let view = View {
        namespace: Arc::new(serde_json::from_value(namespace).unwrap()),
        content: content.split_whitespace().map(object).collect(),
        now: "2026-01-01T00:01:00Z".parse().unwrap(),
    };
    let plan = reconcile(&view);
    (view, plan)
}

#[test]
fn pods_go_first_then_the_rest_then_the_namespace() {
    let status = "update status of Namespace n";
    for (content, wanted) in [
        ("", "update finalize of Namespace n".to_owned()),
        ("Pod/p ConfigMap/c", format!("delete Pod p; {status}")),
        ("Pod/p+term ConfigMap/c", status.to_owned()),
        (
            "ConfigMap/c StatefulSet/s",
            format!("delete ConfigMap c; delete StatefulSet s; {status}"),
        ),
        ("ConfigMap/c+term", status.to_owned()),
    ] {
        assert_eq!(plan(true, &json!(["kubernetes"]), content).1.to_string(), wanted, "{content}");
    }
    for (deleting, finalizers) in
        [(false, json!(["kubernetes"])), (true, json!([])), (true, json!(["mine"]))]
    {
        assert_eq!(plan(deleting, &finalizers, "Pod/p").1.to_string(), "nothing to do");
    }
}

#[test]
fn only_its_own_finalizer_goes() {
    let (_, plan) = plan(true, &json!(["mine", "kubernetes"]), "");
    let Verb::Update { object, subresource: Some("finalize") } = &plan.actions[0].verb else {
        panic!("{plan}")
    };
    assert_eq!(object.to_value()["spec"]["finalizers"], json!(["mine"]));
    assert_eq!(object.to_value()["metadata"]["resourceVersion"], "3");
}

#[test]
fn it_says_what_keeps_it_and_says_it_once() {
    let (mut view, plan) = plan(
        true,
        &json!(["kubernetes"]),
        "ConfigMap/a+term+hold ConfigMap/b+term StatefulSet/s+term",
    );
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    let value = object.to_value();
    let conditions = &value["status"]["conditions"];
    assert_eq!(conditions[0]["type"], "NamespaceContentRemaining");
    assert_eq!(conditions[0]["reason"], "SomeResourcesRemain");
    assert_eq!(
        conditions[0]["message"],
        "Some resources are remaining: configmaps. has 2 resource instances, statefulsets.apps has 1 resource instances"
    );
    assert_eq!(conditions[1]["type"], "NamespaceFinalizersRemaining");
    assert_eq!(
        conditions[1]["message"],
        "Some content in the namespace has finalizers remaining: hold in 2 resource instances"
            .replace("in 2", "in 1")
    );
    view.namespace = Arc::new(serde_json::from_value(value).unwrap());
    view.now = "2026-01-01T00:02:00Z".parse().unwrap();
    assert_eq!(reconcile(&view).to_string(), "nothing to do");
}

#[test]
fn a_plan_is_bounded() {
    let many: Vec<String> = (0..700).map(|n| format!("ConfigMap/c{n}")).collect();
    let (_, plan) = plan(true, &json!(["kubernetes"]), &many.join(" "));
    assert_eq!(plan.actions.len(), 501);
}
