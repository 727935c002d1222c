//! Rows of questions, judged by another implementation of DNS; and the server over real sockets.

use std::{
    fmt::Write as _,
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use expect_test::{Expect, expect};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question},
    rr::{Name, RecordType},
};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::runtime::watcher::Event;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Dns, DnsConfig, Shared,
    answer::{Outcome, decide},
    watch::Caches,
};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Every object made is a newer version.
fn version() -> String {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed).to_string()
}

fn service(name: &str, spec: Value) -> Service {
    object(
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": version()}, "spec": spec}),
    )
}

fn slice(name: &str, service: &str, endpoints: Value) -> EndpointSlice {
    object(
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": version(), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints}),
    )
}

pub(crate) fn config(resolv_conf: &std::path::Path) -> DnsConfig {
    DnsConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        domain: "cluster.local".to_owned(),
        service_address: "10.96.0.10".parse().unwrap(),
        blocks: vec!["10.244.0.0/16".parse().unwrap(), "10.96.0.0/12".parse().unwrap()],
        resolv_conf: resolv_conf.to_owned(),
        upstream_port: 53,
    }
}

/// A server whose caches are fed by hand.
async fn world() -> Dns {
    let dns = Dns::bind(&config("/nonexistent".as_ref())).await.unwrap();
    let caches = &dns.shared.caches;
    fill(caches);
    complete(&dns.shared);
    dns
}

pub(crate) fn complete(shared: &Shared) {
    shared.zone.write().unwrap_or_else(PoisonError::into_inner).is_complete = true;
}

