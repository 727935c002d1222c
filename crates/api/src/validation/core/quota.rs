//! What is wrong with quotas and limit ranges.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use super::resources::{amount, is_extended, may_overcommit};
use crate::{
    field::Cause,
    names,
    quantity::{self, Quantity},
    resource::Part,
    validation::report::{At, Report, entries, items, text},
};

/// Counted in pieces.
const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
/// Measured.
const MEASURED: [&str; 10] = [
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];
/// What a scope other than `BestEffort` may be asked of.
const COMPUTE: [&str; 7] =
    ["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const EXISTING: [&str; 5] =
    ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating"];
const CONFLICTS: [[&str; 2]; 2] =
    [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

pub(crate) fn resource_quota(
    quota: &ResourceQuota,
    old: Option<&ResourceQuota>,
    part: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let empty = ResourceQuotaSpec::default();
    let spec = quota.spec.as_ref().unwrap_or(&empty);
    if part == Part::Status && old.is_some() {
        let status = quota.status.clone().unwrap_or_default();
        hard(&status.hard, At::new("status").field("hard"), &mut out);
        hard(&status.used, At::new("status").field("used"), &mut out);
        return out.into_causes();
    }
    let at = At::new("spec");
    hard(&spec.hard, at.field("hard"), &mut out);
    scopes(spec, at, &mut out);
    selector(spec, at, &mut out);
    if let Some(old) = old {
        let before = old.spec.as_ref().unwrap_or(&empty);
        let set = |spec: &ResourceQuotaSpec| -> BTreeSet<String> {
            items(&spec.scopes).iter().cloned().collect()
        };
        if set(spec) != set(before) {
            out.invalid_object(at.field("scopes"), &spec.scopes, "field is immutable");
        }
        if spec.scope_selector != before.scope_selector {
            let at = at.field("scopeSelector");
            out.invalid_object(at, &spec.scope_selector, "field is immutable");
        }
    }
    out.into_causes()
}

fn hard(list: &Option<BTreeMap<String, Written>>, at: At<'_>, out: &mut Report) {
    for (name, written) in entries(list) {
        let at = at.key(name);
        let faults = names::qualified_name(name);
        if !faults.is_empty() {
            out.faults(at, name, faults);
        } else if !name.contains('/') && !is_standard(name) {
            if name != "storage" {
                out.invalid(at, name, "must be a standard resource type or fully qualified");
            }
            out.invalid(at, name, "must be a standard resource for quota");
        }
        let found = amount(name, written, at, out);
        if WHOLE.contains(&name) && found.is_some_and(|found| !found.is_whole()) {
            out.invalid(at, quantity::of(written).to_string(), "must be an integer");
        }
    }
}

fn is_standard(name: &str) -> bool {
    let huge = name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-");
    WHOLE.contains(&name) || MEASURED.contains(&name) || huge
}

fn is_scope(scope: &str) -> bool {
    EXISTING.contains(&scope) || ["PriorityClass", "VolumeAttributesClass"].contains(&scope)
}

fn scope_suits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => {
            ["persistentvolumeclaims", "requests.storage"].contains(&resource)
        }
        _ => COMPUTE.contains(&resource),
    }
}

fn scopes(spec: &ResourceQuotaSpec, at: At<'_>, out: &mut Report) {
    let (list, at) = (items(&spec.scopes), at.field("scopes"));
    for scope in list {
        if !is_scope(scope) {
            out.invalid_object(at, &spec.scopes, "unsupported scope");
        }
        for (name, _) in entries(&spec.hard) {
            if is_standard(name) && !scope_suits(scope, name) {
                let why = "unsupported scope applied to resource";
                out.invalid_object(at, &spec.scopes, why);
            }
        }
    }
    let has = |scope: &&str| list.iter().any(|one| one == scope);
    for pair in CONFLICTS {
        if pair.iter().all(has) {
            out.invalid_object(at, &spec.scopes, "conflicting scopes");
        }
    }
}

