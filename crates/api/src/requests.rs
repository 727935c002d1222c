//! What a pod asks for and a node has, as whole numbers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use crate::quantity::Quantity;

/// Amounts by resource name: cpu in thousandths, everything else in units or bytes, rounded up.
pub type Amounts = BTreeMap<String, i64>;

/// What the pod asks for: its containers and sidecars together, or its largest init container
/// with the sidecars before it, plus overhead; a request of the pod as a whole wins.
///
/// Source: kubernetes v1.36 `component-helpers/resource`, `PodRequests`.
#[must_use]
pub fn of_pod(pod: &Pod) -> Amounts {
    of_pod_with(pod, |_| Amounts::new())
}

/// The same, where a container that does not name a resource counts as `least` of it.
#[must_use]
pub fn of_pod_with(pod: &Pod, least: impl Fn(&Container) -> Amounts) -> Amounts {
    pod.spec.as_ref().map(|spec| sum(spec, least)).unwrap_or_default()
}

/// A list of quantities in whole numbers; unreadable ones are left out, as validation forbids them.
#[must_use]
pub fn amounts(list: Option<&BTreeMap<String, Written>>) -> Amounts {
    let entries = list.into_iter().flatten();
    entries.filter_map(|(name, quantity)| Some((name.clone(), amount(name, quantity)?))).collect()
}

/// Adds what is named; sums end at the largest number.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

/// Takes away what is named.
pub fn subtract(sum: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_sub(*amount);
    }
}

fn sum(spec: &PodSpec, least: impl Fn(&Container) -> Amounts) -> Amounts {
    let ask = |container: &Container| {
        let mut asked = least(container);
        asked.extend(amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref())));
        asked
    };
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &ask(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let mut now = ask(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            now.clone_from(&sidecars);
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, &now);
    }
    raise(&mut total, &peak);
    total.extend(amounts(spec.resources.as_ref().and_then(|r| r.requests.as_ref())));
    add(&mut total, &amounts(spec.overhead.as_ref()));
    total
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = most.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

fn amount(name: &str, written: &Written) -> Option<i64> {
    let amount = Quantity::parse(&written.0).ok()?;
    Some(if name == "cpu" { amount.milli_value() } else { amount.value() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let rows = [
            ("1", 3, Some(1000)),
            ("250m", 3, Some(250)),
            ("0.1", 3, Some(100)),
            ("100u", 3, Some(1)),
            ("1Gi", 0, Some(1 << 30)),
            ("1.5Gi", 0, Some(3 << 29)),
            ("1e3", 0, Some(1000)),
            ("1E", 0, Some(1_000_000_000_000_000_000)),
            ("100E", 0, Some(i64::MAX)),
            ("500m", 0, Some(1)),
            ("1x", 0, None),
        ];
        for (text, places, expected) in rows {
            let name = if places == 3 { "cpu" } else { "memory" };
            assert_eq!(amount(name, &Written(text.to_owned())), expected, "{text}");
        }
    }
}
