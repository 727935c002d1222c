//! Typed reads of what is stored, for access, admission and the way to nodes: no HTTP, no wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use api::{Object, object::Typed, resource};
use store::{Row, Store};

use crate::codec;

/// Rows whose objects are kept as they were last read.
const KEPT_MAX: usize = 256;

/// By key: of which revision, and what it said.
type Kept = BTreeMap<Arc<str>, (u64, Arc<dyn Object>)>;

/// Reads objects by name, or all of a kind, at the latest revision.
///
/// Admission asks for the same few ones with every pod: those are not read anew while their rows are
/// the same.
#[derive(Debug, Clone)]
pub struct Lookup {
    store: Store,
    kept: Arc<Mutex<Kept>>,
}

impl Lookup {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, kept: Arc::default() }
    }

    /// The object of this name; `namespace` is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get<T: Typed>(&self, namespace: &str, name: &str) -> Option<T> {
        let resource = resource::of::<T>();
        let row = self.store.get(&resource.key(namespace, name))?;
        self.read(resource, &row)
    }

    /// All objects of a kind, in a namespace or (with an empty one) everywhere, by name.
    #[must_use]
    pub fn list<T: Typed>(&self, namespace: &str) -> Vec<T> {
        let resource = resource::of::<T>();
        let prefix = crate::list::collection(resource, namespace);
        let rows = self.store.list(&prefix, None, 0).rows;
        rows.iter().filter_map(|row| self.read(resource, row)).collect()
    }

    /// The store's latest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }

    fn read<T: Typed>(&self, resource: &'static dyn api::Resource, row: &Row) -> Option<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, object)) = kept.get(&row.key).filter(|(of, _)| *of == row.revision) {
            return object.as_any().downcast_ref::<T>().cloned();
        }
        match codec::decode(resource, &row.value) {
            Ok(object) => {
                if kept.len() >= KEPT_MAX {
                    kept.clear();
                }
                let object: Arc<dyn Object> = object.into();
                kept.insert(row.key.clone(), (row.revision, Arc::clone(&object)));
                object.as_any().downcast_ref::<T>().cloned()
            }
            Err(error) => {
                tracing::error!(%error, kind = T::KIND, "a stored object cannot be read");
                None
            }
        }
    }
}
