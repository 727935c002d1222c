//! Tables put into a real kernel, read back with Debian's `nft`, and packets sent through them.

mod flows;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    process::Command,
    time::Duration,
};

use expect_test::{Expect, expect};
use nix::sched::{CloneFlags, setns, unshare};

use super::{Firewall, Front, Protocol, Rule, Ruleset};
use crate::net::{Network, NetworkConfig};

const INSTANCE: &str = "0123abcd";

fn new_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let own: OwnedFd = std::fs::File::open("/proc/thread-self/ns/net").unwrap().into();
        Network::loopback(own.as_fd()).unwrap();
        own
    })
    .join()
    .unwrap()
}

fn within<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

fn ruleset(rules: impl IntoIterator<Item = (&'static str, Rule)>) -> Ruleset {
    Ruleset {
        bridge: "stead-0123abcd".to_owned(),
        pods: "10.244.0.0/24".parse().unwrap(),
        cluster: "10.244.0.0/16".parse().unwrap(),
        services: "10.96.0.0/12".parse().unwrap(),
        node_port_addresses: None,
        rules: rules.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect(),
    }
}

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn tcp(fronts: &[Front], backends: &[&str], affinity_s: Option<u32>) -> Rule {
    let backends = backends.iter().map(|backend| at(backend)).collect();
    Rule { protocol: Protocol::Tcp, fronts: fronts.to_vec(), backends, affinity_s }
}

/// What `nft` sees, in a namespace of its own, after these rulesets one after another.
#[track_caller]
fn check(rulesets: &[Ruleset], wanted: Expect) {
    wanted.assert_eq(&listed(rulesets));
}

fn listed(rulesets: &[Ruleset]) -> String {
    within(&new_namespace(), || {
        let mut firewall = Firewall::open(INSTANCE).unwrap();
        for ruleset in rulesets {
            firewall.apply(ruleset).unwrap();
        }
        list()
    })
}

fn list() -> String {
    #[expect(clippy::disallowed_methods, reason = "the second judge of what the kernel holds")]
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn web(backends: &[&str], affinity_s: Option<u32>) -> Rule {
    tcp(&[Front::Cluster(at("10.96.0.7:80")), Front::NodePort(30_000)], backends, affinity_s)
}

#[test]
#[expect(clippy::too_many_lines, reason = "the table, whole")]
fn as_nft_prints_it() {
    let mut all = ruleset([
        ("default/web/http", web(&["10.244.0.2:8080", "10.244.0.3:8080"], None)),
        (
            "default/one/x",
            tcp(
                &[Front::Address(at("192.0.2.1:443")), Front::HostPort(8443)],
                &["10.244.0.9:1"],
                None,
            ),
        ),
        ("default/none/x", tcp(&[Front::Address(at("192.0.2.2:443"))], &[], None)),
        (
            "default/sticky/x",
            tcp(
                &[Front::Cluster(at("10.96.0.8:80"))],
                &["10.244.0.2:1", "10.244.0.3:1"],
                Some(10_800),
            ),
        ),
    ]);
    all.node_port_addresses = Some(vec![Ipv4Addr::LOCALHOST]);
    check(
        &[all],
        expect![[r#"
            table ip stead-0123abcd {
            	map addresses {
            		type ipv4_addr . inet_proto . inet_service : verdict
            		elements = { 192.0.2.1 . tcp . 443 : goto svc-default/one/x }
            	}

            	set hairpin {
            		type ipv4_addr . ipv4_addr
            		elements = { 10.244.0.2 . 10.244.0.2,
            			     10.244.0.3 . 10.244.0.3,
            			     10.244.0.9 . 10.244.0.9 }
            	}

            	map host-ports {
            		type inet_proto . inet_service : verdict
            		elements = { tcp . 8443 : goto svc-default/one/x }
            	}

            	set node-addresses {
            		type ipv4_addr
            		elements = { 127.0.0.1 }
            	}

            	map node-ports {
            		type inet_proto . inet_service : verdict
            		elements = { tcp . 30000 : goto svc-default/web/http }
            	}

            	set refused {
            		type ipv4_addr . inet_proto . inet_service
            		elements = { 192.0.2.2 . tcp . 443 }
            	}

            	map services {
            		type ipv4_addr . inet_proto . inet_service : verdict
            		elements = { 10.96.0.7 . tcp . 80 : goto svc-default/web/http,
            			     10.96.0.8 . tcp . 80 : goto svc-default/sticky/x }
            	}

            	set svc-default/sticky/x/10.244.0.2.1 {
            		type ipv4_addr
            		size 65535
            		flags dynamic,timeout
            		timeout 3h
            	}

            	set svc-default/sticky/x/10.244.0.3.1 {
            		type ipv4_addr
            		size 65535
            		flags dynamic,timeout
            		timeout 3h
            	}

            	chain guard {
            		type filter hook prerouting priority raw; policy accept;
            		iifname "stead-0123abcd" ip daddr 127.0.0.0/8 drop
            	}

            	chain output {
            		type nat hook output priority -100; policy accept;
            		oifname "stead-0123abcd" ip daddr . meta l4proto . th dport vmap @services
            		ip daddr . meta l4proto . th dport vmap @addresses
            		ip daddr @node-addresses meta l4proto . th dport vmap @node-ports
            		fib daddr type local meta l4proto . th dport vmap @host-ports
            	}

            	chain postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		ct status dnat ip saddr . ip daddr @hairpin masquerade
            		ct status dnat ip saddr 127.0.0.0/8 oifname "stead-0123abcd" masquerade
            		ip saddr 10.244.0.0/24 ip daddr != 10.244.0.0/16 oifname != "stead-0123abcd" masquerade
            	}

            	chain prerouting {
            		type nat hook prerouting priority dstnat; policy accept;
            		iifname "stead-0123abcd" ip daddr . meta l4proto . th dport vmap @services
            		ip daddr . meta l4proto . th dport vmap @addresses
            		ip daddr @node-addresses meta l4proto . th dport vmap @node-ports
            		fib daddr type local meta l4proto . th dport vmap @host-ports
            	}

            	chain refuse {
            		type filter hook prerouting priority dstnat + 10; policy accept;
            		iifname "stead-0123abcd" ip daddr 10.96.0.0/12 reject with tcp reset
            		iifname "stead-0123abcd" ip daddr 10.96.0.0/12 reject
            		ip daddr . meta l4proto . th dport @refused reject with tcp reset
            		ip daddr . meta l4proto . th dport @refused reject
            	}

            	chain refuse-output {
            		type filter hook output priority filter; policy accept;
            		oifname "stead-0123abcd" ip daddr 10.96.0.0/12 reject with tcp reset
            		oifname "stead-0123abcd" ip daddr 10.96.0.0/12 reject
            		ip daddr . meta l4proto . th dport @refused reject with tcp reset
            		ip daddr . meta l4proto . th dport @refused reject
            	}

            	chain svc-default/one/x {
            		dnat to 10.244.0.9:1
            	}

            	chain svc-default/sticky/x {
            		ip saddr @svc-default/sticky/x/10.244.0.2.1 goto svc-default/sticky/x/10.244.0.2.1
            		ip saddr @svc-default/sticky/x/10.244.0.3.1 goto svc-default/sticky/x/10.244.0.3.1
            		numgen random mod 2 vmap { 0 : goto svc-default/sticky/x/10.244.0.2.1, 1 : goto svc-default/sticky/x/10.244.0.3.1 }
            	}

            	chain svc-default/sticky/x/10.244.0.2.1 {
            		update @svc-default/sticky/x/10.244.0.2.1 { ip saddr } dnat to 10.244.0.2:1
            	}

            	chain svc-default/sticky/x/10.244.0.3.1 {
            		update @svc-default/sticky/x/10.244.0.3.1 { ip saddr } dnat to 10.244.0.3:1
            	}

            	chain svc-default/web/http {
            		dnat ip to numgen random mod 2 map { 0 : 10.244.0.2 . 8080, 1 : 10.244.0.3 . 8080 }
            	}
            }
        "#]],
    );
}

#[test]
fn differences_lead_to_the_same_table() {
    let steps = [
        ruleset([]),
        ruleset([("a/a/a", web(&["10.244.0.2:80"], None))]),
        ruleset([("a/a/a", web(&["10.244.0.2:80", "10.244.0.3:80"], None))]),
        ruleset([("a/a/a", web(&["10.244.0.4:80", "10.244.0.3:80"], Some(60)))]),
        ruleset([("a/a/a", web(&["10.244.0.4:80", "10.244.0.5:80", "10.244.0.6:80"], Some(60)))]),
        ruleset([("b/b/b", web(&["10.244.0.4:80"], None))]),
        ruleset([("b/b/b", web(&[], None))]),
        ruleset([]),
    ];
    // The order in which chains and sets were made shows in the listing, and nothing else does.
    let sorted = |text: String| {
        let mut blocks: Vec<String> = text.split("\n\n").map(|it| it.trim().to_owned()).collect();
        blocks.sort();
        blocks.join("\n\n").replace("table ip stead-0123abcd {\n\t", "")
    };
    for from in &steps {
        for to in &steps {
            let fresh = sorted(listed(std::slice::from_ref(to)));
            assert_eq!(
                sorted(listed(&[from.clone(), to.clone()])).replace(['{', '}', '\n'], ""),
                fresh.replace(['{', '}', '\n'], "")
            );
        }
    }
}

#[test]
fn a_table_that_someone_changed_is_put_back() {
    within(&new_namespace(), || {
        let mut firewall = Firewall::open(INSTANCE).unwrap();
        let one = ruleset([("a/a/a", web(&["10.244.0.2:80"], None))]);
        firewall.apply(&one).unwrap();
        let whole = list();
        Firewall::open(INSTANCE).unwrap().remove().unwrap();
        assert_eq!(list(), "");
        firewall.apply(&ruleset([])).unwrap();
        firewall.apply(&one).unwrap();
        assert_eq!(list().len(), whole.len());
        firewall.remove().unwrap();
        firewall.remove().unwrap();
        assert_eq!(list(), "");
    });
}

#[test]
fn thousands_of_services() {
    within(&new_namespace(), || {
        let mut firewall = Firewall::open(INSTANCE).unwrap();
        let mut all = ruleset([]);
        for number in 0..2_000u32 {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 1, 0).to_bits() + number);
            let front = Front::Cluster(SocketAddrV4::new(address, 80));
            let rule = tcp(&[front], &["10.244.0.2:80", "10.244.0.3:80"], None);
            all.rules.insert(format!("ns/service-{number}/http"), rule);
        }
        let many: Vec<SocketAddrV4> = (0..5_000u32)
            .map(|number| {
                SocketAddrV4::new(
                    Ipv4Addr::from_bits(Ipv4Addr::new(10, 244, 0, 0).to_bits() + number),
                    80,
                )
            })
            .collect();
        let front = vec![Front::Cluster(at("10.97.0.1:80"))];
        let wide =
            Rule { protocol: Protocol::Tcp, fronts: front, backends: many, affinity_s: None };
        all.rules.insert("ns/wide/http".to_owned(), wide);
        firewall.apply(&all).unwrap();
        all.rules.remove("ns/service-7/http").unwrap();
        firewall.apply(&all).unwrap();
        firewall.remove().unwrap();
    });
}

/// A node with two pods that say their number on port 8080, TCP and UDP.
struct World {
    node: OwnedFd,
    pods: Vec<OwnedFd>,
}

impl World {
    fn new() -> Self {
        let node = new_namespace();
        let config = NetworkConfig {
            instance: INSTANCE.to_owned(),
            pods: "10.244.0.0/24".parse().unwrap(),
            services: "10.96.0.0/12".parse().unwrap(),
            mtu: None,
        };
        let network = within(&node, || Network::up(config).unwrap());
        let pods: Vec<OwnedFd> = (0..2).map(|_| new_namespace()).collect();
        for (number, pod) in pods.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            let address = Ipv4Addr::new(10, 244, 0, 2 + number);
            within(&node, || network.attach(pod.as_fd(), &number.to_string(), address).unwrap());
            let (tcp, udp) = within(pod, || {
                (
                    TcpListener::bind("0.0.0.0:8080").unwrap(),
                    UdpSocket::bind("0.0.0.0:8080").unwrap(),
                )
            });
            let text = number.to_string();
            let answer = text.clone();
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    let mut stream = stream.unwrap();
                    let peer = stream.peer_addr().unwrap().ip();
                    if write!(stream, "{answer} {peer}").is_err() {
                        return;
                    }
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 9];
                while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    if udp.send_to(text.as_bytes(), peer).is_err() {
                        return;
                    }
                }
            });
        }
        Self { node, pods }
    }
}

