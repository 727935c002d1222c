//! What is wrong with a selector of labels or of nodes.

use k8s_openapi::{
    api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::{
    metadata::labels,
    report::{At, Report, items},
};
use crate::names;

const NOT_AN_OPERATOR: &str = "not a valid selector operator";
const VALUES_NEEDED: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const NO_VALUES: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";

pub(super) fn label_selector(selector: &LabelSelector, at: At<'_>, out: &mut Report) {
    labels(&selector.match_labels, at.field("matchLabels"), out);
    for (index, requirement) in items(&selector.match_expressions).iter().enumerate() {
        label_requirement(requirement, at.field("matchExpressions").index(index), out);
    }
}

fn label_requirement(requirement: &LabelSelectorRequirement, at: At<'_>, out: &mut Report) {
    let values = items(&requirement.values);
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => out.required(at.field("values"), VALUES_NEEDED),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if values.is_empty() => {}
        "Exists" | "DoesNotExist" => out.forbidden(at.field("values"), NO_VALUES),
        other => out.invalid(at.field("operator"), other, NOT_AN_OPERATOR),
    }
    out.faults(at.field("key"), &requirement.key, names::qualified_name(&requirement.key));
    for (index, value) in values.iter().enumerate() {
        out.faults(at.field("values").index(index), value, names::label_value(value));
    }
}

pub(super) fn node_selector(selector: &NodeSelector, at: At<'_>, out: &mut Report) {
    let at = at.field("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        out.required(at, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(term, true, at.index(index), out);
    }
}

/// Values are judged where the term is required, not where it is only preferred.
pub(super) fn node_term(term: &NodeSelectorTerm, strict: bool, at: At<'_>, out: &mut Report) {
    for (index, requirement) in items(&term.match_expressions).iter().enumerate() {
        node_requirement(requirement, strict, at.field("matchExpressions").index(index), out);
    }
    for (index, requirement) in items(&term.match_fields).iter().enumerate() {
        node_field(requirement, at.field("matchFields").index(index), out);
    }
}

fn node_requirement(
    requirement: &NodeSelectorRequirement,
    strict: bool,
    at: At<'_>,
    out: &mut Report,
) {
    let values = items(&requirement.values);
    let at_values = at.field("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => out.required(at_values, VALUES_NEEDED),
        "Exists" | "DoesNotExist" if !values.is_empty() => out.forbidden(at_values, NO_VALUES),
        "Gt" | "Lt" if values.len() != 1 => {
            out.required(
                at_values,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => out.invalid(at.field("operator"), other, NOT_AN_OPERATOR),
    }
    out.faults(at.field("key"), &requirement.key, names::qualified_name(&requirement.key));
    if strict {
        for (index, value) in values.iter().enumerate() {
            out.faults(at_values.index(index), value, names::label_value(value));
        }
    }
}

fn node_field(requirement: &NodeSelectorRequirement, at: At<'_>, out: &mut Report) {
    let values = items(&requirement.values);
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() == 1 => {}
        "In" | "NotIn" => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field \
                       selector";
            out.required(at.field("values"), why);
        }
        other => out.invalid(at.field("operator"), other, NOT_AN_OPERATOR),
    }
    if requirement.key != "metadata.name" {
        out.invalid(at.field("key"), &*requirement.key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        out.faults(at.field("values").index(index), value, names::dns_subdomain(value));
    }
}
