//! The Service `kube-dns` in `kube-system`, and the slice that leads to the server's own DNS.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use api::k8s::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use crate::{Action, Plan, Verb};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";
const PORTS: &[(&str, &str)] = &[("dns", "UDP"), ("dns-tcp", "TCP")];

/// What the decision may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The Service, if it is there.
    pub service: Option<Arc<Service>>,
    /// The slice of that name, if it is there.
    pub slice: Option<Arc<EndpointSlice>>,
    /// The address of the Service, as pods have it in their resolv.conf.
    pub cluster_ip: IpAddr,
    /// Where the DNS server listens.
    pub server: IpAddr,
    /// And on which port.
    pub port: u16,
}

/// Decides what is missing. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let mut plan = Plan::default();
    match view.service.as_deref() {
        None => {
            let service = Box::new(service(view));
            plan.actions.push(Action::new(Verb::Create(service), "pods look names up there"));
        }
        Some(service) => plan.actions.extend(lead(view, service)),
    }
    plan
}

/// The slice that leads the Service to the server; made once the Service's uid is known.
fn lead(view: &View, service: &Service) -> Option<Action> {
    let endpoint = Endpoint {
        addresses: vec![view.server.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        ..Endpoint::default()
    };
    let port = |(name, protocol): &(&str, &str)| EndpointPort {
        name: Some((*name).to_owned()),
        protocol: Some((*protocol).to_owned()),
        port: Some(i32::from(view.port)),
        app_protocol: None,
    };
    let wanted = EndpointSlice {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([
                ("kubernetes.io/service-name".to_owned(), NAME.to_owned()),
                ("endpointslice.kubernetes.io/managed-by".to_owned(), "stead.io".to_owned()),
            ])),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: NAME.to_owned(),
                uid: service.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        address_type: if view.server.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: Some(vec![endpoint]),
        ports: Some(PORTS.iter().map(port).collect()),
    };
    match view.slice.as_deref() {
        None => Some(Action::new(Verb::Create(Box::new(wanted)), "the service leads here")),
        Some(old) if old.endpoints == wanted.endpoints && old.ports == wanted.ports => None,
        Some(old) => {
            let changed = EndpointSlice { metadata: old.metadata.clone(), ..wanted };
            Some(Action::update(changed, None, "the server listens elsewhere"))
        }
    }
}

fn service(view: &View) -> Service {
    let port = |(name, protocol): &(&str, &str)| ServicePort {
        name: Some((*name).to_owned()),
        protocol: Some((*protocol).to_owned()),
        port: 53,
        target_port: Some(IntOrString::Int(i32::from(view.port))),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([
                ("k8s-app".to_owned(), NAME.to_owned()),
                ("kubernetes.io/cluster-service".to_owned(), "true".to_owned()),
                ("kubernetes.io/name".to_owned(), "CoreDNS".to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(view.cluster_ip.to_string()),
            ports: Some(PORTS.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
