//! What upstream fills in where a field of a Service is absent; addresses are admission's.

use k8s_openapi::{
    api::core::v1::{
        ClientIPConfig, Endpoints, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::omit::{metadata, omit, text};

/// Seconds a client stays with its pod: three hours.
const AFFINITY_TIMEOUT_S: i32 = 10800;

pub(crate) fn service(service: &mut Service) {
    metadata(&mut service.metadata);
    let spec = service.spec.get_or_insert_default();
    service_spec(spec);
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let status = service.status.get_or_insert_default();
    omit(&mut status.conditions);
    let balancer = status.load_balancer.get_or_insert_default();
    omit(&mut balancer.ingress);
    for ingress in balancer.ingress.iter_mut().flatten() {
        if balanced && ingress.ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
            ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
        }
    }
}

fn service_spec(spec: &mut ServiceSpec) {
    text(&mut spec.session_affinity, "None");
    session_affinity(spec);
    text(&mut spec.type_, "ClusterIP");
    omit_of_spec(spec);
    spec.ports.iter_mut().flatten().for_each(port);
    let kind = spec.type_.as_deref().unwrap_or_default();
    let balanced = kind == "LoadBalancer";
    let outside = balanced
        || kind == "NodePort"
        || (kind == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    if kind != "ExternalName" {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if outside {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if balanced {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

fn session_affinity(spec: &mut ServiceSpec) {
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref();
            let timeout = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
            if timeout.is_none() {
                let client = ClientIPConfig { timeout_seconds: Some(AFFINITY_TIMEOUT_S) };
                spec.session_affinity_config =
                    Some(SessionAffinityConfig { client_ip: Some(client) });
            }
        }
        _ => {}
    }
}

fn omit_of_spec(spec: &mut ServiceSpec) {
    omit(&mut spec.cluster_ip);
    omit(&mut spec.cluster_ips);
    omit(&mut spec.external_ips);
    omit(&mut spec.external_name);
    omit(&mut spec.external_traffic_policy);
    omit(&mut spec.health_check_node_port);
    omit(&mut spec.ip_families);
    omit(&mut spec.load_balancer_ip);
    omit(&mut spec.load_balancer_source_ranges);
    omit(&mut spec.ports);
    omit(&mut spec.publish_not_ready_addresses);
    omit(&mut spec.selector);
}

fn port(port: &mut ServicePort) {
    text(&mut port.protocol, "TCP");
    omit(&mut port.name);
    omit(&mut port.node_port);
    let unset = match &port.target_port {
        None => true,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(name)) => name.is_empty(),
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

pub(crate) fn endpoints(endpoints: &mut Endpoints) {
    metadata(&mut endpoints.metadata);
    omit(&mut endpoints.subsets);
    for subset in endpoints.subsets.iter_mut().flatten() {
        omit(&mut subset.addresses);
        omit(&mut subset.not_ready_addresses);
        omit(&mut subset.ports);
        for port in subset.ports.iter_mut().flatten() {
            text(&mut port.protocol, "TCP");
            omit(&mut port.name);
        }
        let both = [&mut subset.addresses, &mut subset.not_ready_addresses];
        for address in both.into_iter().flatten().flatten() {
            omit(&mut address.hostname);
        }
    }
}