fn selector(spec: &ResourceQuotaSpec, at: At<'_>, out: &mut Report) {
    let Some(selector) = &spec.scope_selector else { return };
    let at_selector = at.field("scopeSelector");
    let at = at_selector.field("matchExpressions");
    let rules = items(&selector.match_expressions);
    for rule in rules {
        if !is_scope(&rule.scope_name) {
            out.invalid(at.field("scopeName"), &*rule.scope_name, "unsupported scope");
        }
        for (name, _) in entries(&spec.hard) {
            if is_standard(name) && !scope_suits(&rule.scope_name, name) {
                let why = "unsupported scope applied to resource";
                out.invalid_object(at, &spec.scope_selector, why);
            }
        }
        if EXISTING.contains(&rule.scope_name.as_str()) && rule.operator != "Exists" {
            let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or \
                       ResourceQuotaScopeCrossNamespacePodAffinity";
            out.invalid(at.field("operator"), &*rule.operator, why);
        }
        let values = items(&rule.values);
        match rule.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for \
                           scope selector";
                out.required(at.field("values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for \
                           scope selector";
                out.invalid_object(at.field("values"), &rule.values, why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => out.invalid(at.field("operator"), other, "not a valid selector operator"),
        }
    }
    let has = |scope: &&str| rules.iter().any(|rule| rule.scope_name == **scope);
    for pair in CONFLICTS {
        if pair.iter().all(has) {
            out.invalid_object(at, &spec.scopes, "conflicting scopes");
        }
    }
}

pub(crate) fn limit_range(range: &LimitRange, _: Option<&LimitRange>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    let mut types = BTreeSet::new();
    let limits = range.spec.as_ref().map(|spec| spec.limits.as_slice()).unwrap_or_default();
    let spec = At::new("spec");
    let list = spec.field("limits");
    for (index, limit) in limits.iter().enumerate() {
        let at = list.index(index);
        limit_type(&limit.type_, at.field("type"), &mut out);
        if !types.insert(limit.type_.as_str()) {
            out.duplicate(at.field("type"), &*limit.type_);
        }
        limit_item(limit, at, &mut out);
    }
    out.into_causes()
}

fn limit_type(name: &str, at: At<'_>, out: &mut Report) {
    let faults = names::qualified_name(name);
    if !faults.is_empty() {
        out.faults(at, name, faults);
    } else if !name.contains('/') && !["Container", "PersistentVolumeClaim", "Pod"].contains(&name)
    {
        out.invalid(at, name, "must be a standard limit type or fully qualified");
    }
}

fn limit_item(limit: &LimitRangeItem, at: At<'_>, out: &mut Report) {
    let lists = [
        ("max", &limit.max),
        ("min", &limit.min),
        ("default", &limit.default),
        ("defaultRequest", &limit.default_request),
        ("maxLimitRequestRatio", &limit.max_limit_request_ratio),
    ];
    for (field, list) in lists {
        let at = at.field(field);
        let has = list.as_ref().is_some_and(|list| !list.is_empty());
        if limit.type_ == "Pod" && has && ["default", "defaultRequest"].contains(&field) {
            out.forbidden(at, "may not be specified when `type` is 'Pod'");
            continue;
        }
        for (name, written) in entries(list) {
            limit_resource(&limit.type_, name, at.key(name), out);
            amount(name, written, at.key(name), out);
        }
    }
    let storage = |list: &Option<BTreeMap<String, Written>>| {
        list.as_ref().is_some_and(|list| list.contains_key("storage"))
    };
    if limit.type_ == "PersistentVolumeClaim" && !storage(&limit.min) && !storage(&limit.max) {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        out.required(at.field("limits"), why);
    }
    let names: BTreeSet<&String> =
        lists.iter().flat_map(|(_, list)| list.iter().flat_map(|list| list.keys())).collect();
    for name in names {
        relations(limit, name, at, out);
    }
}

fn limit_resource(kind: &str, name: &str, at: At<'_>, out: &mut Report) {
    let faults = names::qualified_name(name);
    if !faults.is_empty() {
        out.faults(at, name, faults);
        return;
    }
    let known = is_standard(name) || name == "storage";
    if !name.contains('/') && !known {
        out.invalid(at, name, "must be a standard resource type or fully qualified");
    } else if matches!(kind, "Pod" | "Container") && !name.contains('/') {
        let compute = ["cpu", "memory", "ephemeral-storage"].contains(&name);
        if !compute && !name.starts_with("hugepages-") {
            out.invalid(at, name, "must be a standard resource for containers");
        }
    } else if matches!(kind, "Pod" | "Container")
        && !name.contains("kubernetes.io/")
        && !is_extended(name)
    {
        out.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// What must hold between the amounts of one resource.
fn relations(limit: &LimitRangeItem, name: &str, at: At<'_>, out: &mut Report) {
    let get = |list: &Option<BTreeMap<String, Written>>| -> Option<Quantity> {
        list.as_ref()?.get(name).and_then(|written| Quantity::parse(&written.0).ok())
    };
    let (min, max) = (get(&limit.min), get(&limit.max));
    let (default, request) = (get(&limit.default), get(&limit.default_request));
    let ratio = get(&limit.max_limit_request_ratio);
    let mut order = |low: Option<Quantity>,
                     high: Option<Quantity>,
                     field: &str,
                     said,
                     why: &str| {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let said: Option<Quantity> = said;
            let why = why.replace("{low}", &low.to_string()).replace("{high}", &high.to_string());
            out.invalid(at.field(field).key(name), text(&said.map(|said| said.to_string())), &why);
        }
    };
    order(min, max, "min", min, "min value {low} is greater than max value {high}");
    let why = "min value {low} is greater than default request value {high}";
    order(min, request, "defaultRequest", request, why);
    let why = "default request value {low} is greater than max value {high}";
    order(request, max, "defaultRequest", request, why);
    let why = "default request value {low} is greater than default limit value {high}";
    order(request, default, "defaultRequest", request, why);
    let why = "min value {low} is greater than default value {high}";
    order(min, default, "default", min, why);
    order(default, max, "default", max, "default value {low} is greater than max value {high}");
    if let Some(ratio) = ratio.filter(|ratio| ratio.milli_value() < 1000) {
        let why = format!("ratio {ratio} is less than 1");
        out.invalid(at.field("maxLimitRequestRatio").key(name), ratio.to_string(), &why);
    }
    if let (Some(default), Some(request)) = (default, request)
        && !may_overcommit(name)
        && default != request
    {
        let why = format!(
            "default value {default} must equal to defaultRequest value {request} in {name}"
        );
        out.invalid(at.field("default").key(name), default.to_string(), &why);
    }
}
