//! Objects by the values of an index.

use std::{collections::BTreeMap, sync::Arc};

use super::State;
use crate::key::Key;

/// Which objects are found under each value, in order.
#[derive(Debug)]
pub(super) struct Values<K>(BTreeMap<String, BTreeMap<Key, Arc<K>>>);

impl<K> Default for Values<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K> Values<K> {
    /// The object is found under this value from now on.
    pub(super) fn enter(&mut self, value: &str, key: &Key, object: &Arc<K>) {
        let object = Arc::clone(object);
        match self.0.get_mut(value) {
            Some(found) => drop(found.insert(key.clone(), object)),
            None => drop(self.0.insert(value.to_owned(), BTreeMap::from([(key.clone(), object)]))),
        }
    }

    /// It is not found there any more.
    pub(super) fn leave(&mut self, value: &str, key: &Key) {
        if let Some(found) = self.0.get_mut(value) {
            found.remove(key);
            if found.is_empty() {
                self.0.remove(value);
            }
        }
    }

    /// All that are found under this value.
    pub(super) fn under(&self, value: &str) -> Vec<Arc<K>> {
        self.0.get(value).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}

impl<K: kube::Resource> State<K> {
    pub(super) fn enter(&mut self, key: &Key, object: &Arc<K>) {
        for owner in object.meta().owner_references.iter().flatten() {
            self.by_owner.enter(&owner.uid, key, object);
        }
        for ((_, values), index) in &mut self.by_index {
            values(object).iter().for_each(|value| index.enter(value, key, object));
        }
    }

    pub(super) fn leave(&mut self, key: &Key, object: &K) {
        for owner in object.meta().owner_references.iter().flatten() {
            self.by_owner.leave(&owner.uid, key);
        }
        for ((_, values), index) in &mut self.by_index {
            values(object).iter().for_each(|value| index.leave(value, key));
        }
    }
}
