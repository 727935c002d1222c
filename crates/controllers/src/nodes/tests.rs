//! Rows of nodes, of pods on tainted ones, and of pods whose node is no more.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{OUT_OF_SERVICE, eviction, lifecycle, orphans};
use crate::{Plan, Verb};

const NOW: &str = "2026-01-01T01:00:00Z";

fn parse<T: api::object::Typed>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A node that has its addresses and these conditions and taints, last heard of so many seconds ago.
fn node_view(ready: Option<&str>, taints: &Value, ago_s: i64) -> lifecycle::View {
    let conditions: Vec<Value> =
        ready.map(|status| json!({"type": "Ready", "status": status})).into_iter().collect();
    let now: jiff::Timestamp = NOW.parse().unwrap();
    lifecycle::View {
        node: parse(json!({"metadata": {"name": "n", "uid": "node", "resourceVersion": "4"},
            "spec": {"podCIDR": "10.244.0.0/24", "taints": taints},
            "status": {"conditions": conditions}})),
        lease: None,
        taken: Vec::new(),
        pods: lifecycle::PodNetwork { base: [10, 244, 0, 0].into(), prefix: 16, node_prefix: 24 },
        last_sign: now.checked_sub(jiff::SignedDuration::from_secs(ago_s)).unwrap(),
        now,
    }
}

