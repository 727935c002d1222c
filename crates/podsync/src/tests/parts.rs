//! Rows: environment, files, admission, amounts.

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Node, Service};
use serde_json::{Value, json};

use super::{pairs, pod};
use crate::{
    Observed,
    admission::admit,
    env::environment,
    files::{ClusterDns, hosts, resolv_conf},
    observed::NodeSeen,
    probe::{Tally, pace},
    resources::{container_limits, qos},
};

fn seen() -> Observed {
    let map = ConfigMap { data: Some(pairs(&[("A", "1"), ("b", "2")])), ..ConfigMap::default() };
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "redis-main", "namespace": "default"},
        "spec": {"clusterIP": "10.0.0.11", "ports": [{"name": "db", "port": 6379, "protocol": "TCP"}]},
    }))
    .unwrap();
    Observed {
        config_maps: [("conf".to_owned(), Some(map))].into(),
        services: vec![service],
        node: NodeSeen {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            allocatable_cpu_milli: 2000,
            ..NodeSeen::default()
        },
        ..Observed::default()
    }
}

fn check_env(container: Value, wanted: &Expect) {
    let container: Container = serde_json::from_value(container).unwrap();
    let pod = pod(json!({}));
    let text = match environment(&pod, &container, &seen(), &["10.244.0.5".parse().unwrap()]) {
        Ok(all) => all.iter().map(|(k, v)| format!("{k}={v}\n")).collect(),
        Err(error) => format!("{error}\n"),
    };
    wanted.assert_eq(&text);
}

