//! The rows' cluster: one namespace, built out of what upstream's servers would hold.

use std::sync::Arc;

use api::{k8s::api::apps::v1::StatefulSet, resource};
use controllers::statefulset::{revision_data, revision_hash};
use expect_test::Expect;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Log, Part, Snapshot, Subject, SubjectKind, explain};

/// The instant of all rows.
pub(super) const NOW: &str = "2026-01-01T01:00:00Z";
/// Ten minutes before it.
pub(super) const THEN: &str = "2026-01-01T00:50:00Z";
/// Two minutes before it.
pub(super) const LATELY: &str = "2026-01-01T00:58:00Z";

/// A cluster with one ready node.
#[derive(Clone)]
pub(super) struct World(pub(super) Snapshot);

impl World {
    pub(super) fn new() -> Self {
        let seen = Snapshot { namespace: "default".to_owned(), ..Snapshot::default() };
        Self(seen).with(json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}}))
    }

    /// And this object, whatever its kind.
    pub(super) fn with(mut self, object: Value) -> Self {
        let mut object = object;
        let meta = object["metadata"].as_object_mut().unwrap();
        let name = meta["name"].clone();
        meta.entry("namespace").or_insert("default".into());
        meta.entry("uid").or_insert(name);
        meta.entry("resourceVersion").or_insert("1".into());
        meta.entry("creationTimestamp").or_insert(THEN.into());
        let kind = object["kind"].as_str().unwrap().to_owned();
        fn typed<T: serde::de::DeserializeOwned>(object: Value) -> Arc<T> {
            Arc::new(serde_json::from_value(object).unwrap())
        }
        let seen = &mut self.0;
        match kind.as_str() {
            "StatefulSet" => seen.sets.push(typed(object)),
            "Pod" => seen.pods.push(typed(object)),
            "PersistentVolumeClaim" => seen.claims.push(typed(object)),
            "PersistentVolume" => seen.volumes.push(typed(object)),
            "StorageClass" => seen.classes.push(typed(object)),
            "Service" => seen.services.push(typed(object)),
            "EndpointSlice" => seen.slices.push(typed(object)),
            "Event" => seen.events.push(typed(object)),
            "StatefulSetPolicy" => seen.policies.push(typed(object)),
            "Node" => seen.nodes.push(typed(object)),
            "ControllerRevision" => seen.revisions.push(typed(object)),
            other => panic!("{other}"),
        }
        self
    }

    /// A set `web` of this many, its revision, and its Service.
    pub(super) fn set(self, replicas: i32, change: impl Fn(&mut Value)) -> Self {
        let mut value = json!({
            "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1,
                "creationTimestamp": THEN},
            "spec": {"replicas": replicas, "serviceName": "nginx",
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "nginx", "image": "nginx:1"}]}}},
        });
        change(&mut value);
        let mut set: StatefulSet = serde_json::from_value(value).unwrap();
        resource::of::<StatefulSet>().apply_defaults(&mut set);
        let revision = revision_of(&set);
        let status = set.status.get_or_insert_default();
        status.update_revision.get_or_insert_with(|| revision.clone());
        status.observed_generation.get_or_insert(1);
        let data = revision_data(&set);
        let revision = json!({"kind": "ControllerRevision", "metadata": {"name": revision,
            "ownerReferences": [owner()]}, "revision": 1, "data": data});
        let service = json!({"kind": "Service", "metadata": {"name": "nginx"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}}});
        let mut set = serde_json::to_value(&set).unwrap();
        set["kind"] = "StatefulSet".into();
        self.with(set).with(revision).with(service)
    }

    /// A pod of the set `web`, as this says.
    pub(super) fn pod(self, name: &str, change: impl Fn(&mut Value)) -> Self {
        let revision = revision_of(&self.0.sets[0]);
        let mut pod = json!({"kind": "Pod",
            "metadata": {"name": name, "ownerReferences": [owner()],
                "labels": {"app": "web", "controller-revision-hash": revision,
                    "statefulset.kubernetes.io/pod-name": name,
                    "apps.kubernetes.io/pod-index": name.rsplit('-').next()}},
            "spec": {"nodeName": "n1", "containers": [{"name": "nginx", "image": "nginx:1"}]},
            "status": ready()});
        change(&mut pod);
        self.with(pod)
    }

    pub(super) fn event(self, kind: &str, name: &str, reason: &str, message: &str) -> Self {
        let count = self.0.events.len();
        self.with(json!({"kind": "Event", "metadata": {"name": format!("{name}.{count}")},
            "involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message,
            "type": "Warning", "firstTimestamp": LATELY, "lastTimestamp": LATELY}))
    }

    pub(super) fn log(mut self, pod: &str, previous: bool, lines: &[&str]) -> Self {
        let log = Log { pod: pod.to_owned(), container: "nginx".to_owned(), previous };
        self.0.logs.insert(log, lines.iter().map(|line| (*line).to_owned()).collect());
        self
    }

    pub(super) fn hide(mut self, part: Part) -> Self {
        self.0.unseen.insert(part, "forbidden".to_owned());
        self
    }

    /// The answer to `stead why KIND/NAME`.
    #[track_caller]
    pub(super) fn check(&self, subject: &str, answer: Expect) -> &Self {
        let (kind, name) = subject.split_once('/').unwrap();
        let kind = SubjectKind::parse(kind).unwrap();
        let now: Timestamp = NOW.parse().unwrap();
        let found = explain(&self.0, &Subject { kind, name: name.to_owned() }, now);
        let text = found.map_or_else(|| "not there".to_owned(), |found| found.to_string());
        assert!(text.lines().count() == 3 || text.lines().count() == 1, "{text}");
        answer.assert_eq(&text);
        self
    }
}

fn owner() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set",
        "controller": true, "blockOwnerDeletion": true})
}

fn revision_of(set: &StatefulSet) -> String {
    format!("web-{}", revision_hash(&revision_data(set), 0))
}

/// The status of a ready pod.
pub(super) fn ready() -> Value {
    json!({"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": THEN},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": THEN}],
        "containerStatuses": [{"name": "nginx", "image": "nginx:1", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": THEN}}}]})
}

/// The status of a pod whose container waits for this reason.
pub(super) fn waits(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": THEN},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": THEN}],
        "containerStatuses": [{"name": "nginx", "image": "nginx:1", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
}

/// The status of a pod that the scheduler refused.
pub(super) fn unplaced(message: &str) -> Value {
    json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": message, "lastTransitionTime": LATELY}]})
}

/// A claim named like those of the set's template `data`.
pub(super) fn claim(name: &str, class: Option<&str>, size: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Pending"}})
}

pub(super) fn volume(name: &str, class: &str, size: &str) -> Value {
    json!({"kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "capacity": {"storage": size}},
        "status": {"phase": "Available"}})
}

pub(super) fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"kind": "StorageClass", "metadata": {"name": name}, "provisioner": provisioner,
        "volumeBindingMode": mode})
}
