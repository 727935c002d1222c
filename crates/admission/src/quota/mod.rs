//! Quotas: what a write costs a namespace, and whether it may.
//!
//! ```text
//!   old, new object ─▶ usage of each ─▶ difference ─▶ used + difference <= hard ? ─▶ quotas as they will be
//! ```
//!
//! The server commits the quotas together with the object that they are charged for, so that what
//! a quota says is used is always true: there is nothing to be counted afterwards, and two writers
//! cannot both have the last of it. (Upstream charges before the write, and a controller counts
//! again later.)
//!
//! Source: kubernetes v1.36 `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota`,
//! `pkg/quota/v1/evaluator`.

mod scope;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ApiError, Object, Resource,
    k8s::{
        api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus},
        apimachinery::pkg::api::resource::Quantity as Written,
    },
    quantity::{self, Quantity},
    status::About,
};

pub use usage::usage;

/// Amounts by the names that quotas have for them.
pub type Amounts = BTreeMap<String, Quantity>;

/// One write, as quotas see it.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The kind.
    pub resource: &'static dyn Resource,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// The object's name, for the refusal.
    pub name: &'a str,
    /// As it is; `None` when it is created.
    pub old: Option<&'a dyn Object>,
    /// As it will be; `None` when it goes.
    pub new: Option<&'a dyn Object>,
}

/// The quotas that this write changes, as they will be; none when it costs nothing.
///
/// # Errors
///
/// 403 `exceeded quota: …`, or `failed quota: …` where a container must name what a quota counts.
pub fn charge(
    charge: &Charge<'_>,
    quotas: &[ResourceQuota],
) -> Result<Vec<ResourceQuota>, ApiError> {
    let mut changed = Vec::new();
    for quota in quotas {
        changed.extend(charge_one(charge, quota).map_err(|why| refused(charge, &why))?);
    }
    Ok(changed)
}

/// One resource that a write asks too much of.
struct Over {
    resource: String,
    asked: Quantity,
    used: Quantity,
    most: Quantity,
}

fn charge_one(charge: &Charge<'_>, quota: &ResourceQuota) -> Result<Option<ResourceQuota>, String> {
    let status = quota.status.clone().unwrap_or_default();
    let hard = status.hard.unwrap_or_default();
    let part = |object: Option<&dyn Object>| -> Amounts {
        let all = object.filter(|object| scope::matches(quota, *object));
        let all = all.map(|object| usage(charge.resource, object)).unwrap_or_default();
        all.into_iter().filter(|(name, _)| hard.contains_key(name)).collect()
    };
    let (before, after) = (part(charge.old), part(charge.new));
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    if charge.old.is_none()
        && let Some(new) = charge.new.filter(|new| scope::matches(quota, *new))
        && let Some(why) =
            new.as_any().downcast_ref::<Pod>().and_then(|pod| usage::unnamed(pod, &hard))
    {
        return Err(format!("failed quota: {name}: {why}"));
    }
    let amount =
        |amounts: &Amounts, name: &String| amounts.get(name).copied().unwrap_or(Quantity::ZERO);
    let mut used = status.used.unwrap_or_default();
    let unknown: Vec<&str> =
        after.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if charge.old.is_none() && !unknown.is_empty() {
        let unknown = unknown.join(",");
        return Err(format!("status unknown for quota: {name}, resources: {unknown}"));
    }
    let mut over = Vec::new();
    let mut changes = false;
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for resource in names {
        let (less, more) = (amount(&before, resource), amount(&after, resource));
        if less == more {
            continue;
        }
        changes = true;
        let had = quantity::in_list(Some(&used), resource);
        let has = (had + more) - less;
        let most = quantity::in_list(Some(&hard), resource);
        if more > less && has > most && charge.subresource != "status" {
            let (resource, asked) = (resource.clone(), more - less);
            over.push(Over { resource, asked, used: had, most });
        }
        let has = if has.is_negative() { Quantity::ZERO } else { has };
        used.insert(resource.clone(), has.written());
    }
    if !over.is_empty() {
        return Err(exceeded(name, &over));
    }
    Ok(changes.then(|| ResourceQuota {
        status: Some(ResourceQuotaStatus { hard: Some(hard), used: Some(used) }),
        ..quota.clone()
    }))
}

fn exceeded(name: &str, over: &[Over]) -> String {
    let list = |which: fn(&Over) -> Quantity| {
        let parts: Vec<String> =
            over.iter().map(|one| format!("{}={}", one.resource, which(one))).collect();
        parts.join(",")
    };
    let (asked, used, most) = (list(|one| one.asked), list(|one| one.used), list(|one| one.most));
    format!("exceeded quota: {name}, requested: {asked}, used: {used}, limited: {most}")
}

fn refused(charge: &Charge<'_>, why: &str) -> ApiError {
    let names = charge.resource.names();
    let about = About { group: names.group, resource: names.plural };
    ApiError::forbidden(about, charge.name, why)
}

/// Whether objects of this kind are counted by anything that the quota limits.
#[must_use]
pub fn counts(quota: &ResourceQuota, resource: &'static dyn Resource) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    hard.is_some_and(|hard| hard.keys().any(|name| usage::is_of(name, resource)))
}

/// What the quota's status says when its spec limits what it does, and these objects are there.
#[must_use]
pub fn counted<'a>(
    quota: &ResourceQuota,
    objects: impl IntoIterator<Item = (&'static dyn Resource, &'a dyn Object)>,
) -> ResourceQuotaStatus {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for (resource, object) in objects {
        if !scope::matches(quota, object) {
            continue;
        }
        for (name, amount) in usage(resource, object) {
            if let Some(sum) = used.get_mut(&name) {
                *sum += amount;
            }
        }
    }
    let used: BTreeMap<String, Written> =
        used.into_iter().map(|(name, sum)| (name, sum.written())).collect();
    let some = |list: BTreeMap<String, Written>| Some(list).filter(|list| !list.is_empty());
    ResourceQuotaStatus { hard: some(hard), used: some(used) }
}