pub(crate) fn fill(caches: &Caches) {
    let port = json!([{"name": "http", "port": 80}]);
    for (name, spec) in [
        ("web", json!({"clusterIP": "10.96.0.7", "ports": port})),
        ("nginx", json!({"clusterIP": "None", "ports": port})),
        ("none", json!({"clusterIP": "None"})),
        ("near", json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"})),
        ("far", json!({"type": "ExternalName", "externalName": "www.example.org"})),
        ("loop", json!({"type": "ExternalName", "externalName": "loop.default.svc.cluster.local"})),
    ] {
        caches.services.apply(Event::Apply(service(name, spec)));
    }
    let endpoints = json!([
        {"addresses": ["10.244.0.5"], "hostname": "nginx-0"},
        {"addresses": ["10.244.0.6"], "hostname": "nginx-1"},
    ]);
    caches.slices.apply(Event::Apply(slice("nginx-1", "nginx", endpoints)));
    let namespace: Namespace = object(json!({"metadata": {"name": "default"}}));
    caches.namespaces.apply(Event::Apply(namespace));
}

pub(crate) fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn outcome(dns: &Dns, message: &Message, over_tcp: bool) -> Outcome {
    let zone = dns.shared.zone.read().unwrap_or_else(PoisonError::into_inner);
    decide(&zone, &message.to_vec().unwrap(), over_tcp)
}

pub(crate) fn text(message: &Message) -> String {
    let mut text = format!(
        "{}{}{}\n",
        message.metadata.response_code,
        if message.metadata.authoritative { " aa" } else { "" },
        if message.metadata.truncation { " tc" } else { "" }
    );
    for (section, records) in [
        ("", &message.answers),
        ("authority ", &message.authorities),
        ("additional ", &message.additionals),
    ] {
        for record in records {
            writeln!(text, "{section}{record}").unwrap();
        }
    }
    text
}

fn said(dns: &Dns, name: &str, kind: RecordType) -> String {
    match outcome(dns, &question(name, kind), false) {
        Outcome::Reply(reply) => text(&Message::from_vec(&reply).unwrap()),
        Outcome::Forward(_) => "forward\n".to_owned(),
        Outcome::Chase(chase) => {
            format!("chase\n{}", text(&Message::from_vec(&chase.reply(&[], 512)).unwrap()))
        }
        Outcome::Silence => "silence\n".to_owned(),
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "rows")]
async fn what_names_mean() {
    let dns = world().await;
    let mut all = String::new();
    for (name, kind) in [
        ("web.default.svc.cluster.local.", RecordType::A),
        ("WEB.default.SVC.cluster.local.", RecordType::A),
        ("web.default.svc.cluster.local.", RecordType::AAAA),
        ("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV),
        ("_tcp.web.default.svc.cluster.local.", RecordType::A),
        ("nginx.default.svc.cluster.local.", RecordType::A),
        ("nginx.default.svc.cluster.local.", RecordType::SRV),
        ("nginx-1.nginx.default.svc.cluster.local.", RecordType::A),
        ("nginx-2.nginx.default.svc.cluster.local.", RecordType::A),
        ("none.default.svc.cluster.local.", RecordType::A),
        ("nothing.default.svc.cluster.local.", RecordType::A),
        ("default.svc.cluster.local.", RecordType::A),
        ("other.svc.cluster.local.", RecordType::A),
        ("near.default.svc.cluster.local.", RecordType::A),
        ("far.default.svc.cluster.local.", RecordType::A),
        ("far.default.svc.cluster.local.", RecordType::CNAME),
        ("loop.default.svc.cluster.local.", RecordType::A),
        ("10-1-2-3.default.pod.cluster.local.", RecordType::A),
        ("10-1-2-3.default.pod.cluster.local.", RecordType::AAAA),
        ("10-1-2.default.pod.cluster.local.", RecordType::A),
        ("10-1-2-3.other.pod.cluster.local.", RecordType::A),
        ("7.0.96.10.in-addr.arpa.", RecordType::PTR),
        ("6.0.244.10.in-addr.arpa.", RecordType::PTR),
        ("9.0.244.10.in-addr.arpa.", RecordType::PTR),
        ("244.10.in-addr.arpa.", RecordType::PTR),
        ("10.in-addr.arpa.", RecordType::PTR),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR),
        ("cluster.local.", RecordType::SOA),
        ("cluster.local.", RecordType::NS),
        ("ns.dns.cluster.local.", RecordType::A),
        ("dns-version.cluster.local.", RecordType::TXT),
        ("web.default.svc.cluster.local.example.org.", RecordType::A),
        ("notcluster.local.", RecordType::A),
        (".", RecordType::NS),
    ] {
        writeln!(all, "{name} {kind}").unwrap();
        for line in said(&dns, name, kind).lines() {
            writeln!(all, "    {line}").unwrap();
        }
    }
    expect![[r#"
        web.default.svc.cluster.local. A
            No Error aa
            web.default.svc.cluster.local. 5 IN A 10.96.0.7
        WEB.default.SVC.cluster.local. A
            No Error aa
            WEB.default.SVC.cluster.local. 5 IN A 10.96.0.7
        web.default.svc.cluster.local. AAAA
            No Error aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        _http._tcp.web.default.svc.cluster.local. SRV
            No Error aa
            _http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.
            additional web.default.svc.cluster.local. 5 IN A 10.96.0.7
        _tcp.web.default.svc.cluster.local. A
            No Error aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        nginx.default.svc.cluster.local. A
            No Error aa
            nginx.default.svc.cluster.local. 5 IN A 10.244.0.5
            nginx.default.svc.cluster.local. 5 IN A 10.244.0.6
        nginx.default.svc.cluster.local. SRV
            No Error aa
            nginx.default.svc.cluster.local. 5 IN SRV 0 50 8080 nginx-0.nginx.default.svc.cluster.local.
            nginx.default.svc.cluster.local. 5 IN SRV 0 50 8080 nginx-1.nginx.default.svc.cluster.local.
            additional nginx-0.nginx.default.svc.cluster.local. 5 IN A 10.244.0.5
            additional nginx-1.nginx.default.svc.cluster.local. 5 IN A 10.244.0.6
        nginx-1.nginx.default.svc.cluster.local. A
            No Error aa
            nginx-1.nginx.default.svc.cluster.local. 5 IN A 10.244.0.6
        nginx-2.nginx.default.svc.cluster.local. A
            Non-Existent Domain aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        none.default.svc.cluster.local. A
            No Error aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        nothing.default.svc.cluster.local. A
            Non-Existent Domain aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        default.svc.cluster.local. A
            No Error aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        other.svc.cluster.local. A
            Non-Existent Domain aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        near.default.svc.cluster.local. A
            No Error aa
            near.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.
            web.default.svc.cluster.local. 5 IN A 10.96.0.7
        far.default.svc.cluster.local. A
            chase
            No Error aa
            far.default.svc.cluster.local. 5 IN CNAME www.example.org.
        far.default.svc.cluster.local. CNAME
            No Error aa
            far.default.svc.cluster.local. 5 IN CNAME www.example.org.
        loop.default.svc.cluster.local. A
            Server Failure
        10-1-2-3.default.pod.cluster.local. A
            No Error aa
            10-1-2-3.default.pod.cluster.local. 5 IN A 10.1.2.3
        10-1-2-3.default.pod.cluster.local. AAAA
            No Error aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        10-1-2.default.pod.cluster.local. A
            Non-Existent Domain aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        10-1-2-3.other.pod.cluster.local. A
            Non-Existent Domain aa
            authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        7.0.96.10.in-addr.arpa. PTR
            No Error aa
            7.0.96.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.
        6.0.244.10.in-addr.arpa. PTR
            No Error aa
            6.0.244.10.in-addr.arpa. 5 IN PTR nginx-1.nginx.default.svc.cluster.local.
        9.0.244.10.in-addr.arpa. PTR
            Non-Existent Domain aa
            authority 10.in-addr.arpa. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        244.10.in-addr.arpa. PTR
            No Error aa
            authority 10.in-addr.arpa. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        10.in-addr.arpa. PTR
            forward
        1.2.0.192.in-addr.arpa. PTR
            forward
        cluster.local. SOA
            No Error aa
            cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 7200 1800 86400 5
        cluster.local. NS
            No Error aa
            cluster.local. 5 IN NS ns.dns.cluster.local.
        ns.dns.cluster.local. A
            No Error aa
            ns.dns.cluster.local. 5 IN A 10.96.0.10
        dns-version.cluster.local. TXT
            No Error aa
            dns-version.cluster.local. 5 IN TXT 1.1.0
        web.default.svc.cluster.local.example.org. A
            forward
        notcluster.local. A
            forward
        . NS
            forward
    "#]].assert_eq(&all);
}

#[tokio::test]
async fn changes_replace_what_was() {
    let dns = world().await;
    let caches = &dns.shared.caches;
    let name = "far.default.svc.cluster.local.";
    // The external name becomes a Service with an address, and goes.
    caches.services.apply(Event::Apply(service("far", json!({"clusterIP": "10.96.0.9"}))));
    assert!(said(&dns, name, RecordType::A).contains("10.96.0.9"));
    assert!(said(&dns, "9.0.96.10.in-addr.arpa.", RecordType::PTR).contains("far.default"));
    caches.services.apply(Event::Delete(service("far", json!({}))));
    assert!(said(&dns, name, RecordType::A).starts_with("Non-Existent Domain"));
    assert!(said(&dns, "9.0.96.10.in-addr.arpa.", RecordType::PTR).starts_with("Non-Existent"));
    // A slice that comes before its Service counts once the Service is there.
    let endpoints = json!([{"addresses": ["10.244.0.7"], "hostname": "late-0"}]);
    caches.slices.apply(Event::Apply(slice("late-1", "late", endpoints)));
    let name = "late-0.late.default.svc.cluster.local.";
    assert!(said(&dns, name, RecordType::A).starts_with("Non-Existent"));
    caches.services.apply(Event::Apply(service("late", json!({"clusterIP": "None"}))));
    assert!(said(&dns, name, RecordType::A).contains("10.244.0.7"));
    // A relabelled slice leaves one Service for another.
    let endpoints = json!([{"addresses": ["10.244.0.7"], "hostname": "late-0"}]);
    let moved = slice("late-1", "none", endpoints);
    caches.slices.apply(Event::Apply(moved));
    assert!(said(&dns, name, RecordType::A).starts_with("Non-Existent"));
    assert!(
        said(&dns, "late-0.none.default.svc.cluster.local.", RecordType::A).contains("10.244.0.7")
    );
    caches.namespaces.apply(Event::Delete(object(json!({"metadata": {"name": "default"}}))));
    assert!(
        said(&dns, "10-1-2-3.default.pod.cluster.local.", RecordType::A)
            .starts_with("Non-Existent")
    );
}

#[tokio::test]
async fn before_the_first_list_nothing_is_denied() {
    let dns = Dns::bind(&config("/nonexistent".as_ref())).await.unwrap();
    assert_eq!(said(&dns, "web.default.svc.cluster.local.", RecordType::A), "Server Failure\n");
    assert_eq!(said(&dns, "7.0.96.10.in-addr.arpa.", RecordType::PTR), "Server Failure\n");
    assert_eq!(said(&dns, "example.org.", RecordType::A), "forward\n");
}

#[tokio::test]
async fn large_answers_are_cut_and_said_to_be() {
    let dns = world().await;
    let endpoints: Vec<Value> =
        (1..=200).map(|at| json!({"addresses": [format!("10.244.1.{at}")]})).collect();
    dns.shared.caches.slices.apply(Event::Apply(slice("many", "none", json!(endpoints))));
    let plain = question("none.default.svc.cluster.local.", RecordType::A);
    let mut with_edns = plain.clone();
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    with_edns.set_edns(edns);
    for (message, over_tcp, max, wanted) in
        [(&plain, false, 512, 29), (&with_edns, false, 1_232, 73), (&plain, true, 65_535, 200)]
    {
        let Outcome::Reply(reply) = outcome(&dns, message, over_tcp) else { panic!() };
        let read = Message::from_vec(&reply).unwrap();
        assert!(reply.len() <= max);
        assert_eq!((read.answers.len(), read.metadata.truncation), (wanted, wanted < 200));
        assert_eq!(read.edns.is_some(), message.edns.is_some());
    }
    // Additional addresses are left out without a word.
    let srv = question("nginx.default.svc.cluster.local.", RecordType::SRV);
    let Outcome::Reply(reply) = outcome(&dns, &srv, false) else { panic!() };
    assert_eq!(Message::from_vec(&reply).unwrap().additionals.len(), 2);
}

#[tokio::test]
async fn odd_messages() {
    let dns = world().await;
    let zone = dns.shared.zone.read().unwrap();
    #[track_caller]
    fn check(zone: &crate::zone::Zone, change: impl Fn(&mut Vec<u8>), wanted: Expect) {
        let mut bytes = question("web.default.svc.cluster.local.", RecordType::A).to_vec().unwrap();
        change(&mut bytes);
        let found = match decide(zone, &bytes, false) {
            Outcome::Reply(reply) => text(&Message::from_vec(&reply).unwrap()),
            other => format!("{other:?}"),
        };
        wanted.assert_eq(&found);
    }
    check(&zone, |bytes| bytes.truncate(11), expect!["Silence"]);
    check(
        &zone,
        |bytes| bytes.truncate(20),
        expect![[r#"
        Form Error
    "#]],
    );
    check(&zone, |bytes| bytes[2] |= 0x80, expect!["Silence"]);
    check(
        &zone,
        |bytes| bytes[2] |= 0x28,
        expect![[r#"
        Not Implemented
    "#]],
    );
    check(
        &zone,
        |bytes| bytes[5] = 2,
        expect![[r#"
        Form Error
    "#]],
    );
    check(
        &zone,
        |bytes| bytes[7] = 9,
        expect![[r#"
        Form Error
    "#]],
    );
    check(
        &zone,
        |bytes| *bytes.last_mut().unwrap() = 3,
        expect![[r#"
        Not Implemented
    "#]],
    );
    check(
        &zone,
        |bytes| bytes[12] = 0xc0,
        expect![[r#"
        Form Error
    "#]],
    );
    check(
        &zone,
        |bytes| {
            bytes[11] = 1;
            bytes.extend_from_slice(&[0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0]);
        },
        expect![[r#"
            TSIG Failure
        "#]],
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        over_tcp: bool,
    ) {
        let zone = crate::zone::Zone::new("cluster.local", "10.96.0.10".parse().unwrap(), &[]);
        drop(decide(&zone, &bytes, over_tcp));
        let mut near = question("a.b.svc.cluster.local.", RecordType::SRV).to_vec().unwrap();
        for (at, value) in flips {
            let at = at.index(near.len());
            near[at] = value;
        }
        match decide(&zone, &near, over_tcp) {
            Outcome::Reply(reply) => prop_assert_eq!(&reply[..2], &near[..2]),
            Outcome::Forward(_) | Outcome::Chase(_) | Outcome::Silence => {}
        }
    }
}
