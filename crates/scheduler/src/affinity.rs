//! Company: which pods a pod must, must not, or would like to be near, and who objects to it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Affinity, Node, Pod, PodAffinityTerm, WeightedPodAffinityTerm};

use crate::{cluster::Cluster, selector, verdict::Fault};

/// Label and value: one place, as zones and hosts are.
type Place = (String, String);

/// Where the pod may be and would like to be, worked out once for all nodes.
#[derive(Default)]
pub(crate) struct Company {
    /// Each required term's places, where pods matching all terms are.
    wanted: Vec<(String, BTreeSet<String>)>,
    /// No pod matches the required terms, but the pod itself does: it may be the first.
    may_be_first: bool,
    /// Where pods are that this one refuses.
    refused: BTreeSet<Place>,
    /// Where pods are that refuse this one.
    unwelcome: BTreeSet<Place>,
    /// What each place is worth.
    worth: BTreeMap<Place, i64>,
}

impl Company {
    pub(crate) fn of(pod: &Pod, cluster: &Cluster) -> Self {
        let mut company = Company::default();
        let own = affinity(pod);
        let required = own.map_or(&[][..], required_near);
        let refused = own.map_or(&[][..], required_apart);
        let soft = own.is_some_and(|own| !preferred(own).is_empty());
        company.wanted =
            required.iter().map(|term| (term.topology_key.clone(), BTreeSet::new())).collect();
        if required.is_empty() && refused.is_empty() && !soft && cluster.with_affinity == 0 {
            return company;
        }
        let meets_all = |other: &Pod| required.iter().all(|term| meets(term, pod, other, cluster));
        for state in cluster.pods.values() {
            let place = cluster.nodes.get(&state.node).and_then(|node| node.node.as_deref());
            let Some(node) = place else { continue };
            if !required.is_empty() && meets_all(&state.pod) {
                for (key, values) in &mut company.wanted {
                    values.extend(value(node, key));
                }
            }
            for term in refused.iter().filter(|term| meets(term, pod, &state.pod, cluster)) {
                company.refused.extend(place_of(node, &term.topology_key));
            }
            company.hear(pod, &state.pod, node, cluster);
            if let Some(own) = own {
                for (term, worth) in preferred(own) {
                    if meets(&term.pod_affinity_term, pod, &state.pod, cluster) {
                        let key = &term.pod_affinity_term.topology_key;
                        company.value(node, key, worth);
                    }
                }
            }
        }
        company.may_be_first =
            company.wanted.iter().all(|(_, values)| values.is_empty()) && meets_all(pod);
        company
    }

    /// What a pod that is already there says about the new one.
    fn hear(&mut self, pod: &Pod, other: &Pod, node: &Node, cluster: &Cluster) {
        let Some(theirs) = affinity(other) else { return };
        for term in required_apart(theirs) {
            if meets(term, other, pod, cluster) {
                self.unwelcome.extend(place_of(node, &term.topology_key));
            }
        }
        for term in required_near(theirs) {
            if meets(term, other, pod, cluster) {
                self.value(node, &term.topology_key, 1);
            }
        }
        for (term, worth) in preferred(theirs) {
            if meets(&term.pod_affinity_term, other, pod, cluster) {
                self.value(node, &term.pod_affinity_term.topology_key, worth);
            }
        }
    }

    /// Whether the node's company is as required, on both sides.
    pub(crate) fn allows(&self, node: &Node) -> Result<(), Fault> {
        let here = self.wanted.iter().all(|(key, values)| match value(node, key) {
            Some(value) => self.may_be_first || values.contains(&value),
            None => false,
        });
        if !here {
            return Err(Fault::final_("node(s) didn't match pod affinity rules"));
        }
        let stands_at = |places: &BTreeSet<Place>| {
            places.iter().any(|(key, at)| value(node, key).as_ref() == Some(at))
        };
        if stands_at(&self.refused) {
            return Err(Fault::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        if stands_at(&self.unwelcome) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Fault::resolvable(reason));
        }
        Ok(())
    }

    /// What the node's places are worth together.
    pub(crate) fn worth(&self, node: &Node) -> i64 {
        let here = |(key, at): &Place| value(node, key).as_ref() == Some(at);
        self.worth.iter().filter(|(place, _)| here(place)).map(|(_, worth)| worth).sum()
    }

    fn value(&mut self, node: &Node, key: &str, worth: i64) {
        if let Some(place) = place_of(node, key) {
            *self.worth.entry(place).or_default() += worth;
        }
    }
}

/// Whether the term of `owner` is about `other`: right namespace, matching labels.
fn meets(term: &PodAffinityTerm, owner: &Pod, other: &Pod, cluster: &Cluster) -> bool {
    let empty = BTreeMap::new();
    let theirs = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let in_namespace = match &term.namespace_selector {
        None if named.is_empty() => owner.metadata.namespace.as_deref() == Some(theirs),
        None => named.iter().any(|name| name == theirs),
        Some(selector) => {
            named.iter().any(|name| name == theirs)
                || selector::selects(
                    Some(selector),
                    cluster.namespaces.get(theirs).unwrap_or(&empty),
                )
        }
    };
    let labels = other.metadata.labels.as_ref().unwrap_or(&empty);
    in_namespace && selector::selects(term.label_selector.as_ref(), labels)
}

fn affinity(pod: &Pod) -> Option<&Affinity> {
    pod.spec.as_ref()?.affinity.as_ref()
}

fn required_near(affinity: &Affinity) -> &[PodAffinityTerm] {
    let near = affinity.pod_affinity.as_ref();
    near.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

fn required_apart(affinity: &Affinity) -> &[PodAffinityTerm] {
    let apart = affinity.pod_anti_affinity.as_ref();
    apart
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

/// Wishes for company with their weight, and against it with a negative one.
fn preferred(affinity: &Affinity) -> Vec<(&WeightedPodAffinityTerm, i64)> {
    let near = affinity.pod_affinity.iter();
    let near =
        near.flat_map(|a| a.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    let apart = affinity.pod_anti_affinity.iter();
    let apart =
        apart.flat_map(|a| a.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    near.map(|term| (term, i64::from(term.weight)))
        .chain(apart.map(|term| (term, -i64::from(term.weight))))
        .collect()
}

fn value(node: &Node, key: &str) -> Option<String> {
    node.metadata.labels.as_ref()?.get(key).cloned()
}

fn place_of(node: &Node, key: &str) -> Option<Place> {
    Some((key.to_owned(), value(node, key)?))
}
