//! What is wrong with an object or a change. The `stead.io` group, in upstream's manner.
//!
//! The CRD in `deploy/` says the same to other clusters, as far as its language reaches.

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString};
use serde_json::Value;

use super::report::{At, Report, items, text};
use crate::{
    field::Cause,
    names,
    policy::{OrdinalsPolicy, RolloutPolicy, StatefulSetPolicy, StatefulSetPolicyStatus, reserved},
    resource::Part,
};

pub(crate) fn stateful_set_policy(
    policy: &StatefulSetPolicy,
    old: Option<&StatefulSetPolicy>,
    part: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    if old.is_some() && part == Part::Status {
        if let Some(new) = &policy.status {
            status(new, &mut out);
        }
        return out.into_causes();
    }
    let at = At::new("spec");
    let (spec, name) = (&policy.spec, policy.spec.stateful_set_name.as_str());
    let at_name = at.field("statefulSetName");
    match old {
        Some(old) => out.immutable(at_name, &spec.stateful_set_name, &old.spec.stateful_set_name),
        None if name.is_empty() => out.required(at_name, ""),
        None => out.faults(at_name, name, names::dns_label(name)),
    }
    if let Some(own) = &spec.rollout {
        rollout(own, at.field("rollout"), &mut out);
    }
    if let Some(max) = spec.scaling.as_ref().and_then(|scaling| scaling.max_unavailable.as_ref()) {
        max_unavailable(max, at.field("scaling").field("maxUnavailable"), &mut out);
    }
    if let Some(own) = &spec.ordinals {
        ordinals(own, at.field("ordinals"), &mut out);
    }
    out.into_causes()
}

fn rollout(own: &RolloutPolicy, at: At<'_>, out: &mut Report) {
    if let Some(max) = &own.max_unavailable {
        max_unavailable(max, at.field("maxUnavailable"), out);
    }
    out.choice(at.field("creation"), text(&own.creation), &["Batched", "Ordered"]);
    let at_deadline = at.field("progressDeadlineSeconds");
    match own.progress_deadline_seconds {
        Some(seconds) if seconds <= 0 => {
            out.invalid(at_deadline, seconds, "must be greater than 0");
        }
        None if text(&own.on_deadline) == "Return" => {
            out.required(at_deadline, "must be specified when onDeadline is 'Return'");
        }
        _ => {}
    }
    out.choice(at.field("onDeadline"), text(&own.on_deadline), &["None", "Return"]);
}

/// A number above 0, or a percentage from 1 to 100, in the words of the set's own field.
pub(super) fn max_unavailable(max: &IntOrString, at: At<'_>, out: &mut Report) {
    let (value, number) = match max {
        IntOrString::Int(count) => {
            out.not_negative(at, i64::from(*count));
            (Value::from(*count), i64::from(*count))
        }
        IntOrString::String(percent) => {
            let faults = names::percent(percent);
            // Upstream reads a malformed text as 0; more digits than a number has are above 100.
            let digits = percent.trim_end_matches('%');
            let number = if faults.is_empty() { digits.parse().unwrap_or(i64::MAX) } else { 0 };
            out.faults(at, percent, faults);
            if number > 100 {
                out.invalid(at, percent.as_str(), "must not be greater than 100%");
            }
            (Value::from(percent.as_str()), number)
        }
    };
    if number == 0 {
        out.invalid(at, value, "cannot be 0");
    }
}

fn ordinals(own: &OrdinalsPolicy, at: At<'_>, out: &mut Report) {
    let list = at.field("reserved");
    let entries = items(&own.reserved);
    for (index, entry) in entries.iter().enumerate() {
        let item = list.index(index);
        if let Err(why) = reserved(entry) {
            out.invalid(item, entry.as_str(), &why.to_string());
        } else if entries[..index].contains(entry) {
            out.duplicate(item, entry.as_str());
        }
    }
    out.choice(at.field("claims"), text(&own.claims), &["Delete", "Retain"]);
}

fn status(status: &StatefulSetPolicyStatus, out: &mut Report) {
    let at = At::new("status");
    out.not_negative(at.field("observedGeneration"), status.observed_generation.unwrap_or(0));
    let list = at.field("conditions");
    let conditions = items(&status.conditions);
    for (index, condition) in conditions.iter().enumerate() {
        let item = list.index(index);
        let said = |other: &Condition| other.type_ == condition.type_;
        if condition.type_.is_empty() {
            out.required(item.field("type"), "must be set");
        } else if conditions[..index].iter().any(said) {
            out.duplicate(item.field("type"), condition.type_.as_str());
        }
        out.choice(item.field("status"), &condition.status, &["False", "True", "Unknown"]);
        if condition.reason.is_empty() {
            out.required(item.field("reason"), "must be set");
        }
    }
}
