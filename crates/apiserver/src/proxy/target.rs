//! Where a proxied request goes: `name`, `name:port` or `scheme:name:port` made an address.
//!
//! Source: kubernetes v1.36 `ResourceLocation` of pods, services and nodes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use api::{
    ApiError, Reason,
    k8s::api::{
        core::v1::{Node, Pod, Service},
        discovery::v1::{Endpoint, EndpointSlice},
    },
    status::About,
};
use rustls_pki_types::ServerName;

use super::{
    Nodes,
    dial::Security,
    pod::{PODS, no_host},
};

const SERVICES: About<'static> = About { group: "", resource: "services" };
const NODES: About<'static> = About { group: "", resource: "nodes" };
/// Where a kubelet serves that does not say.
const KUBELET_PORT: u16 = 10250;

/// One place to dial.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) security: Security,
    /// `address:port` as links name it.
    pub(super) host: String,
}

/// A name as proxies write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) https: bool,
    pub(super) name: &'a str,
    /// Empty where none is given.
    pub(super) port: &'a str,
}

/// Reads `name`, `name:port` or `scheme:name:port`.
pub(super) fn split(id: &str) -> Option<Named<'_>> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let known = matches!(scheme, "" | "http" | "https");
    (known && !name.is_empty()).then_some(Named { https: scheme == "https", name, port })
}

fn unavailable(text: String) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, text)
}

