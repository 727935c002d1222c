//! A pod's class of service, which follows from what its containers request and may use.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use crate::quantity::{self, Quantity};

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Source: kubernetes v1.36 `pkg/apis/core/helper/qos/qos.go`.
#[must_use]
pub fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let own = spec.resources.as_ref().filter(|own| {
        own.requests.as_ref().is_some_and(|list| !list.is_empty())
            || own.limits.as_ref().is_some_and(|list| !list.is_empty())
    });
    let nothing = ResourceRequirements::default();
    let all: Vec<&ResourceRequirements> = match own {
        Some(own) => vec![own],
        None => {
            let inits = spec.init_containers.iter().flatten();
            let containers = spec.containers.iter().chain(inits);
            containers.map(|container| container.resources.as_ref().unwrap_or(&nothing)).collect()
        }
    };
    let (mut requests, mut limits) = ([Quantity::ZERO; 2], [Quantity::ZERO; 2]);
    let mut all_limited = true;
    for resources in all {
        add(&mut requests, resources.requests.as_ref());
        let found = add(&mut limits, resources.limits.as_ref());
        all_limited &= found == COMPUTE.len();
    }
    if requests.iter().chain(&limits).all(|amount| amount.is_zero()) {
        "BestEffort"
    } else if all_limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Adds a container's amounts; how many of the two it names.
fn add(sums: &mut [Quantity; 2], list: Option<&BTreeMap<String, Written>>) -> usize {
    let mut found = 0;
    for (sum, name) in sums.iter_mut().zip(COMPUTE) {
        let amount = quantity::in_list(list, name);
        if amount > Quantity::ZERO {
            *sum += amount;
            found += 1;
        }
    }
    found
}
