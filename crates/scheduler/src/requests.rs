//! What a pod asks for and a node has, as whole numbers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

/// Amounts by resource name: cpu in thousandths, everything else in units or bytes, rounded up.
pub type Amounts = BTreeMap<String, i64>;

/// What upstream assumes of a container that names no cpu, when nodes are compared.
const UNNAMED_CPU_MILLI: i64 = 100;
/// What upstream assumes of a container that names no memory, when nodes are compared.
const UNNAMED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// What the pod asks for: its containers and sidecars together, or its largest init container
/// with the sidecars before it, plus overhead; a request of the pod as a whole wins.
///
/// Source: kubernetes v1.36 `component-helpers/resource`, `PodRequests`.
#[must_use]
pub fn of_pod(pod: &Pod) -> Amounts {
    pod.spec.as_ref().map(|spec| sum(spec, |_| Amounts::new())).unwrap_or_default()
}

/// The same for comparing nodes: containers without cpu or memory count as small, not as nothing.
pub(crate) fn of_pod_at_least(pod: &Pod) -> Amounts {
    let least = |container: &Container| {
        let named = container.resources.as_ref().and_then(|r| r.requests.as_ref());
        let names = |name| named.is_some_and(|named| named.contains_key(name));
        let mut least = Amounts::new();
        if !names("cpu") {
            least.insert("cpu".to_owned(), UNNAMED_CPU_MILLI);
        }
        if !names("memory") {
            least.insert("memory".to_owned(), UNNAMED_MEMORY_BYTES);
        }
        least
    };
    pod.spec.as_ref().map(|spec| sum(spec, least)).unwrap_or_default()
}

/// A list of quantities in whole numbers; unreadable ones are left out, as validation forbids them.
pub(crate) fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let entries = list.into_iter().flatten();
    entries.filter_map(|(name, quantity)| Some((name.clone(), amount(name, quantity)?))).collect()
}

/// Bytes or units, rounded up.
pub(crate) fn whole(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 0)
}

pub(crate) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

pub(crate) fn subtract(sum: &mut Amounts, less: &Amounts) {
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

fn amount(name: &str, quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, if name == "cpu" { 3 } else { 0 })
}

/// The number times ten to `places`, rounded up away from zero; too large ones end at the limit.
fn scaled(text: &str, places: i32) -> Option<i64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (base, power) = match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        exponent => (10, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut tens = places - i32::try_from(fraction.len()).ok()?;
    let mut value = digits;
    if base == 2 {
        value = value.checked_mul(1 << power)?;
    } else {
        tens += power;
    }
    Some(shifted(value, tens))
}

fn shifted(value: i128, tens: i32) -> i64 {
    let factor = 10_i128.checked_pow(tens.unsigned_abs());
    let limit = if value < 0 { i64::MIN } else { i64::MAX };
    let result = match (factor, tens >= 0) {
        (Some(factor), true) => value.checked_mul(factor),
        (Some(factor), false) => Some(value / factor + (value % factor).signum()),
        (None, true) => None,
        (None, false) => Some(value.signum()),
    };
    result.and_then(|result| i64::try_from(result).ok()).unwrap_or(limit)
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
            assert_eq!(scaled(text, places), expected, "{text}");
        }
    }
}
