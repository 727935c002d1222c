//! Whether a node is one that a pod may go to: node selectors and taints.
//!
//! Source: kubernetes v1.36 `component-helpers/scheduling/corev1`, `nodeaffinity` and `helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration,
};

/// Whether the pod's nodeSelector and required node affinity fit the node.
#[must_use]
pub fn required_node_affinity_fits(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let mut exact = spec.node_selector.iter().flatten();
    if !exact.all(|(key, value)| label(node, key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| node_selector_fits(selector, node))
}

/// Whether any term fits the node.
#[must_use]
pub fn node_selector_fits(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| node_term_fits(term, node))
}

/// Whether all rules of the term hold for the node; a term without a rule fits none. The only
/// field there is is `metadata.name`; a rule on another holds nowhere.
#[must_use]
pub fn node_term_fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let rule_holds = |rule: &NodeSelectorRequirement, value: Option<&String>| {
        holds(&rule.operator, value, rule.values.as_deref().unwrap_or_default())
    };
    let name = node.metadata.name.as_ref();
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|rule| rule_holds(rule, label(node, &rule.key)))
        && fields.iter().all(|rule| rule.key == "metadata.name" && rule_holds(rule, name))
}

/// Whether the operator holds between a value, if there is one, and those of a rule; an unknown
/// operator holds nowhere.
#[must_use]
pub fn holds(operator: &str, value: Option<&String>, values: &[String]) -> bool {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(number(values.first())).is_some_and(|(is, than)| is > than),
        "Lt" => number(value).zip(number(values.first())).is_some_and(|(is, than)| is < than),
        _ => false,
    }
}

/// Whether a toleration covers a taint: key, value and effect, an absent one covering all.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a String> {
    node.metadata.labels.as_ref().and_then(|labels: &BTreeMap<String, String>| labels.get(key))
}