fn patch(plan: &Plan) -> Value {
    plan.actions
        .iter()
        .find_map(|action| match &action.verb {
            Verb::Patch { body, .. } => Some(body.clone()),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{plan}"))
}

#[test]
fn each_node_gets_the_lowest_free_addresses() {
    for (taken, wanted) in
        [(vec![], "10.244.0.0/24"), (vec!["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24")]
    {
        let mut view = node_view(Some("True"), &json!(null), 1);
        Arc::make_mut(&mut view.node).spec.as_mut().unwrap().pod_cidr = None;
        view.taken = taken.into_iter().map(str::to_owned).collect();
        let body = patch(&lifecycle::reconcile(&view));
        assert_eq!(body["spec"], json!({"podCIDR": wanted, "podCIDRs": [wanted]}));
    }
    let mut full = node_view(Some("True"), &json!(null), 1);
    Arc::make_mut(&mut full.node).spec.as_mut().unwrap().pod_cidr = None;
    full.pods.prefix = 24;
    full.taken = vec!["10.244.0.0/24".to_owned()];
    assert!(lifecycle::reconcile(&full).actions.is_empty(), "none is left");
}

#[test]
fn taints_follow_the_condition() {
    let no_execute = |key: &str| json!([{"key": key, "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute"}]);
    let (unready, gone) = (no_execute(super::NOT_READY), no_execute(super::UNREACHABLE));
    let mine = json!([{"key": "mine", "effect": "NoSchedule"}]);
    for (ready, taints, ago_s, wanted) in [
        (Some("True"), json!(null), 1, None),
        (Some("False"), json!(null), 1, Some("not-ready:NoSchedule not-ready:NoExecute")),
        (Some("False"), unready.clone(), 1, None),
        (Some("Unknown"), json!(null), 1, Some("unreachable:NoSchedule unreachable:NoExecute")),
        (Some("True"), json!(null), 49, None),
        (Some("True"), json!(null), 50, Some("unreachable:NoSchedule unreachable:NoExecute")),
        (Some("True"), unready.clone(), 50, Some("unreachable:NoSchedule unreachable:NoExecute")),
        (Some("True"), gone, 1, Some("")),
        (Some("False"), mine, 1, Some("mine:NoSchedule not-ready:NoSchedule not-ready:NoExecute")),
        // just registered, has not spoken yet
        (None, json!(null), 1, Some("not-ready:NoSchedule")),
    ] {
        let plan = lifecycle::reconcile(&node_view(ready, &taints, ago_s));
        let patched = plan.actions.iter().any(|action| matches!(action.verb, Verb::Patch { .. }));
        assert_eq!(patched, wanted.is_some(), "{ready:?} {taints} {plan}");
        let Some(wanted) = wanted else { continue };
        let body = patch(&plan);
        let names = body["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = names
            .iter()
            .map(|taint| {
                let key = taint["key"].as_str().unwrap().trim_start_matches("node.kubernetes.io/");
                format!("{key}:{}", taint["effect"].as_str().unwrap())
            })
            .collect();
        assert_eq!(names.join(" "), wanted);
        assert_eq!(body["metadata"]["resourceVersion"], "4");
    }
}

#[test]
fn silence_makes_every_condition_unknown_once() {
    let plan = lifecycle::reconcile(&node_view(Some("True"), &json!(null), 50));
    let Verb::Update { object, subresource: Some("status") } = &plan.actions[0].verb else {
        panic!("{plan}")
    };
    let told = object.to_value();
    let conditions = told["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 4);
    assert!(conditions.iter().all(|condition| condition["status"] == "Unknown"));
    assert_eq!(conditions[0]["reason"], "NodeStatusUnknown");
    assert_eq!(conditions[0]["message"], "Kubelet stopped posting node status.");
    assert_eq!(conditions[1]["reason"], "NodeStatusNeverUpdated");
    let event = plan.actions[0].events.as_ref().unwrap().success.as_ref().unwrap();
    assert_eq!(
        (event.reason, event.message.as_str()),
        ("NodeNotReady", "Node n status is now: NodeNotReady")
    );
    let mut again = node_view(Some("True"), &json!(null), 60);
    again.node = parse(told);
    let plan = lifecycle::reconcile(&again);
    assert_eq!(plan.to_string(), "patch Node n", "the taints, and nothing else");
    let heard = lifecycle::reconcile(&node_view(Some("True"), &json!(null), 20));
    assert_eq!(heard.to_string(), "look again at 2026-01-01T01:00:30Z");
}

/// A pod on a node with a NoExecute taint that was put there so many seconds ago.
fn evict(taint: &str, ago_s: i64, tolerations: &Value) -> Plan {
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let since = now.checked_sub(jiff::SignedDuration::from_secs(ago_s)).unwrap();
    eviction::reconcile(&eviction::View {
        pod: parse(
            json!({"metadata": {"name": "p", "namespace": "default", "uid": "pod", "resourceVersion": "8"},
            "spec": {"nodeName": "n", "containers": [], "tolerations": tolerations}}),
        ),
        node: parse(json!({"metadata": {"name": "n"},
            "spec": {"taints": [{"key": taint, "effect": "NoExecute", "timeAdded": since.to_string()}]}})),
        now,
    })
}

#[test]
fn a_pod_leaves_when_its_toleration_ends() {
    let gone = "update status of Pod p; delete Pod p";
    let seconds = |seconds: i64| json!([{"key": "t", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
    for (ago_s, tolerations, wanted) in [
        (0, json!([]), gone),
        (10, seconds(300), "look again at 2026-01-01T01:04:50Z"),
        (299, seconds(300), "look again at 2026-01-01T01:00:01Z"),
        (300, seconds(300), gone),
        (0, seconds(0), gone),
        (0, seconds(-5), gone),
        (9999, json!([{"key": "t", "operator": "Exists"}]), "nothing to do"),
        (9999, json!([{"operator": "Exists"}]), "nothing to do"),
        (0, json!([{"key": "t", "operator": "Equal", "value": "x"}]), gone),
        (0, json!([{"key": "t"}]), "nothing to do"),
        (0, json!([{"key": "t", "operator": "Exists", "effect": "NoSchedule"}]), gone),
    ] {
        assert_eq!(evict("t", ago_s, &tolerations).to_string(), wanted, "{ago_s} {tolerations}");
    }
    let plan = evict("t", 0, &json!([]));
    let event = plan.actions[1].events.as_ref().unwrap().success.as_ref().unwrap();
    assert_eq!(
        (event.reason, event.message.as_str()),
        ("TaintManagerEviction", "Marking for deletion Pod default/p")
    );
    let Verb::Update { object, .. } = &plan.actions[0].verb else { panic!("{plan}") };
    let condition = &object.to_value()["status"]["conditions"][0];
    assert_eq!(condition["reason"], "DeletionByTaintManager");
    assert_eq!(condition["message"], "Taint manager: deleting due to NoExecute taint");
    assert!(plan.actions[0].group < plan.actions[1].group);
}

/// A pod, on which node and deleted or not; that node's taint and Ready.
fn orphan(assigned: bool, deleting: bool, node: Option<(&str, &str)>, tolerations: &Value) -> Plan {
    let deleted = deleting.then_some("2026-01-01T00:00:00Z");
    orphans::reconcile(&orphans::View {
        pod: parse(json!({"metadata": {"name": "p", "namespace": "default", "uid": "pod", "deletionTimestamp": deleted},
            "spec": {"nodeName": assigned.then_some("n"), "containers": [], "tolerations": tolerations}})),
        node: node.map(|(taint, ready)| {
            parse(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        }),
        now: NOW.parse().unwrap(),
    })
}

#[test]
fn a_node_may_register_after_its_pods_were_assigned() {
    for (born, wanted) in [
        ("2026-01-01T00:59:50Z", "look again at 2026-01-01T01:00:30Z"),
        ("2026-01-01T00:59:20Z", "confirm that Node n is gone; delete Pod p by force"),
    ] {
        let pod = json!({"metadata": {"name": "p", "namespace": "default", "uid": "pod", "creationTimestamp": born},
            "spec": {"nodeName": "n", "containers": []}});
        let view = orphans::View { pod: parse(pod), node: None, now: NOW.parse().unwrap() };
        assert_eq!(orphans::reconcile(&view).to_string(), wanted, "{born}");
    }
}

/// Transcript 6: only a deleted Node or a person's taint ends a pod's record without its node.
#[test]
fn a_silent_node_keeps_its_pods() {
    let none = json!([]);
    let tolerant = json!([{"key": OUT_OF_SERVICE, "operator": "Exists"}]);
    for (assigned, deleting, node, tolerations, wanted) in [
        (true, true, Some((super::UNREACHABLE, "Unknown")), &none, "nothing to do"),
        (true, false, Some((OUT_OF_SERVICE, "Unknown")), &none, "nothing to do"),
        (true, true, Some((OUT_OF_SERVICE, "Unknown")), &none, "delete Pod p by force"),
        (true, true, Some((OUT_OF_SERVICE, "True")), &none, "nothing to do"),
        (true, true, Some((OUT_OF_SERVICE, "False")), &tolerant, "nothing to do"),
        (true, false, None, &none, "confirm that Node n is gone; delete Pod p by force"),
        (true, true, None, &none, "confirm that Node n is gone; delete Pod p by force"),
        (false, true, None, &none, "delete Pod p by force"),
        (false, false, None, &none, "nothing to do"),
    ] {
        let plan = orphan(assigned, deleting, node, tolerations);
        assert_eq!(plan.to_string(), wanted, "{assigned} {deleting} {node:?}");
    }
}
