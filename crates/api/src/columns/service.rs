//! The cells of a service.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::Value;

use super::{age_of, labels, name, or, or_empty};

pub(crate) fn service(it: &Service, now: Timestamp) -> Vec<Value> {
    let none = ServiceSpec::default();
    let spec = it.spec.as_ref().unwrap_or(&none);
    let address =
        spec.cluster_ips.as_ref().and_then(|ips| ips.first()).or(spec.cluster_ip.as_ref());
    let ports: Vec<String> = spec
        .ports
        .iter()
        .flatten()
        .map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            match port.node_port.unwrap_or(0) {
                0 => format!("{}/{protocol}", port.port),
                node => format!("{}:{node}/{protocol}", port.port),
            }
        })
        .collect();
    vec![
        name(&it.metadata),
        or_empty(spec.type_.as_ref()).into(),
        or(&or_empty(address), "<none>").into(),
        external(it, spec).into(),
        or(&ports.join(","), "<none>").into(),
        age_of(&it.metadata, now),
        labels(spec.selector.as_ref()).into(),
    ]
}

fn external(it: &Service, spec: &ServiceSpec) -> String {
    let asked = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref().unwrap_or("ClusterIP") {
        "ClusterIP" | "NodePort" => or(&asked.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let balancer = it.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let points =
                balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
            let given: BTreeSet<String> = points
                .filter_map(|point| {
                    let said = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
                    said(&point.ip).or_else(|| said(&point.hostname))
                })
                .collect();
            let all: Vec<String> = given.into_iter().chain(asked).collect();
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => or_empty(spec.external_name.as_ref()),
        _ => "<unknown>".to_owned(),
    }
}
