//! What access decisions look up: roles, bindings, and who is alive; folded from the store's log.
//!
//! Only what a decision needs is kept, so that a request costs look-ups in maps and no JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use api::selector::Labels;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, PodSpec},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, de::DeserializeOwned};
use store::{Event, Observer};

use super::node::{PodReferences, VolumeReferences};

/// Namespace and name.
pub(super) type Key = (String, String);

/// A binding, of either sort.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) role: RoleRef,
    pub(super) subjects: Vec<Subject>,
}

/// A cluster role; an aggregated one takes its rules from those that it selects.
#[derive(Debug, Clone, Default)]
struct ClusterRoleFacts {
    rules: Arc<[PolicyRule]>,
    labels: BTreeMap<String, String>,
    selectors: Option<Vec<Labels>>,
}

/// An object whose life decides whether a token still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Living {
    pub(super) uid: String,
    /// Since when it is being deleted.
    pub(super) deleted: Option<Timestamp>,
}

/// A pod, as far as access to other objects hangs on it.
#[derive(Debug, Clone)]
pub(super) struct PodFacts {
    pub(super) living: Living,
    pub(super) node: String,
    pub(super) account: String,
    pub(super) references: PodReferences,
}

/// Everything known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    cluster_roles: BTreeMap<String, ClusterRoleFacts>,
    roles: BTreeMap<Key, Arc<[PolicyRule]>>,
    pub(super) cluster_bindings: BTreeMap<String, Binding>,
    bindings: BTreeMap<String, BTreeMap<String, Binding>>,
    pub(super) accounts: BTreeMap<Key, Living>,
    pub(super) secrets: BTreeMap<Key, Living>,
    pub(super) nodes: BTreeMap<String, Living>,
    pub(super) pods: BTreeMap<Key, PodFacts>,
    pods_of_node: BTreeMap<String, BTreeSet<Key>>,
    /// Claim to its volume.
    pub(super) claims: BTreeMap<Key, String>,
    pub(super) volumes: BTreeMap<String, VolumeReferences>,
}

/// The directory; an observer of the store.
#[derive(Debug, Default)]
pub struct Directory {
    facts: RwLock<Facts>,
}

