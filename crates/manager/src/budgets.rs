//! What upstream's gauges say of sets whose rollouts have a budget.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use client::Key;

/// One set's budget, when it was last decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The set's namespace.
    pub namespace: String,
    /// The set's name.
    pub name: String,
    /// `OrderedReady` or `Parallel`.
    pub pod_management_policy: String,
    /// How many of its pods may be unavailable during a rollout.
    pub max_unavailable: i64,
    /// How many of its wanted pods are.
    pub unavailable: i64,
}

/// The budgets of all sets; clones are the same. A set that is gone has none, unlike upstream's series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budgets(Arc<Mutex<BTreeMap<Key, Budget>>>);

impl Budgets {
    /// Sets or, with `None`, forgets a set's.
    pub(crate) fn set(&self, key: &Key, budget: Option<Budget>) {
        match budget {
            Some(budget) => drop(self.lock().insert(key.clone(), budget)),
            None => drop(self.lock().remove(key)),
        }
    }

    /// All, in the order of namespaces and names.
    pub(crate) fn all(&self) -> Vec<Budget> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Budget>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
