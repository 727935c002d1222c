//! Rows: a cluster and a pod in YAML-like JSON, and the verdict in a line.

use std::{collections::BTreeMap, sync::Arc};

use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

use crate::{Cluster, Storage, Verdict, View, schedule};

mod storage;

/// A small world: nodes, pods on them, storage.
#[derive(Default)]
struct World {
    cluster: Cluster,
    storage: Storage,
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A node of 2 cpu, 4Gi and 110 pods, changed by `patch`.
fn node(name: &str, patch: Value) -> Value {
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    });
    merge(&mut node, patch);
    node
}

fn pod(name: &str, patch: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "x"}]},
    });
    merge(&mut pod, patch);
    pod
}

fn asks(cpu: &str, memory: &str) -> Value {
    json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}})
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

impl World {
    fn nodes(names: &[&str]) -> Self {
        names.iter().fold(Self::default(), |world, name| world.node(name, json!({})))
    }

    fn node(mut self, name: &str, patch: Value) -> Self {
        self.cluster.put_node(typed::<Node>(node(name, patch)));
        self
    }

    fn on(mut self, node: &str, name: &str, patch: Value) -> Self {
        let mut pod = pod(name, patch);
        pod["spec"]["nodeName"] = json!(node);
        self.cluster.put_pod(&typed::<Pod>(pod));
        self
    }

    fn claim(mut self, name: &str, class: &str, patch: Value) -> Self {
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}},
        });
        merge(&mut claim, patch);
        self.storage.claims.insert(name.to_owned(), typed::<PersistentVolumeClaim>(claim));
        self
    }

    fn volume(mut self, name: &str, class: &str, patch: Value) -> Self {
        let mut volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
            "status": {"phase": "Available"},
        });
        merge(&mut volume, patch);
        let volume = typed::<PersistentVolume>(volume);
        self.storage.bound.insert(name.to_owned(), Arc::clone(&volume));
        self.storage.available.push(volume);
        self
    }

    fn class(mut self, name: &str, provisioner: &str, mode: &str) -> Self {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": mode});
        self.storage.classes.insert(name.to_owned(), typed::<StorageClass>(class));
        self
    }

    #[track_caller]
    fn check(&self, patch: Value, expected: Expect) {
        let pod = typed::<Pod>(pod("new", patch));
        let view = View { pod: &pod, cluster: &self.cluster, storage: &self.storage };
        expected.assert_eq(&told(&schedule(&view)));
    }
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Bind(node) => format!("bind to {node}"),
        Verdict::Gated => "gated".to_owned(),
        Verdict::Refused(refusal) => refusal.message.clone(),
        Verdict::Prepare(place) => {
            let name = |meta: &Option<String>| meta.clone().unwrap_or_default();
            let reserve = place.reserve.iter();
            let reserve = reserve
                .map(|(c, v)| format!("{}={}", name(&c.metadata.name), name(&v.metadata.name)));
            let provision = place.provision.iter().map(|c| name(&c.metadata.name));
            format!(
                "prepare on {}: reserve {:?}, provision {:?}, wait for {:?}",
                place.node,
                reserve.collect::<Vec<_>>(),
                provision.collect::<Vec<_>>(),
                place.unbound,
            )
        }
    }
}

#[test]
fn no_nodes() {
    World::default().check(json!({}), expect!["no nodes available to schedule pods"]);
}

#[test]
fn scheduling_gates_keep_silent() {
    let gated = json!({"spec": {"schedulingGates": [{"name": "later"}]}});
    World::nodes(&["n1"]).check(gated, expect!["gated"]);
}

#[test]
fn resources_fit() {
    let world = World::nodes(&["n1"]).on("n1", "a", asks("1500m", "1Gi"));
    world.check(asks("500m", "3Gi"), expect!["bind to n1"]);
    world.check(
        asks("501m", "3Gi"),
        expect!["0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
    );
    world.check(
        asks("501m", "3073Mi"),
        expect!["0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
    );
}

#[test]
fn more_than_an_empty_node_has() {
    World::nodes(&["n1", "n2"]).check(
        asks("64", "1Gi"),
        expect!["0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."],
    );
}

#[test]
fn preemption_policy_never() {
    let mut patch = asks("64", "1Gi");
    merge(&mut patch, json!({"spec": {"preemptionPolicy": "Never"}}));
    World::nodes(&["n1"]).check(
        patch,
        expect!["0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."],
    );
}

#[test]
fn extended_resources_and_pod_count() {
    let full = json!({"status": {"allocatable": {"pods": "1"}}});
    World::default().node("n1", full).on("n1", "a", json!({})).check(
        json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]}}),
        expect!["0/1 nodes are available: 1 Insufficient nvidia.com/gpu, 1 Too many pods. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
}

#[test]
fn init_containers_and_overhead_count() {
    let patch = json!({"spec": {
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
            {"name": "init", "resources": {"requests": {"cpu": "1400m"}}}],
        "containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}],
        "overhead": {"cpu": "100m"}}});
    World::nodes(&["n1"]).check(patch.clone(), expect!["bind to n1"]);
    let world = World::nodes(&["n1"]).on("n1", "a", asks("1m", "1Mi"));
    world.check(patch, expect!["0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]);
}

#[test]
fn finished_pods_leave_room() {
    let mut done = asks("2", "1Gi");
    merge(&mut done, json!({"status": {"phase": "Succeeded"}}));
    World::nodes(&["n1"]).on("n1", "a", done).check(asks("2", "1Gi"), expect!["bind to n1"]);
}

#[test]
fn node_unschedulable_name_taints_affinity() {
    let tainted = json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}});
    let world = World::default()
        .node("cordoned", json!({"spec": {"unschedulable": true}}))
        .node("tainted", tainted)
        .node("small", json!({"status": {"allocatable": {"cpu": "1m"}}}))
        .node("other", json!({}));
    let mut patch = asks("10m", "1Mi");
    merge(&mut patch, json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "small"}}}));
    world.check(
        patch,
        expect!["0/4 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."],
    );
    let tolerant = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "tainted"},
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}});
    world.check(tolerant, expect!["bind to tainted"]);
    let cordon = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "cordoned"}, "tolerations": [{"operator": "Exists"}]}});
    world.check(cordon, expect!["bind to cordoned"]);
}

