//! Quotas kept true: what a write costs is committed together with it.
//!
//! ```text
//!   write in a namespace ─▶ its turn ─▶ admission::quota ─▶ ops on quotas beside the object's own
//! ```
//!
//! Writes in a namespace go side by side until it has a quota; from then on they take turns, so
//! that none has to be tried again because another was charged first. A quota that is made or
//! changed has its turn alone as well, and is counted from what is stored.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use admission::quota::{self, Charge};
use api::{
    ApiError, Object, Part, Resource,
    k8s::api::core::v1::{Event, ResourceQuota},
    resource,
};
use store::{Expect, Op};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{
    codec::Stored,
    list,
    server::ApiServer,
    write::{Draft, put, stamp},
};

/// Namespaces that are remembered before those that nobody writes in are forgotten.
const REMEMBERED_MAX: usize = 1024;

/// Who writes in which namespace.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    namespaces: Mutex<BTreeMap<String, Arc<RwLock<()>>>>,
}

/// The right to write in a namespace, as long as it is held.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nobody's quota is concerned.
    Free,
    /// The namespace has no quota, and gets none meanwhile.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// Nobody else writes in the namespace.
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Turns {
    fn of(&self, namespace: &str) -> Arc<RwLock<()>> {
        // Entries are whole at any moment: behind a poisoned lock they are sound.
        let mut all = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(namespace) {
            return Arc::clone(known);
        }
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(all.entry(namespace.to_owned()).or_default())
    }
}

impl ApiServer {
    /// Waits until this kind of object may be written in this namespace.
    pub(crate) async fn turn(&self, resource: &'static dyn Resource, namespace: &str) -> Turn {
        let is = |other: &'static dyn Resource| resource.type_id() == other.type_id();
        if namespace.is_empty() || is(resource::of::<Event>()) {
            return Turn::Free;
        }
        let lock = self.turns().of(namespace);
        if !is(resource::of::<ResourceQuota>()) {
            let shared = Arc::clone(&lock).read_owned().await;
            if !self.has_quota(namespace) {
                return Turn::Shared { _guard: shared };
            }
        }
        Turn::Alone { _guard: lock.write_owned().await }
    }

    fn has_quota(&self, namespace: &str) -> bool {
        let prefix = list::collection(resource::of::<ResourceQuota>(), namespace);
        !self.store().list(&prefix, None, 1).rows.is_empty()
    }

    /// What must be committed with this write, so that quotas stay true.
    ///
    /// # Errors
    ///
    /// 403 when a quota does not allow it.
    pub(crate) fn charge(
        &self,
        turn: &Turn,
        draft: &Draft<'_>,
        new: Option<&dyn Object>,
    ) -> Result<Vec<Op>, ApiError> {
        let Turn::Alone { .. } = turn else { return Ok(Vec::new()) };
        let kind = resource::of::<ResourceQuota>();
        let own = draft.resource.key(draft.namespace, draft.name);
        let write = Charge {
            resource: draft.resource,
            subresource: draft.subresource,
            name: draft.name,
            old: draft.old,
            new,
        };
        let prefix = list::collection(kind, draft.namespace);
        let mut ops = Vec::new();
        for row in self.store().list(&prefix, None, 0).rows {
            if *row.key == *own {
                continue;
            }
            let stored = Stored::read(kind, row)?;
            let Some(quota) = stored.object.as_any().downcast_ref::<ResourceQuota>() else {
                continue;
            };
            for changed in quota::charge(&write, std::slice::from_ref(quota))? {
                let name = quota.metadata.name.as_deref().unwrap_or_default();
                let key = kind.key(draft.namespace, name);
                let value = stamp(kind, &changed, stored.managed.clone())?;
                ops.push(put(kind, key, Expect::At(stored.row.revision), &changed, value));
            }
        }
        Ok(ops)
    }

    /// Gives a quota that is made or changed the status that is true; says whether it did.
    pub(crate) fn count(&self, draft: &Draft<'_>, new: &mut dyn Object) -> Result<bool, ApiError> {
        let Some(quota) = new.as_any_mut().downcast_mut::<ResourceQuota>() else {
            return Ok(false);
        };
        let limits = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let told = quota.status.as_ref().and_then(|status| status.hard.as_ref());
        if draft.old.is_some() && draft.part == Part::Main && limits == told {
            return Ok(false);
        }
        let mut objects = Vec::new();
        for kind in resource::all().iter().copied() {
            if !kind.namespaced() || kind.alias().is_some() || !quota::counts(quota, kind) {
                continue;
            }
            let prefix = list::collection(kind, draft.namespace);
            for row in self.store().list(&prefix, None, 0).rows {
                objects.push((kind, Stored::read(kind, row)?.object));
            }
        }
        if draft.old.is_none() && quota::counts(quota, draft.resource) {
            objects.push((draft.resource, quota.boxed()));
        }
        let status = quota::counted(quota, objects.iter().map(|(kind, object)| (*kind, &**object)));
        quota.status = Some(status);
        Ok(true)
    }
}
