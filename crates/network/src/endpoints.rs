//! Which endpoints of a Service take traffic now.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// Whether new connections may go to it. Unknown counts as ready.
///
/// Source: kubernetes v1.36, `discovery.k8s.io/v1` `EndpointConditions`.
#[must_use]
pub fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

/// Whether it still answers while it terminates: the last resort where nothing is ready.
#[must_use]
pub fn serves_terminating(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else { return false };
    conditions.terminating == Some(true) && conditions.serving != Some(false)
}

/// The IPv4 backends of one port: the ready ones, or else those that still serve while they
/// terminate. `on_node` leaves only those of one node.
///
/// Source: kubernetes v1.36 `pkg/proxy/topology.go`, `CategorizeEndpoints`.
#[must_use]
pub fn backends(
    slices: &[Arc<EndpointSlice>],
    port_name: &str,
    on_node: Option<&str>,
) -> Vec<SocketAddrV4> {
    let candidates: Vec<(&Endpoint, SocketAddrV4)> = slices
        .iter()
        .filter(|slice| slice.address_type == "IPv4")
        .flat_map(|slice| {
            let ports = slice.ports.iter().flatten();
            let ports = ports.filter(|port| port.name.as_deref().unwrap_or("") == port_name);
            ports.filter_map(|port| u16::try_from(port.port?).ok()).flat_map(|port| {
                slice.endpoints.iter().flatten().map(move |endpoint| (endpoint, port))
            })
        })
        .filter(|(endpoint, _)| {
            on_node.is_none_or(|node| endpoint.node_name.as_deref() == Some(node))
        })
        .filter_map(|(endpoint, port)| {
            Some((endpoint, SocketAddrV4::new(address(endpoint)?, port)))
        })
        .collect();
    let pick = |fits: fn(&Endpoint) -> bool| -> Vec<SocketAddrV4> {
        let fitting = candidates.iter().filter(|(endpoint, _)| fits(endpoint));
        fitting.map(|(_, backend)| *backend).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let ready = pick(is_ready);
    if ready.is_empty() { pick(serves_terminating) } else { ready }
}

/// Its first address: the further ones of a slice mean nothing, says the API.
fn address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}