impl Directory {
    pub(super) fn facts(&self) -> RwLockReadGuard<'_, Facts> {
        // Facts are replaced one whole entry at a time: behind a poisoned lock they are sound.
        self.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one row: the value, or `None` where it is gone.
    pub fn fold(&self, key: &str, value: Option<&[u8]>) {
        // Read before the lock is taken: every request waits for it.
        if let Some(change) = change(key, value) {
            change(&mut self.facts.write().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Observer for Directory {
    fn observe(&self, event: &Event) {
        let value = (!event.deleted).then_some(&*event.after.value);
        self.fold(&event.after.key, value);
    }
}

/// Of metadata only what counts here: managers of fields are most of an object's bytes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FewMeta {
    uid: Option<String>,
    deletion_timestamp: Option<Time>,
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: FewMeta,
}

/// A pod without its status.
#[derive(Deserialize)]
struct FewPod {
    metadata: FewMeta,
    spec: Option<PodSpec>,
}

/// An entry of the directory, made of a row.
type Change = Box<dyn FnOnce(&mut Facts)>;

fn read<T: DeserializeOwned>(key: &str, value: Option<&[u8]>) -> Option<T> {
    match serde_json::from_slice(value?) {
        Ok(object) => Some(object),
        Err(error) => {
            // Nothing of it counts: what cannot be read grants nothing.
            tracing::error!(key, %error, "a stored object cannot be read");
            None
        }
    }
}

fn living(meta: &FewMeta) -> Living {
    Living {
        uid: meta.uid.clone().unwrap_or_default(),
        deleted: meta.deletion_timestamp.as_ref().map(|time| time.0),
    }
}

fn rules(rules: Option<Vec<PolicyRule>>) -> Arc<[PolicyRule]> {
    rules.unwrap_or_default().into()
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// What a row says; `None` where it concerns no access.
fn change(key: &str, value: Option<&[u8]>) -> Option<Change> {
    let (group, rest) = key.strip_prefix('/')?.split_once('/')?;
    let (plural, path) = rest.split_once('/')?;
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    let place = (namespace.to_owned(), name.to_owned());
    let name = name.to_owned();
    Some(match (group, plural) {
        ("rbac.authorization.k8s.io", "clusterroles") => {
            let role = read::<ClusterRole>(key, value).map(cluster_role);
            Box::new(move |facts| put(&mut facts.cluster_roles, name, role))
        }
        ("rbac.authorization.k8s.io", "roles") => {
            let role = read::<Role>(key, value).map(|role| rules(role.rules));
            Box::new(move |facts| put(&mut facts.roles, place, role))
        }
        ("rbac.authorization.k8s.io", "clusterrolebindings") => {
            let binding = read::<ClusterRoleBinding>(key, value).map(|binding| Binding {
                role: binding.role_ref,
                subjects: binding.subjects.unwrap_or_default(),
            });
            Box::new(move |facts| put(&mut facts.cluster_bindings, name, binding))
        }
        ("rbac.authorization.k8s.io", "rolebindings") => {
            let binding = read::<RoleBinding>(key, value).map(|binding| Binding {
                role: binding.role_ref,
                subjects: binding.subjects.unwrap_or_default(),
            });
            Box::new(move |facts| put(facts.bindings.entry(place.0).or_default(), name, binding))
        }
        ("core", "serviceaccounts") => {
            let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
            Box::new(move |facts| put(&mut facts.accounts, place, found))
        }
        ("core", "secrets") => {
            let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
            Box::new(move |facts| put(&mut facts.secrets, place, found))
        }
        ("core", "nodes") => {
            let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
            Box::new(move |facts| put(&mut facts.nodes, name, found))
        }
        ("core", "pods") => {
            let pod = read::<FewPod>(key, value).map(pod_facts);
            Box::new(move |facts| facts.put_pod(place, pod))
        }
        ("core", "persistentvolumeclaims") => {
            let claim = read::<PersistentVolumeClaim>(key, value);
            let volume = claim.and_then(|claim| claim.spec?.volume_name);
            Box::new(move |facts| put(&mut facts.claims, place, volume))
        }
        ("core", "persistentvolumes") => {
            let volume = read::<PersistentVolume>(key, value);
            let references = volume.map(|volume| VolumeReferences::of(&volume));
            Box::new(move |facts| put(&mut facts.volumes, name, references))
        }
        _ => return None,
    })
}

fn pod_facts(pod: FewPod) -> PodFacts {
    let spec = pod.spec.unwrap_or_default();
    PodFacts {
        living: living(&pod.metadata),
        references: PodReferences::of(&spec),
        node: spec.node_name.unwrap_or_default(),
        account: spec.service_account_name.unwrap_or_default(),
    }
}

impl Facts {
    fn put_pod(&mut self, place: Key, pod: Option<PodFacts>) {
        if let Some(old) = self.pods.remove(&place)
            && let Some(pods) = self.pods_of_node.get_mut(&old.node)
        {
            pods.remove(&place);
            if pods.is_empty() {
                self.pods_of_node.remove(&old.node);
            }
        }
        let Some(facts) = pod else {
            return;
        };
        self.pods_of_node.entry(facts.node.clone()).or_default().insert(place.clone());
        self.pods.insert(place, facts);
    }

    /// The pods that are bound to this node, with their namespaces.
    pub(super) fn pods_on(&self, node: &str) -> impl Iterator<Item = (&Key, &PodFacts)> {
        let places = self.pods_of_node.get(node).into_iter().flatten();
        places.filter_map(|place| Some((place, self.pods.get(place)?)))
    }

    /// The bindings within a namespace.
    pub(super) fn bindings_in(&self, namespace: &str) -> impl Iterator<Item = (&String, &Binding)> {
        self.bindings.get(namespace).into_iter().flatten()
    }

    /// The rules of a cluster role, with those that it aggregates; `None` where there is none.
    pub(super) fn cluster_role(&self, name: &str) -> Option<Vec<Arc<[PolicyRule]>>> {
        self.cluster_roles.get(name)?;
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            let Some(role) = self.cluster_roles.get(name).filter(|_role| seen.insert(name)) else {
                continue;
            };
            let Some(selectors) = &role.selectors else {
                found.push(role.rules.clone());
                continue;
            };
            let chosen = |labels: &BTreeMap<String, String>| {
                selectors.iter().any(|selector| selector.matches(Some(labels)))
            };
            let parts = self.cluster_roles.iter().filter(|(_name, part)| chosen(&part.labels));
            open.extend(parts.map(|(name, _part)| name.as_str()));
        }
        Some(found)
    }

    /// The rules of a role; `None` where there is none.
    pub(super) fn role(&self, namespace: &str, name: &str) -> Option<Arc<[PolicyRule]>> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

fn cluster_role(role: ClusterRole) -> ClusterRoleFacts {
    let selectors = role.aggregation_rule.map(|aggregation| {
        let selectors = aggregation.cluster_role_selectors.unwrap_or_default();
        // A selector that cannot be read selects nothing; validation refuses such.
        selectors.iter().filter_map(|one| Labels::from_object(Some(one)).ok()).collect()
    });
    ClusterRoleFacts {
        rules: rules(role.rules),
        labels: role.metadata.labels.unwrap_or_default(),
        selectors,
    }
}
