//! Rows about claims and volumes.

use expect_test::expect;
use serde_json::{Value, json};

use super::{World, merge, pod, told, typed};
use crate::{View, schedule};
use k8s_openapi::api::core::v1::Pod;

fn with_claim(name: &str) -> Value {
    json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}})
}

fn bound_to(volume: &str) -> Value {
    json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}})
}

fn only_on(node: &str) -> Value {
    json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
        [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
}

#[test]
fn claims_that_cannot_be() {
    let world = World::nodes(&["n1"])
        .class("manual", "kubernetes.io/no-provisioner", "Immediate")
        .claim("waiting", "manual", json!({}))
        .claim("noclass", "nowhere", json!({}))
        .claim("empty", "", json!({}))
        .claim(
            "going",
            "manual",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        )
        .claim(
            "lost",
            "manual",
            json!({"spec": {"volumeName": "pv-9"}, "status": {"phase": "Lost"}}),
        )
        .claim("orphan", "manual", bound_to("pv-9"));
    let immediate =
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found";
    for name in ["waiting", "noclass", "empty"] {
        let pod = typed::<Pod>(pod("new", with_claim(name)));
        let view = View { pod: &pod, cluster: &world.cluster, storage: &world.storage };
        assert_eq!(told(&schedule(&view)), immediate, "{name}");
    }
    world.check(
        with_claim("x"),
        expect![[r#"0/1 nodes are available: persistentvolumeclaim "x" not found. not found"#]],
    );
    world.check(
        with_claim("going"),
        expect![[
            r#"0/1 nodes are available: persistentvolumeclaim "going" is being deleted. not found"#
        ]],
    );
    world.check(with_claim("lost"), expect![[r#"0/1 nodes are available: persistentvolumeclaim "lost" bound to non-existent persistentvolume "pv-9". not found"#]]);
    world.check(with_claim("orphan"), expect!["0/1 nodes are available: 1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]);
    let own = json!({"spec": {"volumes": [{"name": "scratch", "ephemeral": {}}]}});
    world.check(own, expect![[r#"0/1 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "new-scratch". not found"#]]);
}

#[test]
fn bound_claims_tie_to_nodes() {
    let world = World::nodes(&["n1", "n2"]).claim("data", "local", bound_to("pv-1")).volume(
        "pv-1",
        "local",
        only_on("n2"),
    );
    world.check(with_claim("data"), expect!["bind to n2"]);
    let world = World::nodes(&["n1"]).claim("data", "local", bound_to("pv-1")).volume(
        "pv-1",
        "local",
        only_on("n2"),
    );
    world.check(with_claim("data"), expect!["0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]);
}

#[test]
fn waiting_claims_take_the_smallest_volume_that_reaches_the_node() {
    let world = World::nodes(&["n1", "n2"])
        .class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")
        .claim("data", "local", json!({}))
        .volume("pv-big", "local", json!({"spec": {"capacity": {"storage": "5Gi"}}}))
        .volume("pv-fit", "local", only_on("n2"))
        .volume("pv-other", "other", json!({}))
        .volume(
            "pv-taken",
            "local",
            json!({"spec": {"claimRef": {"name": "x", "namespace": "default"}}}),
        )
        .volume("pv-released", "local", json!({"status": {"phase": "Released"}}));
    world.check(
        with_claim("data"),
        expect![[r#"prepare on n1: reserve ["data=pv-big"], provision [], wait for ["data"]"#]],
    );
    let mut there = with_claim("data");
    merge(&mut there, json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}}));
    world.check(
        there,
        expect![[r#"prepare on n2: reserve ["data=pv-fit"], provision [], wait for ["data"]"#]],
    );
    let none = World::nodes(&["n1"])
        .class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")
        .claim("data", "local", json!({}));
    none.check(with_claim("data"), expect!["0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]);
}

#[test]
fn what_is_reserved_is_waited_for() {
    let ours =
        json!({"spec": {"claimRef": {"name": "data", "namespace": "default", "uid": "uid-data"}}});
    World::nodes(&["n1"])
        .class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")
        .claim("data", "local", json!({}))
        .volume("pv-1", "local", ours)
        .check(
            with_claim("data"),
            expect![[r#"prepare on n1: reserve [], provision [], wait for ["data"]"#]],
        );
}

#[test]
fn dynamic_claims_name_their_node() {
    let world = |chosen: Value| {
        World::nodes(&["n1", "n2"])
            .class("local-path", "stead.io/local", "WaitForFirstConsumer")
            .claim("data", "local-path", chosen)
    };
    world(json!({})).check(
        with_claim("data"),
        expect![[r#"prepare on n1: reserve [], provision ["data"], wait for ["data"]"#]],
    );
    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n2"}}});
    world(chosen).check(
        with_claim("data"),
        expect![[r#"prepare on n2: reserve [], provision [], wait for ["data"]"#]],
    );
    let gone = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n9"}}});
    world(gone).check(with_claim("data"), expect!["0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."]);
}

#[test]
fn two_claims_take_two_volumes() {
    let both = json!({"spec": {"volumes": [
        {"name": "a", "persistentVolumeClaim": {"claimName": "large"}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "small"}}]}});
    World::nodes(&["n1"])
        .class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")
        .claim("large", "local", json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}))
        .claim("small", "local", json!({}))
        .volume("pv-1", "local", json!({"spec": {"capacity": {"storage": "2Gi"}}}))
        .volume("pv-2", "local", json!({"spec": {"capacity": {"storage": "3Gi"}}}))
        .check(both, expect![[r#"prepare on n1: reserve ["small=pv-1", "large=pv-2"], provision [], wait for ["small", "large"]"#]]);
}

#[test]
fn read_write_once_pod_is_for_one() {
    let world = World::nodes(&["n1"])
        .claim("data", "local", {
            let mut claim = bound_to("pv-1");
            merge(&mut claim, json!({"spec": {"accessModes": ["ReadWriteOncePod"]}}));
            claim
        })
        .volume("pv-1", "local", json!({}));
    world.check(with_claim("data"), expect!["bind to n1"]);
    let world = world.on("n1", "a", with_claim("data"));
    world.check(with_claim("data"), expect!["0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]);
}
