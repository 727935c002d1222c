//! What a node's firewall maps: Services, NodePorts, host ports.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Pod, Service, ServicePort, ServiceSpec},
    discovery::v1::EndpointSlice,
};

use crate::endpoints::backends;

/// Services with this label belong to another proxy.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// Services with this label want no proxy.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Default of `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const AFFINITY_DEFAULT_S: i32 = 10_800;

/// Packets that arrive at any of these fronts go to one of these backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of the fronts and the backends.
    pub protocol: Protocol,
    /// Where packets arrive.
    pub fronts: Vec<Front>,
    /// Where they go, chosen at random, in order of addresses; none refuses.
    pub backends: Vec<SocketAddrV4>,
    /// Seconds for which a client stays with its backend.
    pub affinity_s: Option<u32>,
}

/// Protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As the API writes it; absent means TCP. `None` for what the API does not know.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP" | "") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// Where packets for a rule arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// A ClusterIP.
    Cluster(SocketAddrV4),
    /// An external address, or a host port on one address.
    Address(SocketAddrV4),
    /// A port of the addresses on which NodePorts answer.
    NodePort(u16),
    /// A port of every address of the node.
    HostPort(u16),
}

/// The rules of one Service on one node, by names that stay while the ports do:
/// `default/web/http`, and `default/web/http/outer` where packets from outside have other backends.
///
/// Headless, external-name and foreign Services have none.
///
/// Source: kubernetes v1.36 `pkg/proxy/serviceport.go`, `pkg/proxy/servicechangetracker.go`.
#[must_use]
pub fn service_rules(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    node: &str,
) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(service, spec)) else {
        return rules;
    };
    let meta = &service.metadata;
    let (namespace, name) =
        (meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""));
    let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
    let inner_node = is_local(&spec.internal_traffic_policy).then_some(node);
    let outer_node = is_local(&spec.external_traffic_policy).then_some(node);
    let affinity_s = affinity_s(spec);
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
        let port_name = port.name.as_deref().unwrap_or("");
        let key = match port_name {
            "" => format!("{namespace}/{name}/port-{}", port.port),
            named => format!("{namespace}/{name}/{named}"),
        };
        let inner = cluster_fronts(spec, port);
        let outer = outer_fronts(service, spec, port);
        let rule = |fronts: Vec<Front>, on_node: Option<&str>| Rule {
            protocol,
            fronts,
            backends: backends(slices, port_name, on_node),
            affinity_s,
        };
        if inner_node == outer_node {
            rules.insert(key, rule([inner, outer].concat(), inner_node));
            continue;
        }
        if !outer.is_empty() {
            rules.insert(format!("{key}/outer"), rule(outer, outer_node));
        }
        rules.insert(key, rule(inner, inner_node));
    }
    rules
}

/// The rules of a pod's host ports, where it has an address of its own.
#[must_use]
pub fn host_port_rules(pod: &Pod, address: Ipv4Addr) -> BTreeMap<String, Rule> {
    let meta = &pod.metadata;
    let (namespace, name) =
        (meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""));
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.host_network != Some(true)) else {
        return BTreeMap::new();
    };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let host_port = u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?;
            let protocol = Protocol::parse(port.protocol.as_deref())?;
            let backend = SocketAddrV4::new(address, u16::try_from(port.container_port).ok()?);
            let host_ip = port.host_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "0.0.0.0");
            let front = match host_ip {
                Some(ip) => Front::Address(SocketAddrV4::new(ip.parse().ok()?, host_port)),
                None => Front::HostPort(host_port),
            };
            let key = format!(
                "{namespace}/{name}/host-{protocol:?}-{}-{host_port}",
                host_ip.unwrap_or("all")
            );
            let rule =
                Rule { protocol, fronts: vec![front], backends: vec![backend], affinity_s: None };
            Some((key, rule))
        })
        .collect()
}

fn is_proxied(service: &Service, spec: &ServiceSpec) -> bool {
    let is_labelled = |label: &str| {
        service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
    };
    let has_address = spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty() && ip != "None");
    spec.type_.as_deref() != Some("ExternalName")
        && has_address
        && !is_labelled(OTHER_PROXY)
        && !is_labelled(HEADLESS)
}

fn affinity_s(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let timeout = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    u32::try_from(timeout.unwrap_or(AFFINITY_DEFAULT_S)).ok()
}

fn cluster_fronts(spec: &ServiceSpec, port: &ServicePort) -> Vec<Front> {
    let Ok(number) = u16::try_from(port.port) else { return Vec::new() };
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = spec.cluster_ip.iter().filter(|_| all.is_empty());
    all.iter()
        .chain(first)
        .filter_map(|ip| ip.parse().ok())
        .map(|ip| Front::Cluster(SocketAddrV4::new(ip, number)))
        .collect()
}

fn outer_fronts(service: &Service, spec: &ServiceSpec, port: &ServicePort) -> Vec<Front> {
    let Ok(number) = u16::try_from(port.port) else { return Vec::new() };
    let ingress = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = ingress.flat_map(|balancer| balancer.ingress.iter().flatten());
    // With the mode Proxy the balancer itself talks to NodePorts.
    let balanced = ingress
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref());
    let external = spec.external_ips.iter().flatten().chain(balanced);
    let addresses = external
        .filter_map(|ip| ip.parse().ok())
        .map(|ip| Front::Address(SocketAddrV4::new(ip, number)));
    let node_port =
        port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    addresses.chain(node_port.map(Front::NodePort)).collect()
}
