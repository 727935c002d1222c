//! What is wrong with Services and Endpoints.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, Endpoints, Service, ServicePort, ServiceSpec,
};

use super::{
    address::{dual_stack, non_special_ip, valid_cidr, valid_ip},
    probe::port,
};
use crate::{
    field::Cause,
    names,
    resource::Part,
    validation::{
        metadata::labels,
        report::{At, Report, items, text},
    },
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const ONE_A_FAMILY: &str = "may specify no more than one IP for each IP family";

pub(crate) fn service(service: &Service, old: Option<&Service>, part: Part) -> Vec<Cause> {
    let mut out = Report::default();
    if old.is_some() && part == Part::Status {
        balancer_status(service, &mut out);
        return out.into_causes();
    }
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    if let Some(old) = old {
        updated(spec, old.spec.as_ref().unwrap_or(&empty), &mut out);
    }
    service_spec(spec, At::new("spec"), &mut out);
    out.into_causes()
}

fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(items(&spec.cluster_ips), [only] if only == "None")
}

fn service_spec(spec: &ServiceSpec, at: At<'_>, out: &mut Report) {
    let kind = text(&spec.type_);
    let ports = items(&spec.ports);
    if ports.is_empty() && !is_headless(spec) && kind != "ExternalName" {
        out.required(at.field("ports"), "");
    }
    by_type(spec, kind, at, out);
    for (index, port) in ports.iter().enumerate() {
        service_port(port, &ports[..index], ports.len() > 1, at.field("ports").index(index), out);
    }
    labels(&spec.selector, at.field("selector"), out);
    affinity(spec, at, out);
    if kind != "ExternalName" {
        cluster_ips(spec, at, out);
    }
    for (index, ip) in items(&spec.external_ips).iter().enumerate() {
        let list = at.field("externalIPs");
        if let Some(address) = valid_ip(list.index(index), ip, out) {
            non_special_ip(list.index(index), address, out);
        }
    }
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    out.choice(at.field("type"), kind, &types);
    node_ports(spec, kind, at.field("ports"), out);
    balancer(spec, kind, at, out);
    traffic(spec, kind, at, out);
}

fn by_type(spec: &ServiceSpec, kind: &str, at: At<'_>, out: &mut Report) {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            out.invalid(at.field("clusterIPs").index(0), "None", &why);
        }
        "ExternalName" => {
            for (field, set) in [
                ("clusterIPs", !items(&spec.cluster_ips).is_empty()),
                ("ipFamilies", !items(&spec.ip_families).is_empty()),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ] {
                if set {
                    out.forbidden(at.field(field), "may not be set for ExternalName services");
                }
            }
            let name = text(&spec.external_name);
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                out.required(at.field("externalName"), "");
            } else {
                out.faults(at.field("externalName"), name, names::dns_subdomain(name));
            }
        }
        _ => {}
    }
}