#[test]
fn affinity_to_nodes_by_name() {
    let to = |names: Value| {
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]}]}}}}})
    };
    let world = World::nodes(&["n1", "n2"]);
    world.check(to(json!(["n2"])), expect!["bind to n2"]);
    world.check(
        to(json!([])),
        expect!["0/2 nodes are available: pod affinity terms conflict. not found"],
    );
    world.check(to(json!(["n3"])), expect!["0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."]);
}

#[test]
fn host_ports_clash() {
    let port = |ip: &str| json!({"spec": {"containers": [{"name": "main", "ports": [{"hostPort": 80, "containerPort": 80, "hostIP": ip}]}]}});
    let world = World::nodes(&["n1"]).on("n1", "a", port("127.0.0.1"));
    world.check(port("127.0.0.2"), expect!["bind to n1"]);
    world.check(port(""), expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]);
}

#[test]
fn pods_apart_and_together() {
    let term = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let apart = json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term.clone()}}}});
    let near = json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}});
    let world = World::nodes(&["n1", "n2"]).on("n1", "a", json!({}));
    world.check(apart.clone(), expect!["bind to n2"]);
    world.check(near.clone(), expect!["bind to n1"]);
    let full = World::nodes(&["n1"]).on("n1", "a", json!({}));
    full.check(apart.clone(), expect!["0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]);
    let refusing = World::nodes(&["n1"]).on("n1", "a", apart);
    refusing.check(json!({}), expect!["0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."]);
    let alone = World::nodes(&["n1"]);
    alone.check(near.clone(), expect!["bind to n1"]);
    let mut stranger = near;
    merge(&mut stranger, json!({"metadata": {"labels": {"app": "other"}}}));
    alone.check(stranger, expect!["0/1 nodes are available: 1 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]);
}

#[test]
fn preferred_affinity_is_a_wish() {
    let wish = json!({"spec": {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm":
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}}]}}}});
    let world = World::nodes(&["n1", "n2"]).on("n2", "a", asks("100m", "100Mi"));
    world.check(wish, expect!["bind to n2"]);
    let node_wish = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
        "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}}]}}}});
    world.check(node_wish, expect!["bind to n2"]);
}

#[test]
fn topology_spread() {
    let spread = |strength: &str| {
        json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": strength, "labelSelector": {"matchLabels": {"app": "web"}}}]}})
    };
    let world = World::nodes(&["n1", "n2"]).on("n1", "a", json!({}));
    world.check(spread("DoNotSchedule"), expect!["bind to n2"]);
    world.check(spread("ScheduleAnyway"), expect!["bind to n2"]);
    let mut pinned = spread("DoNotSchedule");
    merge(&mut pinned, json!({"spec": {"tolerations": []}}));
    let full = json!({"status": {"allocatable": {"pods": "0"}}});
    let world = World::nodes(&["n1"]).node("n2", full).on("n1", "a", json!({}));
    world.check(pinned, expect!["0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."]);
    let bare = json!({"metadata": {"labels": Value::Null}});
    World::default().node("n1", bare).check(spread("DoNotSchedule"), expect!["0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."]);
}

#[test]
fn the_emptier_node_then_the_first_by_name() {
    World::nodes(&["n1", "n2"]).check(json!({}), expect!["bind to n1"]);
    World::nodes(&["n1", "n2"]).on("n1", "a", json!({})).check(json!({}), expect!["bind to n2"]);
}

#[test]
fn a_set_spreads_without_being_told() {
    let owner = json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "s", "controller": true}]}});
    let world = World::nodes(&["n1", "n2"]).on("n1", "a", owner.clone()).on(
        "n2",
        "b",
        asks("300m", "400Mi"),
    );
    world.check(owner, expect!["bind to n2"]);
}

#[test]
fn an_assumed_pod_counts_until_the_watch_says_more() {
    let mut world = World::nodes(&["n1"]);
    let first = typed::<Pod>(pod("a", asks("2", "1Gi")));
    world.cluster.assume(&first, "n1");
    let full = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let now = |world: &World| {
        let pod = typed::<Pod>(pod("new", asks("2", "1Gi")));
        told(&schedule(&View { pod: &pod, cluster: &world.cluster, storage: &world.storage }))
    };
    assert_eq!(now(&world), full);
    world.cluster.put_pod(&first);
    assert_eq!(now(&world), full, "an older view of the pod changes nothing");
    assert_eq!(world.cluster.assumed(&first), Some("n1"));
    let mut namesake = pod("a", json!({}));
    namesake["metadata"]["uid"] = json!("another");
    world.cluster.put_pod(&typed::<Pod>(namesake));
    assert_eq!(now(&world), "bind to n1", "a namesake is another pod");
    world.cluster.assume(&first, "n1");
    world.cluster.forget("default", "a");
    assert_eq!(now(&world), "bind to n1");
    let empty: BTreeMap<String, i64> =
        world.cluster.nodes["n1"].requested.clone().into_iter().filter(|(_, n)| *n != 0).collect();
    assert_eq!(empty, BTreeMap::new());
}
