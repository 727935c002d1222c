//! The columns of the `stead.io` group. The CRD in `deploy/` has the same.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{AGE, NAME, age_of, boolean, name, or, text, wide};
use crate::{policy::StatefulSetPolicy, resource::Column};

pub(crate) static STATEFUL_SET_POLICY: &[Column] = &[
    NAME,
    text("StatefulSet", "The set that the policy speaks for"),
    boolean("Paused", "Whether no pod is replaced for its revision"),
    text("Max Unavailable", "How many pods may be unavailable during a rollout"),
    wide("Reserved", "The ordinals that get no pod"),
    text("Accepted", "Whether the policy is in force"),
    AGE,
];

pub(crate) fn stateful_set_policy(it: &StatefulSetPolicy, now: Timestamp) -> Vec<Value> {
    let max = it.spec.rollout.as_ref().and_then(|rollout| rollout.max_unavailable.as_ref());
    let max = match max {
        None => "<none>".into(),
        Some(IntOrString::Int(count)) => count.to_string(),
        Some(IntOrString::String(percent)) => percent.clone(),
    };
    let ordinals = it.spec.ordinals.as_ref();
    let reserved = ordinals.and_then(|ordinals| ordinals.reserved.as_ref());
    let reserved = reserved.map(|entries| entries.join(",")).unwrap_or_default();
    let conditions = it.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let accepted = conditions.into_iter().find(|condition| condition.type_ == "Accepted");
    vec![
        name(&it.metadata),
        it.spec.stateful_set_name.clone().into(),
        it.spec.paused.unwrap_or(false).into(),
        max.into(),
        or(&reserved, "<none>").into(),
        accepted.map_or("Unknown", |condition| condition.status.as_str()).into(),
        age_of(&it.metadata, now),
    ]
}
