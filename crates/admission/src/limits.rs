//! Limit ranges: what containers get where they name nothing, and what nobody may leave.
//!
//! Source: kubernetes v1.36 `plugin/pkg/admission/limitranger/admission.go`.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ApiError, Object,
    k8s::{
        api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod},
        apimachinery::pkg::api::resource::Quantity as Written,
    },
    quantity::{self, Quantity},
};

use crate::{Lookup, Operation, Request, typed, typed_mut};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type List = BTreeMap<String, Written>;
type Amounts = BTreeMap<String, Quantity>;

/// Fills in a pod's containers, and refuses what leaves a range.
pub(crate) fn admit(
    request: &Request<'_>,
    object: &mut dyn Object,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    let creates = request.operation == Operation::Create;
    let concerns = creates && typed::<Pod>(object).is_some()
        || typed::<PersistentVolumeClaim>(object).is_some();
    if !request.subresource.is_empty() || !concerns {
        return Ok(());
    }
    for range in lookup.limit_ranges(request.namespace) {
        let mut faults = Vec::new();
        if let Some(pod) = typed_mut::<Pod>(object) {
            fill(&range, pod);
            check_pod(&range, pod, &mut faults);
        } else if let Some(claim) = typed::<PersistentVolumeClaim>(object) {
            check_claim(&range, claim, &mut faults);
        }
        match faults.as_slice() {
            [] => {}
            [one] => return Err(request.forbidden(one)),
            many => return Err(request.forbidden(&format!("[{}]", many.join(", ")))),
        }
    }
    Ok(())
}

fn items<'a>(range: &'a LimitRange, kind: &'a str) -> impl Iterator<Item = &'a LimitRangeItem> {
    let limits = range.spec.iter().flat_map(|spec| spec.limits.iter());
    limits.filter(move |limit| limit.type_ == kind)
}

/// Gives containers what they do not name, and notes it on the pod.
fn fill(range: &LimitRange, pod: &mut Pod) {
    let (mut requests, mut limits) = (List::new(), List::new());
    for item in items(range, "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let Some(spec) = &mut pod.spec else { return };
    let mut told = Vec::new();
    for container in &mut spec.containers {
        told.extend(fill_one(container, "container", &requests, &limits));
    }
    for container in spec.init_containers.iter_mut().flatten() {
        told.extend(fill_one(container, "init container", &requests, &limits));
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
    }
}

fn fill_one(container: &mut Container, what: &str, requests: &List, limits: &List) -> Vec<String> {
    let name = container.name.clone();
    let resources = container.resources.get_or_insert_default();
    let mut told = Vec::new();
    let sides =
        [(&mut resources.requests, requests, "request"), (&mut resources.limits, limits, "limit")];
    for (list, defaults, side) in sides {
        let mut set = Vec::new();
        for (resource, value) in defaults {
            let has = list.get_or_insert_default();
            if !has.contains_key(resource) {
                has.insert(resource.clone(), value.clone());
                set.push(resource.as_str());
            }
        }
        if !set.is_empty() {
            told.push(format!("{} {side} for {what} {name}", set.join(", ")));
        }
    }
    told
}

/// Amounts asked for, and allowed.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn of(container: &Container) -> Self {
        let resources = container.resources.clone().unwrap_or_default();
        let read = |list: Option<List>| {
            let entries = list.unwrap_or_default().into_iter();
            entries.map(|(name, written)| (name, quantity::of(&written))).collect()
        };
        Self { requests: read(resources.requests), limits: read(resources.limits) }
    }

    /// Of all containers together; a resource that one does not name has no sum.
    fn sum(all: &[Asked]) -> Self {
        let sum = |side: fn(&Asked) -> &Amounts| {
            let names: BTreeSet<&String> = all.iter().flat_map(|one| side(one).keys()).collect();
            let total = |name: &String| {
                all.iter().try_fold(Quantity::ZERO, |sum, one| {
                    side(one).get(name).map(|more| sum + *more)
                })
            };
            names.into_iter().filter_map(|name| Some((name.clone(), total(name)?))).collect()
        };
        Self { requests: sum(|one| &one.requests), limits: sum(|one| &one.limits) }
    }
}

