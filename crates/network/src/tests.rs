//! Rows of Services: what the firewall maps of them, and what DNS says.

use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use crate::{
    firewall::{host_port_rules, service_rules},
    records::{reverse_name, service_records},
};

fn service(spec: Value) -> Service {
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}),
    )
    .unwrap()
}

fn slice(ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
    let slice =
        json!({"metadata": {}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn cluster_ip() -> Value {
    json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 80, "protocol": "UDP", "nodePort": 30000}]})
}

fn two_pods() -> Arc<EndpointSlice> {
    slice(
        json!([{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]),
        json!([
            {"addresses": ["10.244.0.3"], "nodeName": "a", "hostname": "web-1"},
            {"addresses": ["10.244.0.2"], "nodeName": "b", "conditions": {"ready": true}},
        ]),
    )
}

#[track_caller]
fn rules(service: &Service, slices: &[Arc<EndpointSlice>], wanted: Expect) {
    let mut text = String::new();
    for (name, rule) in service_rules(service, slices, "a") {
        let mut backends: Vec<String> = rule.backends.iter().map(ToString::to_string).collect();
        if backends.is_empty() {
            backends.push("refused".to_owned());
        }
        let affinity = rule.affinity_s.map(|it| format!(" sticky {it} s")).unwrap_or_default();
        writeln!(
            text,
            "{name} {:?} {:?} -> {}{affinity}",
            rule.protocol,
            rule.fronts,
            backends.join(" ")
        )
        .unwrap();
    }
    wanted.assert_eq(&text);
}

#[test]
fn cluster_addresses_and_node_ports() {
    rules(
        &service(cluster_ip()),
        &[two_pods()],
        expect![[r#"
        default/web/dns Udp [Cluster(10.96.0.7:80), NodePort(30000)] -> 10.244.0.2:53 10.244.0.3:53
        default/web/http Tcp [Cluster(10.96.0.7:80)] -> 10.244.0.2:8080 10.244.0.3:8080
    "#]],
    );
    rules(
        &service(cluster_ip()),
        &[],
        expect![[r#"
        default/web/dns Udp [Cluster(10.96.0.7:80), NodePort(30000)] -> refused
        default/web/http Tcp [Cluster(10.96.0.7:80)] -> refused
    "#]],
    );
}

#[test]
fn services_without_rules() {
    rules(&service(json!({"clusterIP": "None", "ports": [{"port": 80}]})), &[], expect![[""]]);
    rules(&service(json!({"type": "ExternalName", "externalName": "x.org"})), &[], expect![[""]]);
    for label in ["service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"] {
        let mut other = service(cluster_ip());
        other.metadata.labels = Some([(label.to_owned(), String::new())].into());
        rules(&other, &[two_pods()], expect![[""]]);
    }
}

#[test]
fn policies_affinity_and_external_addresses() {
    rules(
        &service(
            json!({"clusterIP": "10.96.0.7", "externalTrafficPolicy": "Local", "type": "LoadBalancer",
            "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"],
            "ports": [{"name": "http", "port": 80, "nodePort": 30000}]}),
        ),
        &[two_pods()],
        expect![[r#"
            default/web/http Tcp [Cluster(10.96.0.7:80)] -> 10.244.0.2:8080 10.244.0.3:8080 sticky 10800 s
            default/web/http/outer Tcp [Address(192.0.2.1:80), NodePort(30000)] -> 10.244.0.3:8080 sticky 10800 s
        "#]],
    );
    rules(
        &service(
            json!({"clusterIP": "10.96.0.7", "internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 9}}, "ports": [{"name": "http", "port": 80}]}),
        ),
        &[two_pods()],
        expect![[r#"
            default/web/http Tcp [Cluster(10.96.0.7:80)] -> 10.244.0.3:8080 sticky 9 s
        "#]],
    );
}

#[test]
fn not_ready_and_terminating_endpoints() {
    let ports = json!([{"port": 1}]);
    let state = |address: &str, ready: bool, serving: bool, terminating: bool| json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}});
    let plain = service(json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}));
    let all = json!([
        state("10.0.0.1", false, false, false),
        state("10.0.0.2", false, true, true),
        state("10.0.0.3", true, true, false)
    ]);
    rules(
        &plain,
        &[slice(ports.clone(), all)],
        expect![[r#"
        default/web/port-80 Tcp [Cluster(10.96.0.7:80)] -> 10.0.0.3:1
    "#]],
    );
    let ending =
        json!([state("10.0.0.1", false, false, true), state("10.0.0.2", false, true, true)]);
    rules(
        &plain,
        &[slice(ports, ending)],
        expect![[r#"
        default/web/port-80 Tcp [Cluster(10.96.0.7:80)] -> 10.0.0.2:1
    "#]],
    );
}

#[test]
fn host_ports() {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": [{"name": "c",
        "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"},
                  {"containerPort": 9}]}]}}))
    .unwrap();
    let found = host_port_rules(&pod, Ipv4Addr::new(10, 244, 0, 2));
    expect![[r#"
        [
            (
                "d/p/host-Tcp-all-8080",
                [
                    HostPort(
                        8080,
                    ),
                ],
            ),
            (
                "d/p/host-Udp-127.0.0.1-53",
                [
                    Address(
                        127.0.0.1:53,
                    ),
                ],
            ),
        ]
    "#]]
    .assert_debug_eq(
        &found.keys().zip(found.values().map(|rule| &rule.fronts)).collect::<Vec<_>>(),
    );
    let mut host = pod;
    host.spec.as_mut().unwrap().host_network = Some(true);
    assert!(host_port_rules(&host, Ipv4Addr::LOCALHOST).is_empty());
}

#[track_caller]
fn records(service: &Service, slices: &[Arc<EndpointSlice>], wanted: Expect) {
    let mut text = String::new();
    for (name, records) in service_records(service, slices, "cluster.local") {
        writeln!(text, "{name}").unwrap();
        for record in records {
            writeln!(text, "    {record:?}").unwrap();
        }
    }
    wanted.assert_eq(&text);
}

#[test]
fn a_headless_service() {
    let headless = service(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
    let ports = json!([{"name": "http", "port": 8080}]);
    let endpoints = json!([
        {"addresses": ["10.244.0.3"], "hostname": "web-1"},
        {"addresses": ["10.244.0.2"]},
        {"addresses": ["10.244.0.9"], "hostname": "web-9", "conditions": {"ready": false}},
    ]);
    records(
        &headless,
        &[slice(ports, endpoints)],
        expect![[r#"
            10-244-0-2.web.default.svc.cluster.local
                A(10.244.0.2)
                Srv { weight: 100, port: 8080, target: "10-244-0-2.web.default.svc.cluster.local" }
            3.0.244.10.in-addr.arpa
                Ptr("web-1.web.default.svc.cluster.local")
            _http._tcp.web.default.svc.cluster.local
                Srv { weight: 50, port: 8080, target: "10-244-0-2.web.default.svc.cluster.local" }
                Srv { weight: 50, port: 8080, target: "web-1.web.default.svc.cluster.local" }
            web-1.web.default.svc.cluster.local
                A(10.244.0.3)
                Srv { weight: 100, port: 8080, target: "web-1.web.default.svc.cluster.local" }
            web.default.svc.cluster.local
                A(10.244.0.2)
                A(10.244.0.3)
                Srv { weight: 50, port: 8080, target: "10-244-0-2.web.default.svc.cluster.local" }
                Srv { weight: 50, port: 8080, target: "web-1.web.default.svc.cluster.local" }
        "#]],
    );
    records(
        &headless,
        &[],
        expect![[r#"
        web.default.svc.cluster.local
    "#]],
    );
}

#[test]
fn a_cluster_service_and_an_external_name() {
    let plain = service(
        json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}, {"port": 9}]}),
    );
    records(
        &plain,
        &[],
        expect![[r#"
        7.0.96.10.in-addr.arpa
            Ptr("web.default.svc.cluster.local")
        _http._tcp.web.default.svc.cluster.local
            Srv { weight: 100, port: 80, target: "web.default.svc.cluster.local" }
        web.default.svc.cluster.local
            A(10.96.0.7)
            Srv { weight: 50, port: 9, target: "web.default.svc.cluster.local" }
            Srv { weight: 50, port: 80, target: "web.default.svc.cluster.local" }
    "#]],
    );
    records(
        &service(json!({"type": "ExternalName", "externalName": "WWW.Example.org."})),
        &[],
        expect![[r#"
            web.default.svc.cluster.local
                Cname("www.example.org")
        "#]],
    );
}

#[test]
fn reverse_names() {
    for (address, wanted) in [
        ("10.96.0.10", "10.0.96.10.in-addr.arpa"),
        ("fd00::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"),
    ] {
        assert_eq!(reverse_name(address.parse().unwrap()), wanted);
    }
}