#[test]
fn environment_rows() {
    check_env(
        json!({"name": "c",
        "resources": {"limits": {"memory": "64Mi"}},
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "conf"}}],
        "env": [
            {"name": "X", "value": "$(P_A)-$(POD)-$(REDIS_MAIN_SERVICE_PORT)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "b"}}},
            {"name": "Y", "value": "$(POD)"},
        ]}),
        &expect![[r#"
            P_A=1
            P_b=2
            X=1-$(POD)-6379
            POD=web-0
            IP=10.244.0.5
            CPU=2
            MEM=64
            B=2
            Y=web-0
            REDIS_MAIN_PORT=tcp://10.0.0.11:6379
            REDIS_MAIN_PORT_6379_TCP=tcp://10.0.0.11:6379
            REDIS_MAIN_PORT_6379_TCP_ADDR=10.0.0.11
            REDIS_MAIN_PORT_6379_TCP_PORT=6379
            REDIS_MAIN_PORT_6379_TCP_PROTO=tcp
            REDIS_MAIN_SERVICE_HOST=10.0.0.11
            REDIS_MAIN_SERVICE_PORT=6379
            REDIS_MAIN_SERVICE_PORT_DB=6379
        "#]],
    );
    let missing = json!({"name": "c", "env": [
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "z"}}}]});
    check_env(
        missing,
        &expect![[r#"
        couldn't find key z in ConfigMap default/conf
    "#]],
    );
    let missing = json!({"name": "c", "env": [
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "z"}}}]});
    check_env(
        missing,
        &expect![[r#"
        secret "s" not found
    "#]],
    );
}

#[test]
fn hosts_and_resolv_conf() {
    let cluster =
        ClusterDns { servers: vec!["10.96.0.10".parse().unwrap()], domain: "cluster.local".into() };
    let node = "nameserver 192.0.2.53\nsearch lan.\noptions timeout:1\n";
    let web = pod(json!({"hostname": "web-0", "subdomain": "web",
        "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
    let address = ["10.244.0.5".parse().unwrap()];
    expect![[r#"
        # Kubernetes-managed hosts file.
        127.0.0.1	localhost
        ::1	localhost ip6-localhost ip6-loopback
        fe00::0	ip6-localnet
        fe00::0	ip6-mcastprefix
        fe00::1	ip6-allnodes
        fe00::2	ip6-allrouters
        10.244.0.5	web-0.web.default.svc.cluster.local	web-0

        # Entries added by HostAliases.
        1.2.3.4	a	b
    "#]]
    .assert_eq(&hosts(&web, &address, "cluster.local", ""));
    expect![[r#"
        nameserver 10.96.0.10
        search default.svc.cluster.local svc.cluster.local cluster.local lan
        options ndots:5
    "#]]
    .assert_eq(&resolv_conf(&web, &cluster, node));
    let own = pod(json!({"dnsPolicy": "None", "dnsConfig": {
        "nameservers": ["9.9.9.9"], "searches": ["x.y", "."],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}));
    expect![[r#"
        nameserver 9.9.9.9
        search x.y .
        options ndots:2 edns0
    "#]]
    .assert_eq(&resolv_conf(&own, &cluster, node));
    let shared = pod(json!({"hostNetwork": true}));
    expect![[r#"
        nameserver 192.0.2.53
        search lan
        options timeout:1
    "#]]
    .assert_eq(&resolv_conf(&shared, &cluster, node));
}

fn check_admission(spec: Value, wanted: &Expect) {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    }))
    .unwrap();
    let mut other = pod(json!({"containers": [{"name": "c",
        "resources": {"requests": {"cpu": "500m"}}, "ports": [{"containerPort": 80, "hostPort": 8080}]}]}));
    other.metadata.uid = Some("other".into());
    let text = match admit(&pod(spec), &node, [other].iter()) {
        None => "admitted".to_owned(),
        Some(refusal) => format!("{}: {}", refusal.reason, refusal.message),
    };
    wanted.assert_eq(&text);
}

#[test]
fn admission_rows() {
    let asks =
        |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
    check_admission(asks("1500m"), &expect!["admitted"]);
    check_admission(
        asks("1501m"),
        &expect![
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000"
        ],
    );
    // What the scheduler counts counts here, too: the sandbox's own cost, and a wish for the pod.
    let mut with_overhead = asks("600m");
    with_overhead["overhead"] = json!({"cpu": "1"});
    check_admission(
        with_overhead,
        &expect![
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000"
        ],
    );
    let mut as_a_whole = asks("100m");
    as_a_whole["resources"] = json!({"requests": {"cpu": "1600m"}});
    check_admission(
        as_a_whole,
        &expect![
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000"
        ],
    );
    let most = json!({"resources": {"requests": {"memory": "9223372036854775807"}}});
    check_admission(
        json!({"containers": [most, most]}),
        &expect![
            "OutOfmemory: Node didn't have enough resource: memory, requested: 9223372036854775807, used: 0, capacity: 4294967296"
        ],
    );
    check_admission(
        json!({"nodeSelector": {"disk": "hdd"}}),
        &expect![
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        ],
    );
    let port =
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 8080}]}]});
    check_admission(
        port,
        &expect![
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        ],
    );
}

#[test]
fn limits_and_quality() {
    let check = |resources: Value, wanted: Expect| {
        let pod = pod(json!({"containers": [{"name": "c", "resources": resources}]}));
        let spec = pod.spec.as_ref().unwrap();
        let limits = container_limits(&pod, &spec.containers[0], 8 << 30);
        wanted.assert_eq(&format!("{} {limits:?}", qos(spec)));
    };
    check(
        json!({}),
        expect![
            "BestEffort Limits { cpu_shares: Some(2), cpu_quota_us: None, memory_max_bytes: None, oom_score_adj: Some(1000) }"
        ],
    );
    check(
        json!({"requests": {"cpu": "250m", "memory": "1Gi"}}),
        expect![
            "Burstable Limits { cpu_shares: Some(256), cpu_quota_us: None, memory_max_bytes: None, oom_score_adj: Some(875) }"
        ],
    );
    check(
        json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
        expect![
            "Guaranteed Limits { cpu_shares: Some(1024), cpu_quota_us: Some(100000), memory_max_bytes: Some(1073741824), oom_score_adj: Some(-997) }"
        ],
    );
}

#[test]
fn results_count_in_a_row() {
    let probe =
        serde_json::from_value(json!({"successThreshold": 2, "failureThreshold": 3})).unwrap();
    let pace = pace(&probe);
    let mut tally = Tally::default();
    let results = [true, true, false, false, true, false, false, false, true, true];
    let verdicts: Vec<Option<bool>> =
        results.into_iter().map(|result| tally.record(result, pace)).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(verdicts, [None, yes, None, None, None, None, None, no, None, yes]);
}
