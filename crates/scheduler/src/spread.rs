//! Topology spread: how evenly matching pods lie over zones, nodes, or whatever label is named.

use std::collections::BTreeMap;

use api::selector::nodes;
use k8s_openapi::{
    api::core::v1::{Node, Pod, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{cluster::Cluster, selector, verdict::Fault};

/// The pod's constraints of one strength, with the matching pods counted by domain.
pub(crate) struct Spread {
    constraints: Vec<Counted>,
}

struct Counted {
    key: String,
    max_skew: i64,
    min_domains: usize,
    itself: i64,
    /// Matching pods by value of the label, over the nodes that count.
    domains: BTreeMap<String, i64>,
}

impl Spread {
    /// Constraints that must hold (`DoNotSchedule`).
    pub(crate) fn required(pod: &Pod, cluster: &Cluster) -> Self {
        Self::of(pod, cluster, "DoNotSchedule")
    }

    /// Constraints that should hold (`ScheduleAnyway`).
    pub(crate) fn preferred(pod: &Pod, cluster: &Cluster) -> Self {
        Self::of(pod, cluster, "ScheduleAnyway")
    }

    fn of(pod: &Pod, cluster: &Cluster, strength: &str) -> Self {
        let all = pod.spec.iter().flat_map(|s| s.topology_spread_constraints.iter().flatten());
        let ours: Vec<_> = all.filter(|c| c.when_unsatisfiable == strength).collect();
        let keys: Vec<&str> = ours.iter().map(|c| c.topology_key.as_str()).collect();
        let constraints = ours.iter().map(|c| count(c, &keys, pod, cluster)).collect();
        Self { constraints }
    }

    /// Whether the node keeps every skew within its bound.
    pub(crate) fn allows(&self, node: &Node) -> Result<(), Fault> {
        for constraint in &self.constraints {
            let Some(value) = label(node, &constraint.key) else {
                return Err(Fault::final_(
                    "node(s) didn't match pod topology spread constraints (missing required \
                     label)",
                ));
            };
            let least = if constraint.domains.len() < constraint.min_domains {
                0
            } else {
                constraint.domains.values().copied().min().unwrap_or(i64::MAX)
            };
            let here = constraint.domains.get(value).copied().unwrap_or(0);
            if here.saturating_add(constraint.itself).saturating_sub(least) > constraint.max_skew {
                return Err(Fault::resolvable(
                    "node(s) didn't match pod topology spread constraints",
                ));
            }
        }
        Ok(())
    }

    /// How many matching pods the node's domains hold; `None` without constraints.
    pub(crate) fn crowd(&self, node: &Node) -> Option<i64> {
        if self.constraints.is_empty() {
            return None;
        }
        let here = self.constraints.iter().map(|constraint| match label(node, &constraint.key) {
            Some(value) => constraint.domains.get(value).copied().unwrap_or(0),
            None => constraint.domains.values().sum(),
        });
        Some(here.sum())
    }
}

fn count(
    constraint: &TopologySpreadConstraint,
    keys: &[&str],
    pod: &Pod,
    cluster: &Cluster,
) -> Counted {
    let selector = with_label_keys(constraint, pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut domains = BTreeMap::new();
    for (_, state, node) in cluster.known() {
        if !keys.iter().all(|key| label(node, key).is_some()) || !counts(constraint, pod, node) {
            continue;
        }
        let Some(value) = label(node, &constraint.topology_key) else { continue };
        let matching = state.pods.iter().filter_map(|key| cluster.pods.get(key)).filter(|other| {
            other.pod.metadata.namespace.as_deref() == Some(namespace)
                && other.pod.metadata.deletion_timestamp.is_none()
                && matches(selector.as_ref(), &other.pod)
        });
        let matching = i64::try_from(matching.count()).unwrap_or(i64::MAX);
        *domains.entry(value.to_owned()).or_default() += matching;
    }
    Counted {
        key: constraint.topology_key.clone(),
        max_skew: i64::from(constraint.max_skew),
        min_domains: constraint.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
        itself: i64::from(matches(selector.as_ref(), pod)),
        domains,
    }
}

/// Whether the node takes part in the count, by the constraint's inclusion policies.
fn counts(constraint: &TopologySpreadConstraint, pod: &Pod, node: &Node) -> bool {
    let affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    (!affinity || nodes::required_node_affinity_fits(pod, node))
        && (!taints || selector::untolerated(pod, node, &["NoSchedule", "NoExecute"]).is_none())
}

fn with_label_keys(constraint: &TopologySpreadConstraint, pod: &Pod) -> Option<LabelSelector> {
    let mut selector = constraint.label_selector.clone()?;
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            let exact = selector.match_labels.get_or_insert_default();
            exact.insert(key.clone(), value.clone());
        }
    }
    Some(selector)
}

fn matches(selector: Option<&LabelSelector>, pod: &Pod) -> bool {
    let empty = BTreeMap::new();
    selector::selects(selector, pod.metadata.labels.as_ref().unwrap_or(&empty))
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
