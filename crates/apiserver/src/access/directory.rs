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
        core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
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
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        facts.fold(key, value);
    }
}

impl Observer for Directory {
    fn observe(&self, event: &Event) {
        let value = (!event.deleted).then_some(&*event.after.value);
        self.fold(&event.after.key, value);
    }
}

#[derive(Deserialize)]
struct OnlyMeta {
    metadata: ObjectMeta,
}

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

fn living(meta: &ObjectMeta) -> Living {
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

impl Facts {
    fn fold(&mut self, key: &str, value: Option<&[u8]>) {
        let Some((group, rest)) = key.strip_prefix('/').and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        let Some((plural, path)) = rest.split_once('/') else {
            return;
        };
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let place = || (namespace.to_owned(), name.to_owned());
        match (group, plural) {
            ("rbac.authorization.k8s.io", "clusterroles") => {
                let role = read::<ClusterRole>(key, value).map(cluster_role);
                put(&mut self.cluster_roles, name.to_owned(), role);
            }
            ("rbac.authorization.k8s.io", "roles") => {
                let role = read::<Role>(key, value).map(|role| rules(role.rules));
                put(&mut self.roles, place(), role);
            }
            ("rbac.authorization.k8s.io", "clusterrolebindings") => {
                let binding = read::<ClusterRoleBinding>(key, value).map(|binding| Binding {
                    role: binding.role_ref,
                    subjects: binding.subjects.unwrap_or_default(),
                });
                put(&mut self.cluster_bindings, name.to_owned(), binding);
            }
            ("rbac.authorization.k8s.io", "rolebindings") => {
                let binding = read::<RoleBinding>(key, value).map(|binding| Binding {
                    role: binding.role_ref,
                    subjects: binding.subjects.unwrap_or_default(),
                });
                let bindings = self.bindings.entry(namespace.to_owned()).or_default();
                put(bindings, name.to_owned(), binding);
            }
            ("core", "serviceaccounts") => {
                let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
                put(&mut self.accounts, place(), found);
            }
            ("core", "secrets") => {
                let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
                put(&mut self.secrets, place(), found);
            }
            ("core", "nodes") => {
                let found = read::<OnlyMeta>(key, value).map(|object| living(&object.metadata));
                put(&mut self.nodes, name.to_owned(), found);
            }
            ("core", "pods") => self.fold_pod(place(), read(key, value)),
            ("core", "persistentvolumeclaims") => {
                let claim = read::<PersistentVolumeClaim>(key, value);
                let volume = claim.and_then(|claim| claim.spec?.volume_name);
                put(&mut self.claims, place(), volume);
            }
            ("core", "persistentvolumes") => {
                let volume = read::<PersistentVolume>(key, value);
                let references = volume.map(|volume| VolumeReferences::of(&volume));
                put(&mut self.volumes, name.to_owned(), references);
            }
            _ => {}
        }
    }

    fn fold_pod(&mut self, place: Key, pod: Option<Pod>) {
        if let Some(old) = self.pods.remove(&place)
            && let Some(pods) = self.pods_of_node.get_mut(&old.node)
        {
            pods.remove(&place);
            if pods.is_empty() {
                self.pods_of_node.remove(&old.node);
            }
        }
        let Some(pod) = pod else {
            return;
        };
        let spec = pod.spec.unwrap_or_default();
        let facts = PodFacts {
            living: living(&pod.metadata),
            references: PodReferences::of(&spec),
            node: spec.node_name.unwrap_or_default(),
            account: spec.service_account_name.unwrap_or_default(),
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
