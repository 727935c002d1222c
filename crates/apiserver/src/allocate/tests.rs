//! Rows: what a Service asks for, what it gets.

use std::{collections::BTreeSet, net::Ipv4Addr};

use api::k8s::api::core::v1::Service;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::plan::{Claim, Occupied, Ranges, claims, fill};

struct Taken(BTreeSet<Claim>);

impl Occupied for Taken {
    fn is_taken(&self, claim: Claim) -> bool {
        self.0.contains(&claim)
    }

    fn chance(&self) -> u32 {
        0
    }
}

fn check(old: Option<Value>, new: Value, expect: Expect) {
    let read = |spec: Value| -> Service {
        serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": spec })).unwrap()
    };
    let old = old.map(read);
    let mut new = read(new);
    let taken = Taken(BTreeSet::from([
        Claim::Address(Ipv4Addr::new(10, 96, 1, 1).to_bits()),
        Claim::Port(30_000),
    ]));
    let had = old.as_ref().map(claims).unwrap_or_default();
    let text = match fill(&Ranges::default(), &taken, old.as_ref(), &mut new, &had) {
        Ok(()) => serde_json::to_string(&new.spec).unwrap(),
        Err(causes) => causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    expect.assert_eq(&text);
}

#[test]
fn w9_a_free_address_from_the_upper_band() {
    check(
        None,
        json!({ "type": "ClusterIP" }),
        expect![[
            r#"{"clusterIP":"10.96.1.2","clusterIPs":["10.96.1.2"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","type":"ClusterIP"}"#
        ]],
    );
}

#[test]
fn w9_the_address_asked_for() {
    check(
        None,
        json!({ "clusterIP": "10.96.0.10" }),
        expect![[
            r#"{"clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack"}"#
        ]],
    );
    check(
        None,
        json!({ "clusterIP": "10.96.1.1" }),
        expect![[
            r#"spec.clusterIPs: Invalid value: ["10.96.1.1"]: failed to allocate IP 10.96.1.1: provided IP is already allocated"#
        ]],
    );
    check(
        None,
        json!({ "clusterIP": "1.2.3.4" }),
        expect![[
            r#"spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is not in the valid range. The range of valid IPs is 10.96.0.0/12"#
        ]],
    );
}

#[test]
fn w9_headless_and_external_names_have_no_address() {
    check(
        None,
        json!({ "clusterIP": "None" }),
        expect![[
            r#"{"clusterIP":"None","clusterIPs":["None"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack"}"#
        ]],
    );
    check(
        Some(json!({ "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"] })),
        json!({ "type": "ExternalName", "externalName": "x.y" }),
        expect![[r#"{"externalName":"x.y","type":"ExternalName"}"#]],
    );
}

#[test]
fn w9_an_update_keeps_what_it_leaves_out() {
    check(
        Some(json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ports": [{ "port": 80, "nodePort": 31000 }] })),
        json!({ "type": "NodePort", "ports": [{ "port": 80 }] }),
        expect![[
            r#"{"clusterIP":"10.96.0.5","clusterIPs":["10.96.0.5"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"nodePort":31000,"port":80}],"type":"NodePort"}"#
        ]],
    );
}

#[test]
fn w9_node_ports() {
    check(
        None,
        json!({ "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{ "port": 80 }, { "port": 81 }] }),
        expect![[
            r#"{"clusterIP":"10.96.0.5","clusterIPs":["10.96.0.5"],"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"nodePort":30001,"port":80},{"nodePort":30002,"port":81}],"type":"NodePort"}"#
        ]],
    );
    check(
        None,
        json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30000 }] }),
        expect!["spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated"],
    );
    check(
        None,
        json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 80 }] }),
        expect![
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
        ],
    );
}
