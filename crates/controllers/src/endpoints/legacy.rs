//! Endpoints, the older form that some clients still read.

use std::collections::BTreeMap;

use api::k8s::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    View, headless, hostname, ports, publishes_unready, reachable, ready, reference, terminating,
};
use crate::{Action, Target, Verb};

/// Addresses in one object at the most, ready ones first.
const ADDRESSES_MAX: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The write that makes the Endpoints what they should be.
pub(super) fn reconcile(view: &View, service: &Service) -> Option<Action> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let (subsets, truncated) = subsets(view, service);
    let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let old = view.endpoints.as_deref();
    let mut annotations = old.and_then(|old| old.metadata.annotations.clone()).unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    let Some(old) = old else {
        let metadata = ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        };
        let endpoints = Endpoints { metadata, subsets };
        return Some(Action::new(Verb::Create(Box::new(endpoints)), "the service has none yet"));
    };
    let mut changed = old.clone();
    changed.metadata.labels = Some(labels);
    changed.metadata.annotations = annotations;
    changed.subsets = subsets;
    (changed != *old).then(|| Action::update(changed, None, "the service's pods have changed"))
}

/// The deletion of Endpoints whose Service is gone, if this controller made them.
pub(super) fn remove(view: &View) -> Option<Action> {
    let endpoints = view.endpoints.as_deref()?;
    let labels = endpoints.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER);
    ours.then(|| Action::delete(Target::of(endpoints), "its service is gone"))
}

fn subsets(view: &View, service: &Service) -> (Vec<EndpointSubset>, bool) {
    let mut reached: Vec<_> = view
        .pods
        .iter()
        .filter(|pod| publishes_unready(service) || !terminating(pod))
        .filter_map(|pod| Some((reachable(pod)?, pod)))
        .collect();
    let count = reached.len();
    reached.sort_by_key(|(address, pod)| (!ready(pod), *address));
    reached.truncate(ADDRESSES_MAX);
    let mut groups: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for (address, pod) in reached {
        let ports: Vec<EndpointPort> = ports(service, pod)
            .into_iter()
            .map(|port| EndpointPort {
                name: port.name.filter(|name| !name.is_empty()),
                port: port.port.unwrap_or_default(),
                protocol: port.protocol,
                app_protocol: port.app_protocol,
            })
            .collect();
        if ports.is_empty() && !headless(service) {
            continue;
        }
        let key = serde_json::to_string(&ports).unwrap_or_default();
        let subset = groups.entry(key).or_default();
        subset.ports = Some(ports).filter(|ports| !ports.is_empty());
        let one = EndpointAddress {
            ip: address.to_owned(),
            hostname: hostname(pod, service),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(reference(pod)),
        };
        if publishes_unready(service) || ready(pod) {
            subset.addresses.get_or_insert_default().push(one);
        } else {
            subset.not_ready_addresses.get_or_insert_default().push(one);
        }
    }
    (groups.into_values().collect(), count > ADDRESSES_MAX)
}