fn check_pod(range: &LimitRange, pod: &Pod, faults: &mut Vec<String>) {
    let Some(spec) = &pod.spec else { return };
    let containers: Vec<Asked> = spec.containers.iter().map(Asked::of).collect();
    let inits: Vec<Asked> = spec.init_containers.iter().flatten().map(Asked::of).collect();
    for item in items(range, "Container") {
        for asked in containers.iter().chain(&inits) {
            check(item, asked, faults);
        }
    }
    for item in items(range, "Pod") {
        let mut asked = Asked::sum(&containers);
        // Init containers run one after another: the largest counts where it is more.
        for init in &inits {
            for (sum, own) in
                [(&mut asked.requests, &init.requests), (&mut asked.limits, &init.limits)]
            {
                for (name, amount) in own {
                    let entry = sum.entry(name.clone()).or_insert(*amount);
                    if *entry < *amount {
                        *entry = *amount;
                    }
                }
            }
        }
        check(item, &asked, faults);
    }
}

fn check(item: &LimitRangeItem, asked: &Asked, faults: &mut Vec<String>) {
    let kind = item.type_.as_str();
    for (name, least) in item.min.iter().flatten() {
        let least = quantity::of(least);
        let start = format!("minimum {name} usage per {kind} is {least}");
        match (asked.requests.get(name), asked.limits.get(name)) {
            (None, _) => faults.push(format!("{start}.  No request is specified")),
            (Some(request), _) if *request < least => {
                faults.push(format!("{start}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < least => {
                faults.push(format!("{start}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for (name, most) in item.max.iter().flatten() {
        let most = quantity::of(most);
        let start = format!("maximum {name} usage per {kind} is {most}");
        match (asked.requests.get(name), asked.limits.get(name)) {
            (_, None) => faults.push(format!("{start}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => {
                faults.push(format!("{start}, but limit is {limit}"));
            }
            (Some(request), _) if *request > most => {
                faults.push(format!("{start}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, most) in item.max_limit_request_ratio.iter().flatten() {
        check_ratio(kind, name, quantity::of(most), asked, faults);
    }
}

#[expect(clippy::cast_precision_loss, reason = "upstream divides floating-point numbers")]
fn check_ratio(kind: &str, name: &str, most: Quantity, asked: &Asked, faults: &mut Vec<String>) {
    let start = format!("{name} max limit to request ratio per {kind} is {most}");
    let of = |side: &Amounts| side.get(name).copied().filter(|amount| !amount.is_zero());
    let (Some(request), Some(limit)) = (of(&asked.requests), of(&asked.limits)) else {
        let which = if of(&asked.requests).is_none() { "request" } else { "limit" };
        faults.push(format!("{start}, but no {which} is specified or {which} is 0"));
        return;
    };
    let ratio = limit.milli_value() as f64 / request.milli_value() as f64;
    if ratio * 1000.0 > most.milli_value() as f64 {
        faults.push(format!("{start}, but provided ratio is {ratio:.6}"));
    }
}

fn check_claim(range: &LimitRange, claim: &PersistentVolumeClaim, faults: &mut Vec<String>) {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let request = |name: &String| requests.and_then(|list| list.get(name)).map(quantity::of);
    for item in items(range, "PersistentVolumeClaim") {
        for (word, list) in [("minimum", &item.min), ("maximum", &item.max)] {
            for (name, bound) in list.iter().flatten() {
                let bound = quantity::of(bound);
                let start = format!("{word} {name} usage per PersistentVolumeClaim is {bound}");
                let beyond = |asked: Quantity| {
                    if word == "minimum" { asked < bound } else { asked > bound }
                };
                match request(name) {
                    None => faults.push(format!("{start}.  No request is specified")),
                    Some(asked) if beyond(asked) => {
                        faults.push(format!("{start}, but request is {asked}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
