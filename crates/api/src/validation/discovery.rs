//! What is wrong with an object or a change, in upstream's words. The `discovery.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/discovery/validation/validation.go`.

use core::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::{
    core::non_special_ip,
    metadata::labels,
    report::{At, Report, items, text},
};
use crate::{field::Cause, names, resource::Part};

const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const HINTS_MAX: usize = 8;

pub(crate) fn endpoint_slice(
    slice: &EndpointSlice,
    old: Option<&EndpointSlice>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let kind = slice.address_type.as_str();
    out.choice(At::new("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let endpoints = items(&slice.endpoints);
    let at = At::new("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        out.too_many(at, endpoints.len(), ENDPOINTS_MAX);
    } else {
        for (index, each) in endpoints.iter().enumerate() {
            endpoint(each, kind, at.index(index), &mut out);
        }
    }
    ports(items(&slice.ports), At::new("ports"), &mut out);
    if let Some(old) = old {
        out.immutable(At::new("addressType"), &slice.address_type, &old.address_type);
    }
    out.into_causes()
}

fn endpoint(endpoint: &Endpoint, kind: &str, at: At<'_>, out: &mut Report) {
    let addresses = &endpoint.addresses;
    let at_addresses = at.field("addresses");
    if addresses.is_empty() {
        out.required(at_addresses, "must contain at least 1 address");
    } else if addresses.len() > ADDRESSES_MAX {
        out.too_many(at_addresses, addresses.len(), ADDRESSES_MAX);
    }
    for (index, address) in addresses.iter().enumerate() {
        endpoint_address(address, kind, at_addresses.index(index), out);
    }
    if let Some(node) = &endpoint.node_name {
        out.faults(at.field("nodeName"), node, names::dns_subdomain(node));
    }
    labels(&endpoint.deprecated_topology, at.field("deprecatedTopology"), out);
    if let Some(name) = &endpoint.hostname {
        out.faults(at.field("hostname"), name, names::dns_label(name));
    }
    let zones = endpoint.hints.as_ref().map(|hints| items(&hints.for_zones)).unwrap_or_default();
    let hints = at.field("hints");
    if zones.len() > HINTS_MAX {
        out.too_many(hints.field("forZones"), zones.len(), HINTS_MAX);
    }
}

fn endpoint_address(address: &str, kind: &str, at: At<'_>, out: &mut Report) {
    let parsed: Option<IpAddr> = address.parse().ok();
    match (kind, parsed) {
        ("IPv4", Some(ip @ IpAddr::V4(_))) | ("IPv6", Some(ip @ IpAddr::V6(_))) => {
            non_special_ip(at, ip, out);
        }
        ("IPv4", _) => out.invalid(at, address, "must be a valid IPv4 address"),
        ("IPv6", _) => out.invalid(at, address, "must be a valid IPv6 address"),
        ("FQDN", _) => {
            let name = address.strip_suffix('.').unwrap_or(address);
            out.faults(at, address, names::dns_subdomain(name));
            if !name.contains('.') {
                let why = "should be a domain with at least two segments separated by dots";
                out.invalid(at, address, why);
            }
        }
        _ => {}
    }
}

fn ports(ports: &[EndpointPort], at: At<'_>, out: &mut Report) {
    if ports.len() > PORTS_MAX {
        out.too_many(at, ports.len(), PORTS_MAX);
        return;
    }
    for (index, port) in ports.iter().enumerate() {
        let item = at.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            out.faults(item.field("name"), name, names::dns_label(name));
        }
        if ports[..index].iter().any(|other| text(&other.name) == name) {
            out.duplicate(item.field("name"), name);
        }
        out.choice(item.field("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
        if let Some(protocol) = &port.app_protocol {
            out.faults(item.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}