/// Whether a proxy may go there. Source: Go's `IsGlobalUnicast`.
fn is_allowed(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

fn allowed(address: &str) -> Result<IpAddr, ApiError> {
    let address = address.parse().ok().filter(|address| is_allowed(*address));
    address.ok_or_else(|| ApiError::bad_request("address not allowed"))
}

impl Nodes {
    /// The pod of this name.
    ///
    /// # Errors
    ///
    /// 404.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Result<Pod, ApiError> {
        self.lookup.get(namespace, name).ok_or_else(|| ApiError::not_found(PODS, name))
    }

    /// The kubelet of this pod's node.
    pub(super) fn kubelet_of(&self, pod: &Pod, verify: bool) -> Result<Target, ApiError> {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() {
            return Err(no_host(pod.metadata.name.as_deref().unwrap_or_default()));
        }
        self.kubelet(&self.node(node)?, verify)
    }

    fn node(&self, name: &str) -> Result<Node, ApiError> {
        self.lookup.get("", name).ok_or_else(|| ApiError::not_found(NODES, name))
    }

    fn kubelet(&self, node: &Node, verify: bool) -> Result<Target, ApiError> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let address = match self.near.get(name) {
            Some(near) => *near,
            None => SocketAddr::new(node_address(node)?, kubelet_port(node)),
        };
        let server = ServerName::try_from(name.to_owned()).map_err(ApiError::internal)?;
        let config = if verify { &self.kubelet_tls } else { &self.kubelet_blind_tls };
        let security = Security::Tls(config.clone(), server);
        Ok(Target { address, security, host: format!("{name}:{}", address.port()) })
    }

    /// Where a proxied request goes.
    ///
    /// # Errors
    ///
    /// 400, 404 or 503 in upstream's words.
    pub(super) fn target(
        &self,
        resource: &str,
        namespace: &str,
        id: &str,
    ) -> Result<Target, ApiError> {
        let singular = resource.strip_suffix('s').unwrap_or(resource);
        let invalid = || ApiError::bad_request(format!("invalid {singular} request {id:?}"));
        let named = split(id).ok_or_else(invalid)?;
        match resource {
            "pods" => self.pod_target(namespace, named),
            "services" => self.service_target(namespace, named, id),
            _ => self.node_target(named),
        }
    }

    fn pod_target(&self, namespace: &str, named: Named<'_>) -> Result<Target, ApiError> {
        let pod = self.pod(namespace, named.name)?;
        let address = allowed(pod_address(&pod))?;
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
        let declared = containers.unwrap_or_default().iter().find_map(|container| {
            container.ports.as_ref().and_then(|ports| ports.first()).map(|port| port.container_port)
        });
        let port = match (named.port, declared) {
            ("", Some(declared)) => u16::try_from(declared).ok(),
            ("", None) => Some(default_port(named.https)),
            (given, _) => given.parse().ok(),
        };
        let port = port.ok_or_else(|| unknown_port(named.port))?;
        Ok(self.plain(SocketAddr::new(address, port), named.https))
    }

    fn plain(&self, address: SocketAddr, https: bool) -> Target {
        let security = if https {
            let name = ServerName::IpAddress(address.ip().into());
            Security::Tls(self.pod_tls.clone(), name)
        } else {
            Security::Plain
        };
        Target { address, security, host: address.to_string() }
    }

    fn service_target(
        &self,
        namespace: &str,
        named: Named<'_>,
        id: &str,
    ) -> Result<Target, ApiError> {
        let name = named.name;
        let service = self.lookup.get::<Service>(namespace, name);
        let service = service.ok_or_else(|| ApiError::not_found(SERVICES, name))?;
        let port = port_name(&service, named)?;
        let (mut any, mut found) = (false, Vec::new());
        for slice in self.lookup.list::<EndpointSlice>(namespace) {
            let labels = slice.metadata.labels.as_ref();
            let owner = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
            if owner.is_none_or(|owner| owner != name) {
                continue;
            }
            let endpoints = slice.endpoints.as_deref().unwrap_or_default();
            any |= !endpoints.is_empty();
            let ports = slice.ports.as_deref().unwrap_or_default();
            let number = ports
                .iter()
                .find(|candidate| candidate.name.as_deref().unwrap_or_default() == port)
                .and_then(|candidate| u16::try_from(candidate.port?).ok());
            let Some(number) = number else { continue };
            let ready = endpoints.iter().filter_map(|endpoint| self.endpoint(endpoint));
            found.extend(ready.map(|address| SocketAddr::new(address, number)));
        }
        if found.is_empty() {
            let whom = if any { id } else { name };
            return Err(unavailable(format!("no endpoints available for service {whom:?}")));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Ok(self.plain(found[turn % found.len()], named.https))
    }

    /// The address of a ready endpoint that is a pod; nothing else is dialled for a client.
    fn endpoint(&self, endpoint: &Endpoint) -> Option<IpAddr> {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        let reference = endpoint.target_ref.as_ref().filter(|to| to.kind.as_deref() == Some("Pod"));
        let reference = reference.filter(|_| ready != Some(false))?;
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let pod = self.lookup.get::<Pod>(namespace, reference.name.as_deref()?)?;
        let own: Vec<&str> = pod_addresses(&pod);
        let address = endpoint.addresses.iter().find(|address| own.contains(&address.as_str()))?;
        allowed(address).ok()
    }

    fn node_target(&self, named: Named<'_>) -> Result<Target, ApiError> {
        let node = self.node(named.name)?;
        let kubelet = kubelet_port(&node);
        if named.port.is_empty() || named.port.parse() == Ok(kubelet) {
            return self.kubelet(&node, true);
        }
        let port = named.port.parse().map_err(|_malformed| unknown_port(named.port))?;
        let address = allowed(&node_address(&node)?.to_string())?;
        Ok(self.plain(SocketAddr::new(address, port), named.https))
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn unknown_port(port: &str) -> ApiError {
    let why = format!("dial tcp: lookup tcp/{port}: unknown port");
    unavailable(format!("error trying to reach service: {why}"))
}

fn pod_address(pod: &Pod) -> &str {
    pod_addresses(pod).first().copied().unwrap_or_default()
}

fn pod_addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let many = status.pod_ips.iter().flatten().map(|entry| entry.ip.as_str());
    let mut addresses: Vec<&str> = many.collect();
    if addresses.is_empty() {
        addresses.extend(status.pod_ip.as_deref());
    }
    addresses
}

fn kubelet_port(node: &Node) -> u16 {
    let endpoints = node.status.as_ref().and_then(|status| status.daemon_endpoints.as_ref());
    let port = endpoints.and_then(|endpoints| endpoints.kubelet_endpoint.as_ref());
    let port = port.and_then(|endpoint| u16::try_from(endpoint.port).ok());
    port.filter(|port| *port > 0).unwrap_or(KUBELET_PORT)
}

fn node_address(node: &Node) -> Result<IpAddr, ApiError> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref());
    let addresses = addresses.unwrap_or_default();
    let of = |kind: &str| {
        let mut all = addresses.iter().filter(|address| address.type_ == kind);
        all.find_map(|address| address.address.parse().ok())
    };
    of("InternalIP").or_else(|| of("ExternalIP")).ok_or_else(|| {
        let known: Vec<&str> = addresses.iter().map(|address| address.address.as_str()).collect();
        let text = format!("no preferred addresses found; known addresses: {known:?}");
        ApiError::internal(text)
    })
}

/// The name of the port that is meant: a number stands for the Service's port of that number.
fn port_name(service: &Service, named: Named<'_>) -> Result<String, ApiError> {
    let Ok(number) = named.port.parse::<i64>() else { return Ok(named.port.to_owned()) };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let port = ports.iter().find(|port| i64::from(port.port) == number);
    port.map(|port| port.name.clone().unwrap_or_default()).ok_or_else(|| {
        let name = named.name;
        unavailable(format!("no service port {number} found for service {name:?}"))
    })
}
