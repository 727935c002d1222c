//! What is wrong with an object or a change, in upstream's words. The `storage.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/storage/validation/validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};

use super::report::{At, Report, entries, items, text};
use crate::{field::Cause, names, resource::Part};

/// Keys and values of all parameters together.
const PARAMETERS_MAX_BYTES: usize = 256 * 1024;

const PARAMETERS_MAX: usize = 512;

pub(crate) fn storage_class(
    class: &StorageClass,
    old: Option<&StorageClass>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    if let Some(old) = old {
        updated(class, old, &mut out);
        return out.into_causes();
    }
    let provisioner = class.provisioner.as_str();
    if provisioner.is_empty() {
        out.required(At::new("provisioner"), "");
    } else {
        let faults = names::qualified_name(&provisioner.to_ascii_lowercase());
        out.faults(At::new("provisioner"), provisioner, faults);
    }
    parameters(class, &mut out);
    let policy = text(&class.reclaim_policy);
    if !policy.is_empty() {
        out.known(At::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let known = ["Immediate", "WaitForFirstConsumer"];
    out.choice(At::new("volumeBindingMode"), text(&class.volume_binding_mode), &known);
    topologies(items(&class.allowed_topologies), &mut out);
    out.into_causes()
}

fn parameters(class: &StorageClass, out: &mut Report) {
    let at = At::new("parameters");
    if class.parameters.as_ref().is_some_and(|list| list.len() > PARAMETERS_MAX) {
        out.too_long(at, PARAMETERS_MAX);
        return;
    }
    let mut bytes = 0;
    for (key, value) in entries(&class.parameters) {
        if key.is_empty() {
            out.invalid(at, key, "field can not be empty.");
        }
        bytes += key.len() + value.len();
    }
    if bytes > PARAMETERS_MAX_BYTES {
        out.too_long(at, PARAMETERS_MAX_BYTES);
    }
}

fn topologies(terms: &[TopologySelectorTerm], out: &mut Report) {
    let list = At::new("allowedTopologies");
    for (index, term) in terms.iter().enumerate() {
        let item = list.index(index);
        if terms[..index].contains(term) {
            out.duplicate(item, "");
        }
        let mut keys = BTreeSet::new();
        for (place, requirement) in items(&term.match_label_expressions).iter().enumerate() {
            let expressions = item.field("matchLabelExpressions");
            let at = expressions.index(place);
            if requirement.values.is_empty() {
                out.required(at.field("values"), "");
            }
            for (index, value) in requirement.values.iter().enumerate() {
                if requirement.values[..index].contains(value) {
                    out.duplicate(at.field("values").index(index), &**value);
                }
            }
            let key = requirement.key.as_str();
            out.faults(at.field("key"), key, names::qualified_name(key));
            if !keys.insert(key) {
                out.duplicate(at.field("key"), key);
            }
        }
    }
}

fn updated(class: &StorageClass, old: &StorageClass, out: &mut Report) {
    if class.parameters != old.parameters {
        out.forbidden(At::new("parameters"), "updates to parameters are forbidden.");
    }
    if class.provisioner != old.provisioner {
        out.forbidden(At::new("provisioner"), "updates to provisioner are forbidden.");
    }
    out.immutable(At::new("reclaimPolicy"), &class.reclaim_policy, &old.reclaim_policy);
    let (mode, was) = (&class.volume_binding_mode, &old.volume_binding_mode);
    out.immutable(At::new("volumeBindingMode"), mode, was);
}