fn service_port(
    wanted: &ServicePort,
    earlier: &[ServicePort],
    need_name: bool,
    at: At<'_>,
    out: &mut Report,
) {
    let name = text(&wanted.name);
    if name.is_empty() {
        if need_name {
            out.required(at.field("name"), "");
        }
    } else {
        out.faults(at.field("name"), name, names::dns_label(name));
        if earlier.iter().any(|other| other.name == wanted.name) {
            out.duplicate(at.field("name"), name);
        }
    }
    for fault in names::port_number(wanted.port) {
        out.invalid(at.field("port"), wanted.port, &fault);
    }
    out.choice(at.field("protocol"), text(&wanted.protocol), &PROTOCOLS);
    if let Some(target) = &wanted.target_port {
        port(target, at.field("targetPort"), out);
    }
    if let Some(protocol) = &wanted.app_protocol {
        out.faults(at.field("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

fn affinity(spec: &ServiceSpec, at: At<'_>, out: &mut Report) {
    let affinity = text(&spec.session_affinity);
    out.choice(at.field("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let at = at.field("sessionAffinityConfig");
    let config = spec.session_affinity_config.as_ref();
    if affinity == "None" && config.is_some() {
        out.forbidden(at, "must not be set when session affinity is None");
    }
    if affinity != "ClientIP" {
        return;
    }
    let client = at.field("clientIP");
    let timeout = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    match timeout {
        None => {
            let why = "when session affinity type is ClientIP";
            out.required(client.field("timeoutSeconds"), why);
        }
        Some(seconds) if !(1..=86400).contains(&seconds) => {
            let why = "must be greater than 0 and less than 86400";
            out.invalid(client.field("timeoutSeconds"), seconds, why);
        }
        Some(_) => {}
    }
}

fn cluster_ips(spec: &ServiceSpec, at: At<'_>, out: &mut Report) {
    let (first, list) = (text(&spec.cluster_ip), items(&spec.cluster_ips));
    let at_list = at.field("clusterIPs");
    match (first.is_empty(), list.first()) {
        (false, None) => out.required(at_list, ""),
        (false, Some(ip)) if ip != first => {
            out.invalid_object(at_list, &list, "first value must match `clusterIP`");
        }
        (true, Some(_)) => {
            let why = "must be empty when `clusterIP` is not specified";
            out.invalid_object(at_list, &list, why);
        }
        _ => {}
    }
    let families = items(&spec.ip_families);
    for (index, family) in families.iter().enumerate() {
        let item = at.field("ipFamilies");
        out.known(item.index(index), family, &["IPv4", "IPv6"]);
        if families[..index].contains(family) {
            out.duplicate(item.index(index), &**family);
        }
    }
    if let Some(policy) = &spec.ip_family_policy {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        out.known(at.field("ipFamilyPolicy"), policy, &known);
    }
    if list.len() > 1 && list[0] == "None" {
        out.invalid_object(at_list, &list, "'None' must be the first and only value");
        return;
    }
    let before = out.len();
    let wanted = list.iter().enumerate().filter(|(_, ip)| *ip != "None");
    let addresses: Vec<_> =
        wanted.filter_map(|(index, ip)| valid_ip(at_list.index(index), ip, out)).collect();
    if list.len() > 2 {
        out.invalid_object(at_list, &list, "may only hold up to 2 values");
    }
    if out.len() != before {
        return;
    }
    if list.len() > 1 && !dual_stack(&addresses) {
        out.invalid_object(at_list, &list, ONE_A_FAMILY);
    }
    for (index, (address, family)) in addresses.iter().zip(families).enumerate() {
        let is = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        if is != family {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            out.invalid(at_list.index(index), address.to_string(), &why);
        }
    }
}

fn node_ports(spec: &ServiceSpec, kind: &str, at: At<'_>, out: &mut Report) {
    let (mut taken, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in items(&spec.ports).iter().enumerate() {
        let item = at.index(index);
        let protocol = text(&port.protocol);
        if let Some(number) = port.node_port.filter(|number| *number != 0) {
            if kind == "ClusterIP" {
                let why = "may not be used when `type` is 'ClusterIP'";
                out.forbidden(item.field("nodePort"), why);
            }
            if !taken.insert((protocol, number)) {
                out.duplicate(item.field("nodePort"), number);
            }
        }
        if !ports.insert((protocol, port.port)) {
            let key = serde_json::json!({"port": port.port, "protocol": protocol});
            out.duplicate(item, key);
        }
    }
}

fn balancer(spec: &ServiceSpec, kind: &str, at: At<'_>, out: &mut Report) {
    let ranges = items(&spec.load_balancer_source_ranges);
    let balanced = kind == "LoadBalancer";
    let at_ranges = at.field("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        out.forbidden(at_ranges, BALANCER_ONLY);
    }
    for (index, range) in ranges.iter().enumerate() {
        valid_cidr(at_ranges.index(index), range.trim(), out);
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        out.forbidden(at.field("allocateLoadBalancerNodePorts"), BALANCER_ONLY);
    }
    if let Some(class) = &spec.load_balancer_class {
        let at = at.field("loadBalancerClass");
        if balanced {
            out.faults(at, class, names::qualified_name(class));
        } else {
            out.forbidden(at, BALANCER_ONLY);
        }
    }
}

fn traffic(spec: &ServiceSpec, kind: &str, at: At<'_>, out: &mut Report) {
    let outside = matches!(kind, "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && !items(&spec.external_ips).is_empty());
    let policy = text(&spec.external_traffic_policy);
    let at_policy = at.field("externalTrafficPolicy");
    if outside {
        out.choice(at_policy, policy, &["Cluster", "Local"]);
    } else if !policy.is_empty() {
        out.invalid(at_policy, policy, "may only be set for externally-accessible services");
    }
    let checked = kind == "LoadBalancer" && policy == "Local";
    if let Some(number) = spec.health_check_node_port.filter(|number| *number != 0) {
        let at = at.field("healthCheckNodePort");
        if !checked {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                       is 'Local'";
            out.invalid(at, number, why);
        }
        for fault in names::port_number(number) {
            out.invalid(at, number, &fault);
        }
    }
    match &spec.internal_traffic_policy {
        Some(policy) => {
            out.known(at.field("internalTrafficPolicy"), policy, &["Cluster", "Local"]);
        }
        None if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") => {
            out.required(at.field("internalTrafficPolicy"), "");
        }
        None => {}
    }
    if let Some(distribution) = &spec.traffic_distribution {
        let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        out.known(at.field("trafficDistribution"), distribution, &known);
    }
}

/// What of a Service's addresses may change.
fn updated(new: &ServiceSpec, old: &ServiceSpec, out: &mut Report) {
    let at = At::new("spec");
    let balanced = |spec: &ServiceSpec| spec.type_.as_deref() == Some("LoadBalancer");
    if balanced(old) && balanced(new) && old.load_balancer_class != new.load_balancer_class {
        let class = &new.load_balancer_class;
        out.invalid_object(at.field("loadBalancerClass"), class, "may not change once set");
    }
    let local = |spec: &ServiceSpec| {
        balanced(spec) && spec.external_traffic_policy.as_deref() == Some("Local")
    };
    if local(old) && local(new) && old.health_check_node_port != new.health_check_node_port {
        out.forbidden(at.field("healthCheckNodePort"), "field is immutable");
    }
    let named = |spec: &ServiceSpec| spec.type_.as_deref() == Some("ExternalName");
    if named(new) || named(old) || (is_headless(new) && is_headless(old)) {
        return;
    }
    let (ips, before) = (items(&new.cluster_ips), items(&old.cluster_ips));
    kept("clusterIPs", "clusterIP", ips, before, new, out);
    if is_headless(new) == is_headless(old) {
        let (families, before) = (items(&new.ip_families), items(&old.ip_families));
        kept("ipFamilies", "ipFamily", families, before, new, out);
    }
}

/// The first stays; the second may come, and go when the policy says `SingleStack`.
fn kept(
    field: &str,
    word: &str,
    new: &[String],
    old: &[String],
    spec: &ServiceSpec,
    out: &mut Report,
) {
    let at_spec = At::new("spec");
    let at = at_spec.field(field);
    let changed = "may not change once set";
    if new.len() == old.len() {
        for index in (0..old.len()).filter(|index| new[*index] != old[*index]) {
            out.invalid_object(at.index(index), &new, changed);
        }
        return;
    }
    if old.len() > new.len() && new.is_empty() {
        out.invalid_object(at.index(0), &new, &format!("primary {word} can not be unset"));
    }
    if let (Some(first), Some(was)) = (new.first(), old.first())
        && first != was
    {
        out.invalid_object(at.index(0), &new, changed);
    }
    let single = spec.ip_family_policy.as_deref() == Some("SingleStack");
    if old.len() > new.len() && new.len() == 1 && !single {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {word}");
        out.invalid_object(at_spec.field("ipFamilyPolicy"), &spec.ip_family_policy, &why);
    }
}

fn balancer_status(service: &Service, out: &mut Report) {
    let status = At::new("status");
    let at = status.field("loadBalancer");
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.map(|balancer| items(&balancer.ingress)).unwrap_or_default();
    let kind = service.spec.as_ref().map_or("", |spec| text(&spec.type_));
    if kind != "LoadBalancer" && !ingress.is_empty() {
        let why = "may only be used when `spec.type` is 'LoadBalancer'";
        out.forbidden(at.field("ingress"), why);
        return;
    }
    for (index, point) in ingress.iter().enumerate() {
        let list = at.field("ingress");
        let item = list.index(index);
        let (ip, name) = (text(&point.ip), text(&point.hostname));
        if !ip.is_empty() {
            valid_ip(item.field("ip"), ip, out);
        }
        if !name.is_empty() {
            out.faults(item.field("hostname"), name, names::dns_subdomain(name));
        }
        if let Some(mode) = &point.ip_mode {
            out.known(item.field("ipMode"), mode, &["Proxy", "VIP"]);
        }
    }
}

pub(crate) fn endpoints(endpoints: &Endpoints, _: Option<&Endpoints>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    for (index, subset) in items(&endpoints.subsets).iter().enumerate() {
        let subsets = At::new("subsets");
        let at = subsets.index(index);
        let (ready, waiting) = (items(&subset.addresses), items(&subset.not_ready_addresses));
        if ready.is_empty() && waiting.is_empty() {
            out.required(at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (field, list) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (index, address) in list.iter().enumerate() {
                endpoint_address(address, at.field(field).index(index), &mut out);
            }
        }
        let ports = items(&subset.ports);
        for (index, port) in ports.iter().enumerate() {
            endpoint_port(port, ports.len() > 1, at.field("ports").index(index), &mut out);
        }
    }
    out.into_causes()
}

fn endpoint_address(address: &EndpointAddress, at: At<'_>, out: &mut Report) {
    let ip = valid_ip(at.field("ip"), &address.ip, out);
    let name = text(&address.hostname);
    if !name.is_empty() {
        out.faults(at.field("hostname"), name, names::dns_label(name));
    }
    if let Some(node) = &address.node_name {
        out.faults(at.field("nodeName"), node, names::dns_subdomain(node));
    }
    if let Some(ip) = ip {
        non_special_ip(at.field("ip"), ip, out);
    }
}

fn endpoint_port(port: &EndpointPort, need_name: bool, at: At<'_>, out: &mut Report) {
    let name = text(&port.name);
    if !name.is_empty() {
        out.faults(at.field("name"), name, names::dns_label(name));
    } else if need_name {
        out.required(at.field("name"), "");
    }
    for fault in names::port_number(port.port) {
        out.invalid(at.field("port"), port.port, &fault);
    }
    out.choice(at.field("protocol"), text(&port.protocol), &PROTOCOLS);
    if let Some(protocol) = &port.app_protocol {
        out.faults(at.field("appProtocol"), protocol, names::qualified_name(protocol));
    }
}
