//! Garbage: every object that has owners, and every owner that waits for its dependents.

use std::sync::{Arc, OnceLock};

use api::{Resource, resource};
use client::{AnyCache, Key};
use controllers::{
    Plan, Target,
    garbage::{self, Owner, OwnerState, View},
    meta::Meta,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{name, namespace, namespaces::meta_of};
use crate::{Caches, Controller, Wakes};

type Kinds = Vec<(&'static dyn Resource, Arc<dyn AnyCache>)>;

/// Keys hold the kind; in the table no two storing kinds are called alike.
#[derive(Default)]
pub(super) struct Garbage {
    /// All caches, known once every controller has said what it reads.
    kinds: OnceLock<Kinds>,
}

impl Controller for Garbage {
    type View = View;

    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn wakes(self: &Arc<Self>, wakes: &mut Wakes<'_>) {
        let me = Arc::clone(self);
        wakes.on_all(move |resource, old, new| me.concerns(resource, old, new));
        let me = Arc::clone(self);
        wakes.then(move |caches| {
            let kinds = caches.all().map(|(resource, cache)| (resource, Arc::clone(cache)));
            me.kinds.get_or_init(|| kinds.collect());
        });
    }

    fn view(&self, key: &Key, _caches: &Caches, _now: Timestamp) -> Option<View> {
        let (resource, cache) = self.kind(|names| names.kind == key.kind)?;
        let bare = Key::new(&key.namespace, &key.name);
        let object = meta_of(*resource, cache.meta(&bare)?);
        let references = object.meta.owner_references.iter().flatten();
        let owners = references
            .map(|reference| Owner {
                reference: reference.clone(),
                state: self.owner(reference, &object),
            })
            .collect();
        let dependents = self.dependents(&object.target.uid);
        Some(View { object, owners, dependents })
    }

    fn reconcile(&self, view: &View) -> Plan {
        garbage::reconcile(view)
    }
}

impl Garbage {
    /// The object itself where its owners, finalizers or deletion changed; its dependents where it
    /// went or is going; its owners, which may wait for it to go.
    fn concerns(
        &self,
        resource: &'static dyn Resource,
        old: Option<&ObjectMeta>,
        new: Option<&ObjectMeta>,
    ) -> Vec<Key> {
        let Some(meta) = new.or(old) else { return Vec::new() };
        if old.zip(new).is_some_and(|(old, new)| is_alike(old, new)) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        if new.is_some_and(|new| new.owner_references.is_some() || new.finalizers.is_some()) {
            keys.push(key_of(resource, meta));
        }
        if new.is_none() || meta.deletion_timestamp.is_some() || replaced(old, new) {
            for uid in [old, new].into_iter().flatten().filter_map(|meta| meta.uid.as_deref()) {
                keys.extend(self.dependents(uid).iter().filter_map(|dependent| {
                    Some(key_of(dependent.target.resource()?, &dependent.meta))
                }));
            }
        }
        for meta in [old, new].into_iter().flatten() {
            let owners = meta.owner_references.iter().flatten();
            keys.extend(owners.filter_map(|owner| {
                let (resource, cache) = self.kind_of(owner)?;
                let key = owner_key(*resource, owner, namespace(meta));
                let owner = cache.meta(&key)?;
                owner.deletion_timestamp.as_ref().map(|_| key_of(*resource, &owner))
            }));
        }
        keys
    }

    fn owner(&self, reference: &OwnerReference, object: &Meta) -> OwnerState {
        let Some((resource, cache)) = self.kind_of(reference) else { return OwnerState::Unknown };
        let key = owner_key(*resource, reference, &object.target.namespace);
        match cache.meta(&key) {
            Some(meta) if meta.uid.as_ref() == Some(&reference.uid) => {
                OwnerState::Present(meta_of(*resource, meta))
            }
            _ => OwnerState::Absent(Target {
                group: resource.names().group.to_owned(),
                kind: reference.kind.clone(),
                namespace: key.namespace,
                name: key.name,
                uid: reference.uid.clone(),
            }),
        }
    }

    fn dependents(&self, uid: &str) -> Vec<Meta> {
        let kinds = self.kinds.get().into_iter().flatten();
        let owned = |(resource, cache): &(&'static dyn Resource, Arc<dyn AnyCache>)| {
            let resource = *resource;
            cache.metas_owned_by(uid).into_iter().map(move |meta| meta_of(resource, meta))
        };
        kinds.flat_map(owned).collect()
    }

    fn kind_of(
        &self,
        owner: &OwnerReference,
    ) -> Option<&(&'static dyn Resource, Arc<dyn AnyCache>)> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kind(|names| names.group == group && names.kind == owner.kind)
    }

    fn kind(
        &self,
        is: impl Fn(&resource::Names) -> bool,
    ) -> Option<&(&'static dyn Resource, Arc<dyn AnyCache>)> {
        self.kinds.get()?.iter().find(|(resource, _)| is(resource.names()))
    }
}

/// Nothing has changed that garbage is told by.
fn is_alike(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.uid == new.uid
        && old.owner_references == new.owner_references
        && old.finalizers == new.finalizers
        && old.deletion_timestamp.is_some() == new.deletion_timestamp.is_some()
}

/// A namesake took its place without a moment between.
fn replaced(old: Option<&ObjectMeta>, new: Option<&ObjectMeta>) -> bool {
    old.zip(new).is_some_and(|(old, new)| old.uid != new.uid)
}

/// An owner lives in the namespace of what it owns, or in none.
fn owner_key(resource: &'static dyn Resource, owner: &OwnerReference, space: &str) -> Key {
    Key::new(if resource.namespaced() { space } else { "" }, &owner.name)
}

fn key_of(resource: &'static dyn Resource, meta: &ObjectMeta) -> Key {
    Key { kind: resource.names().kind, ..Key::new(namespace(meta), name(meta)) }
}
