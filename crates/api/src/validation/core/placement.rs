//! What is wrong with a pod's wishes about nodes.

use k8s_openapi::{
    api::core::v1::{
        Affinity, PodAffinityTerm, PodSpec, Taint, Toleration, TopologySpreadConstraint,
        WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{
    names,
    validation::{
        report::{At, Report, items, text},
        selector::{label_selector, node_selector, node_term},
    },
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const WITHOUT_SELECTOR: &str = "must not be specified when labelSelector is not set";

pub(super) fn wishes(spec: &PodSpec, at: At<'_>, out: &mut Report) {
    if let Some(wanted) = &spec.affinity {
        affinity(wanted, at.field("affinity"), out);
    }
    let spread = items(&spec.topology_spread_constraints);
    constraints(spread, at.field("topologySpreadConstraints"), out);
}

fn affinity(affinity: &Affinity, at: At<'_>, out: &mut Report) {
    if let Some(nodes) = &affinity.node_affinity {
        let at = at.field("nodeAffinity");
        if let Some(required) = &nodes.required_during_scheduling_ignored_during_execution {
            node_selector(required, at.field(REQUIRED), out);
        }
        let preferred = items(&nodes.preferred_during_scheduling_ignored_during_execution);
        for (index, term) in preferred.iter().enumerate() {
            let list = at.field(PREFERRED);
            let at = list.index(index);
            weight(term.weight, at.field("weight"), out);
            node_term(&term.preference, false, at.field("preference"), out);
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let required = items(&pods.required_during_scheduling_ignored_during_execution);
        let preferred = items(&pods.preferred_during_scheduling_ignored_during_execution);
        pod_terms(required, preferred, at.field("podAffinity"), out);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let required = items(&pods.required_during_scheduling_ignored_during_execution);
        let preferred = items(&pods.preferred_during_scheduling_ignored_during_execution);
        pod_terms(required, preferred, at.field("podAntiAffinity"), out);
    }
}

fn weight(weight: i32, at: At<'_>, out: &mut Report) {
    if !(1..=100).contains(&weight) {
        out.invalid(at, weight, "must be in the range 1-100");
    }
}

fn pod_terms(
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
    at: At<'_>,
    out: &mut Report,
) {
    for (index, term) in required.iter().enumerate() {
        pod_term(term, at.field(REQUIRED).index(index), out);
    }
    for (index, weighted) in preferred.iter().enumerate() {
        let list = at.field(PREFERRED);
        let at = list.index(index);
        weight(weighted.weight, at.field("weight"), out);
        pod_term(&weighted.pod_affinity_term, at.field("podAffinityTerm"), out);
    }
}

fn pod_term(term: &PodAffinityTerm, at: At<'_>, out: &mut Report) {
    if let Some(selector) = &term.label_selector {
        label_selector(selector, at.field("labelSelector"), out);
    }
    if let Some(selector) = &term.namespace_selector {
        label_selector(selector, at.field("namespaceSelector"), out);
    }
    for namespace in items(&term.namespaces) {
        out.faults(at.field("namespace"), namespace, names::dns_label(namespace));
    }
    let (matching, mismatching) = (items(&term.match_label_keys), items(&term.mismatch_label_keys));
    for (field, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)] {
        let at = at.field(field);
        if !keys.is_empty() && term.label_selector.is_none() {
            out.forbidden(at, WITHOUT_SELECTOR);
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            out.faults(at.index(index), key, names::qualified_name(key));
        }
    }
    for (index, key) in matching.iter().enumerate() {
        if mismatching.contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            out.invalid(at.field("matchLabelKeys").index(index), &**key, why);
        }
    }
    let key = term.topology_key.as_str();
    if key.is_empty() {
        out.required(at.field("topologyKey"), "can not be empty");
    }
    out.faults(at.field("topologyKey"), key, names::qualified_name(key));
}

fn constraints(list: &[TopologySpreadConstraint], at: At<'_>, out: &mut Report) {
    for (index, constraint) in list.iter().enumerate() {
        let at = at.index(index);
        if constraint.max_skew <= 0 {
            out.invalid(at.field("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            out.required(at.field("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        out.known(at.field("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        let key = constraint.topology_key.as_str();
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == key && other.when_unsatisfiable == action
        };
        if list[index + 1..].iter().any(same) {
            let at = at.field("{topologyKey, whenUnsatisfiable}");
            out.duplicate(at, format!("{{{key}, {action}}}"));
        }
        min_domains(constraint, at.field("minDomains"), out);
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy {
                out.known(at.field(field), policy, &["Honor", "Ignore"]);
            }
        }
        let keys = items(&constraint.match_label_keys);
        spread_keys(keys, constraint.label_selector.as_ref(), at.field("matchLabelKeys"), out);
        if let Some(selector) = &constraint.label_selector {
            label_selector(selector, at.field("labelSelector"), out);
        }
    }
}

fn min_domains(constraint: &TopologySpreadConstraint, at: At<'_>, out: &mut Report) {
    let Some(domains) = constraint.min_domains else { return };
    if domains <= 0 {
        out.invalid(at, domains, "must be greater than zero");
    }
    let action = &constraint.when_unsatisfiable;
    if action != "DoNotSchedule" {
        let why =
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        out.invalid(at, domains, &why);
    }
}

fn spread_keys(keys: &[String], selector: Option<&LabelSelector>, at: At<'_>, out: &mut Report) {
    if keys.is_empty() {
        return;
    }
    if selector.is_none() {
        out.forbidden(at, WITHOUT_SELECTOR);
    }
    for (index, key) in keys.iter().enumerate() {
        out.faults(at.index(index), key, names::qualified_name(key));
        let selected = selector.is_some_and(|selector| {
            selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key))
                || items(&selector.match_expressions).iter().any(|each| each.key == *key)
        });
        if selected {
            out.invalid(at.index(index), &**key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

pub(super) fn tolerations(list: &[Toleration], at: At<'_>, out: &mut Report) {
    for (index, toleration) in list.iter().enumerate() {
        let at = at.index(index);
        let (key, value) = (text(&toleration.key), text(&toleration.value));
        let (operator, effect) = (text(&toleration.operator), text(&toleration.effect));
        if !key.is_empty() {
            out.faults(at.field("key"), key, names::qualified_name(key));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all \
                       values and all keys\"";
            out.invalid(at.field("operator"), operator, why);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            out.invalid(at.field("effect"), effect, why);
        }
        match operator {
            "" | "Equal" => {
                let faults = names::label_value(value);
                if !faults.is_empty() {
                    out.invalid(at.field("operator"), value, &faults.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let why = "value must be empty when `operator` is 'Exists'";
                    out.invalid(at.field("operator"), value, why);
                }
            }
            other => out.not_supported(at.field("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            out.known(at.field("effect"), effect, &EFFECTS);
        }
    }
}

pub(super) fn taints(list: &[Taint], at: At<'_>, out: &mut Report) {
    for (index, taint) in list.iter().enumerate() {
        let item = at.index(index);
        out.faults(item.field("key"), &taint.key, names::qualified_name(&taint.key));
        let value = text(&taint.value);
        let faults = names::label_value(value);
        if !faults.is_empty() {
            out.invalid(item.field("value"), value, &faults.join(";"));
        }
        out.choice(item.field("effect"), &taint.effect, &EFFECTS);
        let same = |other: &Taint| other.key == taint.key && other.effect == taint.effect;
        if list[..index].iter().any(same) {
            out.duplicate(item, serde_json::to_value(taint).unwrap_or_default());
        }
    }
}
