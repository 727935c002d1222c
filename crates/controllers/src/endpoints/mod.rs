//! Which pods a Service leads to: EndpointSlices and Endpoints.
//!
//! ```text
//!   service, its pods, zones ──▶ wanted endpoints by port set ──▶ slices (100 each), Endpoints
//! ```
//!
//! Source: kubernetes v1.36 `pkg/controller/endpointslice`, `pkg/controller/endpoint`.

mod legacy;
mod slices;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use api::k8s::{
    api::{
        core::v1::{Endpoints, ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::Plan;

/// What the decision about one Service may see.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Of the Service, wherever it is.
    pub namespace: String,
    /// Of the Service.
    pub name: String,
    /// The Service, if it is there.
    pub service: Option<Arc<Service>>,
    /// Pods of its namespace that its selector matches.
    pub pods: Vec<Arc<Pod>>,
    /// Slices labelled with its name that this controller manages.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The Endpoints of its name.
    pub endpoints: Option<Arc<Endpoints>>,
    /// The zone of each node that has one.
    pub zones: BTreeMap<String, String>,
}

/// Decides what a Service's endpoints should be. Total and deterministic.
///
/// A Service without a selector is left to whoever made it so.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    match view.service.as_deref() {
        None => plan.actions.extend(legacy::remove(view)),
        Some(service) if !selects(service) || service.metadata.deletion_timestamp.is_some() => (),
        Some(service) => {
            plan.actions.extend(slices::reconcile(view, service));
            plan.actions.extend(legacy::reconcile(view, service));
        }
    }
    plan
}

/// It has a selector, and leads to pods.
fn selects(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
        && spec.type_.as_deref() != Some("ExternalName")
}

fn headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn publishes_unready(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The address of a pod that can be reached, or will be again: it has one and has not ended.
fn reachable(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    status.pod_ip.as_deref().filter(|ip| !ended && !ip.is_empty())
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The name under which DNS finds the pod within this Service, if it has one.
fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain == service.metadata.name).then_some(hostname)
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The ports of the Service as this pod serves them; one that it does not name is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target(port, pod)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let mut named = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol);
    named.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
}
