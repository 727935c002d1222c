//! Label selectors and node selectors.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

type Labels = BTreeMap<String, String>;

/// Whether the selector picks these labels; an empty selector picks everything, none picks nothing.
pub(crate) fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return false };
    let exact = selector.match_labels.iter().flatten();
    let mut rules = selector.match_expressions.iter().flatten();
    exact.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && rules.all(|rule| {
            let values = rule.values.as_deref().unwrap_or_default();
            holds(&rule.operator, labels.get(&rule.key), values)
        })
}

/// Whether any term fits the node; terms without a rule fit none.
pub(crate) fn node_selector_fits(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| node_term_fits(term, node))
}

/// Whether all rules of the term hold for the node.
pub(crate) fn node_term_fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let value = |rule: &NodeSelectorRequirement| {
        node.metadata.labels.as_ref().and_then(|labels| labels.get(&rule.key))
    };
    let name = |rule: &NodeSelectorRequirement| {
        node.metadata.name.as_ref().filter(|_| rule.key == "metadata.name")
    };
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|rule| node_rule_holds(rule, value(rule)))
        && fields.iter().all(|rule| node_rule_holds(rule, name(rule)))
}

fn node_rule_holds(rule: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    holds(&rule.operator, value, rule.values.as_deref().unwrap_or_default())
}

fn holds(operator: &str, value: Option<&String>, values: &[String]) -> bool {
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

/// Whether the pod's nodeSelector and required node affinity fit the node.
pub(crate) fn required_node_affinity_fits(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let mut exact = spec.node_selector.iter().flatten();
    let labels = node.metadata.labels.as_ref();
    if !exact.all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| node_selector_fits(selector, node))
}

/// Whether one of the tolerations covers the taint.
pub(crate) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
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
    })
}

/// The first taint with one of these effects that the pod does not tolerate.
pub(crate) fn untolerated<'a>(pod: &Pod, node: &'a Node, effects: &[&str]) -> Option<&'a Taint> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    taints.unwrap_or_default().iter().find(|taint| {
        effects.contains(&taint.effect.as_str())
            && !tolerated(taint, tolerations.unwrap_or_default())
    })
}
