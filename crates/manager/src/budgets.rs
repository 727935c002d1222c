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
pub struct Budgets(Arc<Mutex<BTreeMap<Key, Budget>>>);

impl Budgets {
    /// Sets or, with `None`, forgets a set's.
    pub(crate) fn set(&self, key: &Key, budget: Option<Budget>) {
        match budget {
            Some(budget) => drop(self.lock().insert(key.clone(), budget)),
            None => drop(self.lock().remove(key)),
        }
    }

    /// Upstream's gauges of them, in Prometheus' text form; empty where no set has a budget.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.lock().values().cloned().collect::<Vec<_>>())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Budget>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one gauge shows of a set.
type Gauge = fn(&Budget) -> i64;

fn text(sets: &[Budget]) -> String {
    let families: [(&str, &str, Gauge); 2] = [
        (
            "statefulset_controller_statefulset_max_unavailable",
            "[ALPHA] Maximum number of unavailable pods allowed during StatefulSet rolling updates",
            |set| set.max_unavailable,
        ),
        (
            "statefulset_controller_statefulset_unavailable_replicas",
            "[ALPHA] Current number of unavailable pods in StatefulSet",
            |set| set.unavailable,
        ),
    ];
    let mut text = String::new();
    for (family, help, value) in families.iter().filter(|_| !sets.is_empty()) {
        text += &format!("# HELP {family} {help}\n# TYPE {family} gauge\n");
        for set in sets {
            let Budget { namespace, name, pod_management_policy: policy, .. } = set;
            text += &format!(
                "{family}{{pod_management_policy={policy:?},statefulset_name={name:?},\
                 statefulset_namespace={namespace:?}}} {}\n",
                value(set)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauges_of_budgets_are_upstreams() {
        assert_eq!(Budgets::default().text(), "");
        let set = Budget {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            pod_management_policy: "Parallel".to_owned(),
            max_unavailable: 3,
            unavailable: 1,
        };
        let budgets = Budgets::default();
        budgets.set(&Key::new("shop", "web"), Some(set));
        let text = budgets.text();
        let labels = r#"{pod_management_policy="Parallel",statefulset_name="web",statefulset_namespace="shop"}"#;
        for (family, value) in [("max_unavailable", 3), ("unavailable_replicas", 1)] {
            let line = format!("statefulset_controller_statefulset_{family}{labels} {value}");
            assert!(text.lines().any(|one| one == line), "{text}");
        }
    }
}
