//! Rows on access: a small cluster with the first roles, some people, a node with pods.

mod authn;
mod bootstrap;
mod escalation;
mod node;
mod pki;
mod rbac;
mod reconcile;
mod reviews;
mod tokens;

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, Ordering},
};

use api::{Object, resource};
use client::Identity;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AccessControl, Directory, bootstrap_objects};
use crate::contract::{Ambient, Attributes, Subject};

/// 2026-01-01T00:00:00Z
const START_S: i64 = 1_767_225_600;

/// A clock that stands, and chance that repeats.
#[derive(Debug)]
struct Still {
    second: AtomicI64,
    chance: AtomicU8,
}

impl Ambient for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second.load(Ordering::SeqCst)).unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.chance.fetch_add(1, Ordering::SeqCst));
    }
}

struct Cluster {
    access: AccessControl,
    directory: Arc<Directory>,
    clock: Arc<Still>,
}

impl Cluster {
    /// With the first roles.
    fn new() -> Self {
        let directory = Arc::new(Directory::default());
        let clock = Arc::new(Still { second: AtomicI64::new(START_S), chance: AtomicU8::new(0) });
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let server = "https://10.0.0.1:6443";
        let ambient = clock.clone();
        let access =
            AccessControl::new(directory.clone(), ambient, &key.serialize_pem(), server).unwrap();
        let cluster = Self { access, directory, clock };
        for object in bootstrap_objects() {
            cluster.put_object(&*object);
        }
        cluster
    }

    fn put_object(&self, object: &dyn Object) {
        let group = object.api_version().split_once('/').map_or("", |(group, _version)| group);
        let kind = resource::by_kind(group, object.kind()).unwrap();
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let key = kind.key(namespace, meta.name.as_deref().unwrap());
        self.directory.fold(&key, Some(object.to_value().to_string().as_bytes()));
    }

    fn put(&self, value: Value) -> &Self {
        self.put_object(&*object(value));
        self
    }

    fn remove(&self, key: &str) {
        self.directory.fold(key, None);
    }

    fn later(&self, seconds: i64) {
        self.clock.second.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A role binding of a (cluster) role in a namespace, or of a cluster role everywhere.
    fn bind(&self, namespace: &str, kind: &str, role: &str, subject: Value) -> &Self {
        let scope = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
        self.put(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": scope,
            "metadata": {"name": format!("b-{role}"), "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [subject],
        }))
    }

    fn role(&self, namespace: &str, name: &str, rules: Value) -> &Self {
        let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
        self.put(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "rules": rules,
        }))
    }

    /// `VERB RESOURCE[/SUB][.GROUP] [NAMESPACE/][NAME]`, or `VERB /path`: `yes …` or `no …`.
    fn may(&self, user: &Identity, asked: &str) -> String {
        let mut words = asked.split(' ');
        let verb = words.next().unwrap();
        let what = words.next().unwrap();
        let place = words.next().unwrap_or_default();
        let (namespace, name) = place.split_once('/').unwrap_or(("", place));
        let target = if what.starts_with('/') {
            Subject::Path(what)
        } else {
            let (what, group) = what.split_once('.').unwrap_or((what, ""));
            let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
            Subject::Resource { group, version: "v1", resource, subresource, namespace, name }
        };
        let (decision, why) = self.access.decide(&Attributes { user, verb, target });
        let allowed = decision == crate::contract::Decision::Allow;
        format!("{} {why}", if allowed { "yes" } else { "no" }).trim().to_owned()
    }

    fn table(&self, user: &Identity, asked: &[&str]) -> String {
        let line = |one: &&str| format!("{one}: {}", self.may(user, one));
        asked.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn object(value: Value) -> Box<dyn Object> {
    let version = value["apiVersion"].as_str().unwrap();
    let group = version.split_once('/').map_or("", |(group, _version)| group);
    let kind = resource::by_kind(group, value["kind"].as_str().unwrap()).unwrap();
    kind.decode(&value).unwrap()
}

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..Identity::default()
    }
}

fn jane() -> Identity {
    user("jane", &["devs", "system:authenticated"])
}

fn as_user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

/// A pod on a node that refers to this and that.
fn pod(name: &str, node: &str, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "apps", "uid": format!("uid-{name}")},
        "spec": {"nodeName": node, "serviceAccountName": "web", "containers": [{"name": "c"}]},
    });
    let fields = spec.as_object().unwrap().clone();
    pod["spec"].as_object_mut().unwrap().extend(fields);
    pod
}

fn named(kind: &str, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}")},
    })
}
