//! Typed reads of what is stored, for access, admission and the way to nodes: no HTTP, no wait.

use api::{object::Typed, resource};
use store::Store;

use crate::codec;

/// Reads objects by name, or all of a kind, at the latest revision.
#[derive(Debug, Clone)]
pub struct Lookup {
    store: Store,
}

impl Lookup {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The object of this name; `namespace` is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get<T: Typed>(&self, namespace: &str, name: &str) -> Option<T> {
        let resource = resource::of::<T>();
        let row = self.store.get(&resource.key(namespace, name))?;
        read(resource, &row.value)
    }

    /// All objects of a kind, in a namespace or (with an empty one) everywhere, by name.
    #[must_use]
    pub fn list<T: Typed>(&self, namespace: &str) -> Vec<T> {
        let resource = resource::of::<T>();
        let prefix = crate::list::collection(resource, namespace);
        let rows = self.store.list(&prefix, None, 0).rows;
        rows.iter().filter_map(|row| read(resource, &row.value)).collect()
    }

    /// The store's latest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.store.revision()
    }
}

fn read<T: Typed>(resource: &'static dyn api::Resource, bytes: &[u8]) -> Option<T> {
    match codec::decode(resource, bytes) {
        Ok(object) => object.as_any().downcast_ref::<T>().cloned(),
        Err(error) => {
            tracing::error!(%error, kind = T::KIND, "a stored object cannot be read");
            None
        }
    }
}
