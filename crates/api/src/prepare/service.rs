//! What an update of a Service need not repeat: the addresses and ports it was given.
//!
//! Source: kubernetes v1.36 `pkg/registry/core/service/strategy.go` and `storage/storage.go`.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::resource::Part;

pub(crate) fn service(service: &mut Service, old: Option<&Service>, part: Part) {
    super::metadata(&mut service.metadata, old.map(|old| &old.metadata));
    let Some(old) = old else {
        service.status = Some(Default::default());
        if let Some(status) = &mut service.status {
            status.load_balancer = Some(Default::default());
        }
        normalise(service.spec.get_or_insert_default(), None);
        return;
    };
    match part {
        Part::Status => service.spec.clone_from(&old.spec),
        Part::Main => {
            service.status.clone_from(&old.status);
            if let (Some(new), Some(old)) = (&mut service.spec, &old.spec) {
                drop_with_type(new, old);
                keep_allocated(new, old);
                normalise(new, Some(old));
            }
        }
    }
}

fn is(spec: &ServiceSpec, kinds: &[&str]) -> bool {
    spec.type_.as_deref().is_some_and(|kind| kinds.contains(&kind))
}

const WITH_ADDRESS: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];
const WITH_PORTS: [&str; 2] = ["NodePort", "LoadBalancer"];

/// A changed type gives up what only the old type had, where the update did not touch it.
fn drop_with_type(new: &mut ServiceSpec, old: &ServiceSpec) {
    let same_ips = new.cluster_ip == old.cluster_ip && new.cluster_ips == old.cluster_ips;
    if is(old, &WITH_ADDRESS) && !is(new, &WITH_ADDRESS) && same_ips {
        new.cluster_ip = None;
        new.cluster_ips = None;
        new.ip_families = None;
        new.ip_family_policy = None;
    }
    if is(old, &WITH_PORTS) && !is(new, &WITH_PORTS) && same_node_ports(new, old) {
        for port in new.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if is(old, &["LoadBalancer"]) && !is(new, &["LoadBalancer"]) {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
    if !checked(new) && new.health_check_node_port == old.health_check_node_port {
        new.health_check_node_port = None;
    }
    let outside = is(new, &WITH_PORTS) || new.external_ips.is_some();
    if !outside && new.external_traffic_policy == old.external_traffic_policy {
        new.external_traffic_policy = None;
    }
}

fn same_node_ports(new: &ServiceSpec, old: &ServiceSpec) -> bool {
    let ports = |spec: &ServiceSpec| -> Vec<Option<i32>> {
        let ports = spec.ports.iter().flatten();
        ports.map(|port| port.node_port).filter(Option::is_some).collect()
    };
    let before = ports(old);
    ports(new).iter().all(|port| before.contains(port))
}

/// Whether the node answers a balancer's checks.
fn checked(spec: &ServiceSpec) -> bool {
    is(spec, &["LoadBalancer"]) && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// An update that leaves addresses and ports out keeps those it had.
fn keep_allocated(new: &mut ServiceSpec, old: &ServiceSpec) {
    let both = |kinds: &[&str], new: &ServiceSpec| is(new, kinds) && is(old, kinds);
    if both(&WITH_ADDRESS, new) {
        if new.cluster_ip.is_none() && new.cluster_ips.is_none() {
            new.cluster_ip.clone_from(&old.cluster_ip);
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
        if new.ip_families.is_none() && new.cluster_ips == old.cluster_ips {
            new.ip_families.clone_from(&old.ip_families);
        }
        if new.ip_family_policy.is_none() {
            new.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
    if both(&WITH_PORTS, new) {
        let taken: Vec<_> = new.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.is_none()) {
            let before = old.ports.iter().flatten();
            let mut before =
                before.filter(|old| old.port == port.port && old.protocol == port.protocol);
            let number = before.next().and_then(|old| old.node_port);
            port.node_port = number.filter(|number| !taken.contains(number));
        }
    }
    if checked(new) && checked(old) && new.health_check_node_port.is_none() {
        new.health_check_node_port = old.health_check_node_port;
    }
}

/// `clusterIP` and the first of `clusterIPs` are one: whichever was written wins.
fn normalise(new: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let Some(old) = old else {
        if let (Some(ip), None) = (&new.cluster_ip, &new.cluster_ips) {
            new.cluster_ips = Some(vec![ip.clone()]);
        }
        return;
    };
    let ip_changed = new.cluster_ip != old.cluster_ip;
    let ips_changed = new.cluster_ips != old.cluster_ips;
    if ip_changed && (!ips_changed || new.cluster_ips.is_none()) {
        new.cluster_ips = new.cluster_ip.as_ref().map(|ip| vec![ip.clone()]);
    } else if ips_changed && !ip_changed {
        new.cluster_ip = new.cluster_ips.as_ref().and_then(|ips| ips.first().cloned());
    }
}
