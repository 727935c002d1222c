//! The columns of `kubectl get` and their cells. The `scheduling.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use super::{AGE, NAME, age_of, boolean, integer, name, text};
use crate::resource::Column;

pub(crate) static PRIORITY_CLASS: &[Column] = &[
    NAME,
    integer(
        "Value",
        "value represents the integer value of this priority class. This is the actual priority that pods receive when they have the name of this class in their pod spec.",
    ),
    boolean(
        "Global-Default",
        "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class. Only one PriorityClass can be marked as `globalDefault`. However, if more than one PriorityClasses exists with their `globalDefault` field set to true, the smallest value of such global default PriorityClasses will be used as the default priority.",
    ),
    AGE,
    text(
        "PreemptionPolicy",
        "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
    ),
];

pub(crate) fn priority_class(it: &PriorityClass, now: Timestamp) -> Vec<Value> {
    let policy = it.preemption_policy.clone();
    vec![
        name(&it.metadata),
        it.value.unwrap_or(0).into(),
        it.global_default.unwrap_or(false).into(),
        age_of(&it.metadata, now),
        policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned()).into(),
    ]
}