/// Which pod answered, and whom it saw.
fn ask(target: &str) -> String {
    match TcpStream::connect_timeout(&target.parse().unwrap(), Duration::from_secs(5)) {
        Ok(mut stream) => {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn ask_often(target: &str) -> BTreeSet<String> {
    (0..40).map(|_| ask(target)).collect()
}

fn both(source: &str) -> BTreeSet<String> {
    BTreeSet::from([format!("0 {source}"), format!("1 {source}")])
}

const PODS: [&str; 2] = ["10.244.0.2:8080", "10.244.0.3:8080"];

#[test]
fn packets_find_their_pods() {
    let world = World::new();
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    let udp = Rule {
        protocol: Protocol::Udp,
        fronts: vec![Front::Cluster(at("10.96.0.10:53"))],
        backends: vec![at("10.244.0.3:8080")],
        affinity_s: None,
    };
    firewall
        .apply(&ruleset([
            ("d/web/http", web(&PODS, None)),
            ("d/self/http", tcp(&[Front::Cluster(at("10.96.0.9:80"))], &["10.244.0.2:8080"], None)),
            ("d/host/http", tcp(&[Front::HostPort(8443)], &["10.244.0.2:8080"], None)),
            ("d/none/http", tcp(&[Front::Cluster(at("10.96.0.11:80"))], &[], None)),
            ("d/dns/dns", udp),
        ]))
        .unwrap();
    // From the node: the Service, a NodePort on loopback, a host port.
    assert_eq!(within(&world.node, || ask_often("10.96.0.7:80")), both("10.244.0.1"));
    assert_eq!(within(&world.node, || ask_often("127.0.0.1:30000")), both("10.244.0.1"));
    assert_eq!(within(&world.node, || ask("127.0.0.1:8443")), "0 10.244.0.1");
    // From a pod: neighbours and itself (through the node, so it sees the node), refusals.
    let seen = within(&world.pods[0], || ask_often("10.96.0.7:80"));
    assert_eq!(seen, BTreeSet::from(["0 10.244.0.1".to_owned(), "1 10.244.0.2".to_owned()]));
    assert_eq!(within(&world.pods[0], || ask("10.96.0.9:80")), "0 10.244.0.1");
    assert_eq!(within(&world.pods[1], || ask("10.244.0.1:30000")).len(), "0 10.244.0.3".len());
    for place in [&world.node, &world.pods[1]] {
        assert_eq!(within(place, || ask("10.96.0.11:80")), "refused");
        assert_eq!(within(place, || ask("10.96.0.7:81")), "refused");
        assert_eq!(within(place, || ask("10.100.0.1:1")), "refused");
    }
    let answer = within(&world.pods[0], || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect("10.96.0.10:53").unwrap();
        socket.send(b"?").unwrap();
        let mut buffer = [0; 9];
        let count = socket.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    });
    assert_eq!(answer, b"1");
}

#[test]
fn clients_stay_with_their_pod() {
    let world = World::new();
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    firewall.apply(&ruleset([("d/web/http", web(&PODS, Some(60)))])).unwrap();
    let first = within(&world.node, || ask_often("10.96.0.7:80"));
    assert_eq!(first.len(), 1, "{first:?}");
    // A change elsewhere, and of the Service itself, keeps the memory.
    let mut more = PODS.to_vec();
    more.push("10.244.0.4:8080");
    firewall.apply(&ruleset([("d/web/http", web(&more, Some(60)))])).unwrap();
    assert_eq!(within(&world.node, || ask_often("10.96.0.7:80")), first);
    // Its pod gone, the client moves.
    let other = if first.iter().next().unwrap().starts_with('0') { PODS[1] } else { PODS[0] };
    firewall.apply(&ruleset([("d/web/http", web(&[other], Some(60)))])).unwrap();
    let moved = within(&world.node, || ask_often("10.96.0.7:80"));
    assert!(moved.len() == 1 && moved != first, "{moved:?}");
}

#[test]
fn pods_do_not_reach_the_nodes_loopback() {
    let world = World::new();
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    firewall.apply(&ruleset(BTreeMap::new())).unwrap();
    let listener = within(&world.node, || TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    within(&world.pods[0], || {
        // With the pod's own loopback out of the way, 127.0.0.1 would be routed to the node.
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
        let result = TcpStream::connect_timeout(&target, Duration::from_millis(200));
        assert!(result.is_err());
    });
}

#[test]
fn the_world_sees_the_node_and_reaches_node_ports() {
    let world = World::new();
    let mut firewall = within(&world.node, || Firewall::open(INSTANCE).unwrap());
    firewall.apply(&ruleset([("d/web/http", web(&[PODS[0]], None))])).unwrap();
    // Another bridge of the node stands for the rest of the world.
    let outside = new_namespace();
    let config = NetworkConfig {
        instance: "ffff0000".to_owned(),
        pods: "192.0.2.0/24".parse().unwrap(),
        services: "10.112.0.0/12".parse().unwrap(),
        mtu: None,
    };
    within(&world.node, || {
        let network = Network::up(config).unwrap();
        network.attach(outside.as_fd(), "world", Ipv4Addr::new(192, 0, 2, 2)).unwrap();
    });
    assert_eq!(within(&outside, || ask("192.0.2.1:30000")), "0 192.0.2.2");
    assert_eq!(within(&outside, || ask("10.244.0.3:8080")), "1 192.0.2.2");
    let listener = within(&outside, || TcpListener::bind("192.0.2.2:80").unwrap());
    let caller = std::thread::spawn(move || listener.accept().unwrap().1.ip().to_string());
    within(&world.pods[0], || drop(TcpStream::connect("192.0.2.2:80").unwrap()));
    assert_eq!(caller.join().unwrap(), "192.0.2.1");
}
