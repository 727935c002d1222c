//! What is wrong with an object or a change, in upstream's words. The `scheduling.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/scheduling/validation/validation.go`.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::report::{At, Report, text};
use crate::{field::Cause, resource::Part};

/// The highest priority a person may give.
const USER_MAX: i32 = 1_000_000_000;

const SYSTEM: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(crate) fn priority_class(
    class: &PriorityClass,
    old: Option<&PriorityClass>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let value = class.value.unwrap_or(0);
    match old {
        None => created(class, value, &mut out),
        Some(old) => {
            if value != old.value.unwrap_or(0) {
                out.forbidden(At::new("value"), "may not be changed in an update.");
            }
            let (policy, was) = (&class.preemption_policy, &old.preemption_policy);
            out.immutable(At::new("preemptionPolicy"), policy, was);
        }
    }
    out.into_causes()
}

fn created(class: &PriorityClass, value: i32, out: &mut Report) {
    let name = text(&class.metadata.name);
    if name.starts_with("system-") {
        if let Some(error) = not_the_system_class(class, name, value) {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. \
                 error: {error}"
            );
            out.forbidden(At::new("metadata").field("name"), &why);
        }
    } else if value > USER_MAX {
        let why = format!("maximum allowed value of a user defined priority is {USER_MAX}");
        out.forbidden(At::new("value"), &why);
    }
    if let Some(policy) = &class.preemption_policy {
        out.choice(At::new("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
}

fn not_the_system_class(class: &PriorityClass, name: &str, value: i32) -> Option<String> {
    let Some((_, wanted)) = SYSTEM.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *wanted {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    let global = class.global_default == Some(true);
    global.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}
