//! What is wrong with amounts of CPU, memory and storage.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Written,
};

use crate::{
    names,
    quantity::Quantity,
    validation::report::{At, Report, entries, items},
};

/// Who has the resources: a container, or a pod as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Container,
    Pod,
}

/// Requests and limits; `claims` are the names of `spec.resourceClaims`.
pub(super) fn requirements(
    resources: &ResourceRequirements,
    holder: Holder,
    claims: &BTreeSet<&str>,
    at: At<'_>,
    out: &mut Report,
) {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    let (mut basic, mut huge) = (false, false);
    for (list, at) in [(&resources.limits, limits), (&resources.requests, requests)] {
        for (name, written) in entries(list) {
            let at = at.key(name);
            resource_name(name, holder, at, out);
            let amount = amount(name, written, at, out);
            basic |= name == "cpu" || name == "memory";
            if let Some(size) = name.strip_prefix("hugepages-") {
                huge = true;
                if let Some(amount) = amount {
                    huge_page(name, size, amount, at, out);
                }
            }
        }
    }
    for (name, written) in entries(&resources.requests) {
        below_limit(name, written, &resources.limits, [requests, limits], out);
    }
    if huge && !basic {
        out.forbidden(at, "HugePages require cpu or memory");
    }
    claim_names(resources, claims, at.field("claims"), out);
}

fn below_limit(
    name: &str,
    written: &Written,
    limits: &Option<BTreeMap<String, Written>>,
    [at_requests, at_limits]: [At<'_>; 2],
    out: &mut Report,
) {
    let Ok(request) = Quantity::parse(&written.0) else { return };
    let Some(limit) = limits.as_ref().and_then(|limits| limits.get(name)) else {
        if !may_overcommit(name) {
            out.required(at_limits, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let Ok(limit) = Quantity::parse(&limit.0) else { return };
    let rule = match request.cmp(&limit) {
        std::cmp::Ordering::Equal => return,
        _ if !may_overcommit(name) => "must be equal to",
        std::cmp::Ordering::Less => return,
        std::cmp::Ordering::Greater => "must be less than or equal to",
    };
    out.invalid(at_requests, request.to_string(), &format!("{rule} {name} limit of {limit}"));
}

/// A quantity that is not negative, and whole where the resource is counted in pieces.
pub(super) fn amount(
    name: &str,
    written: &Written,
    at: At<'_>,
    out: &mut Report,
) -> Option<Quantity> {
    let amount = match Quantity::parse(&written.0) {
        Ok(amount) => amount,
        Err(error) => {
            out.invalid(at, &*written.0, &error.to_string());
            return None;
        }
    };
    if amount.is_negative() {
        out.invalid(at, amount.to_string(), "must be greater than or equal to 0");
    }
    if is_extended(name) && !amount.is_whole() {
        out.invalid(at, amount.to_string(), "must be an integer");
    }
    Some(amount)
}

/// A quantity greater than nothing.
pub(super) fn positive(written: &Written, at: At<'_>, out: &mut Report) {
    match Quantity::parse(&written.0) {
        Err(error) => out.invalid(at, &*written.0, &error.to_string()),
        Ok(amount) if amount.is_negative() || amount.is_zero() => {
            out.invalid(at, amount.to_string(), "must be greater than zero");
        }
        Ok(_) => {}
    }
}

fn huge_page(name: &str, size: &str, amount: Quantity, at: At<'_>, out: &mut Report) {
    let size = Quantity::parse(size).map_or(0, Quantity::value);
    if size <= 0 || amount.value() % size != 0 {
        let why = format!("{amount} is not positive integer multiple of {name}");
        out.invalid(at, amount.to_string(), &why);
    }
}

fn resource_name(name: &str, holder: Holder, at: At<'_>, out: &mut Report) {
    let faults = names::qualified_name(name);
    if !faults.is_empty() {
        out.faults(at, name, faults);
        return;
    }
    let known =
        ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    let standard = known || ["storage", "pods", "services", "secrets"].contains(&name);
    if !name.contains('/') && !standard {
        out.invalid(at, name, "must be a standard resource type or fully qualified");
        if holder == Holder::Container {
            out.invalid(at, name, "must be a standard resource for containers");
        }
        return;
    }
    match holder {
        Holder::Container if !name.contains('/') => {
            if !known {
                out.invalid(at, name, "must be a standard resource for containers");
            }
        }
        Holder::Container => {
            if !is_native(name) && !is_extended(name) {
                out.invalid(at, name, "doesn't follow extended resource name standard");
            }
        }
        Holder::Pod => {
            if !["cpu", "memory"].contains(&name) && !name.starts_with("hugepages-") {
                out.not_supported(at, name, &["cpu", "hugepages-", "memory"]);
            }
        }
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// `vendor.example/thing`: counted in pieces, never shared.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

fn claim_names(
    resources: &ResourceRequirements,
    known: &BTreeSet<&str>,
    at: At<'_>,
    out: &mut Report,
) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, claim) in items(&resources.claims).iter().enumerate() {
        let at = at.index(index);
        let key = (claim.name.as_str(), claim.request.as_deref().unwrap_or_default());
        if claim.name.is_empty() {
            out.required(at, "");
            continue;
        }
        let overlaps = |(name, request): &(&str, &str)| {
            *name == key.0 && (key.1.is_empty() || request.is_empty())
        };
        if seen.contains(&key) || seen.iter().any(overlaps) {
            out.duplicate(at, key.0);
        }
        seen.push(key);
        if !known.contains(key.0) {
            out.not_found(at, key.0);
        }
    }
}
