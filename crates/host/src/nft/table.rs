//! The table as a value: which chains, sets and rules say what a [`Ruleset`] wants.

use std::{collections::BTreeMap, net::SocketAddrV4};

use stdx::cidr::Cidr;

use super::{
    Front, Protocol, Rule, Ruleset,
    expression::{
        Choices, Expression as E, FIRST, IN_LINK, NETWORK, OUT_LINK, PROTOCOL, SECOND,
        SOURCE_ADDRESS, TARGET_ADDRESS, TARGET_PORT, THIRD, TRANSPORT, VERDICT, Verdict,
    },
};

/// Target address, protocol and port of Services, for pods and programs on this node.
const SERVICES: &str = "services";
/// The same of other addresses, for everyone.
const ADDRESSES: &str = "addresses";
/// Protocol and port of NodePorts.
const NODE_PORTS: &str = "node-ports";
/// Protocol and port on every address of the node.
const HOST_PORTS: &str = "host-ports";
/// Addresses on which NodePorts answer.
const NODE_ADDRESSES: &str = "node-addresses";
/// Pairs of equal addresses: a pod that reached itself through a Service.
const HAIRPIN: &str = "hairpin";
/// Addresses outside the Service block that have no backend now.
const REFUSED: &str = "refused";

/// `IPS_DST_NAT` of `linux/netfilter/nf_conntrack_common.h`.
const TARGET_CHANGED: u32 = 1 << 5;
/// `RTN_LOCAL`: an address of this node.
const LOCAL: u32 = 2;
/// Clients that an affinity set remembers at most; further ones get a random backend.
pub(super) const REMEMBERED_MAX: u32 = 65_535;

/// Numbers of `nft`'s data types, by which it prints sets.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) sets: BTreeMap<String, Set>,
    pub(super) chains: BTreeMap<String, Chain>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Vec<E>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) kind: &'static str,
    /// 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub(super) number: u32,
    pub(super) priority: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) key_type: u32,
    pub(super) key_bytes: u32,
    pub(super) kind: SetKind,
    /// Key to verdict; without one in plain sets.
    pub(super) elements: BTreeMap<Vec<u8>, Option<Verdict>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetKind {
    Plain,
    Verdicts,
    /// Filled by the kernel; what it holds goes after this many seconds.
    Remembering(u32),
}

impl Table {
    pub(super) fn of(ruleset: &Ruleset) -> Self {
        let mut table = Self::default();
        table.add_sets();
        table.add_base_chains(ruleset);
        for (name, rule) in &ruleset.rules {
            table.add_rule(&format!("svc-{name}"), rule);
        }
        if let Some(addresses) = &ruleset.node_port_addresses {
            let keys = addresses.iter().map(|address| address.octets().to_vec());
            table.put(NODE_ADDRESSES, keys, None);
        }
        table
    }

    fn add_sets(&mut self) {
        let full = (TYPE_ADDRESS << 12) | (TYPE_PROTOCOL << 6) | TYPE_PORT;
        let short = (TYPE_PROTOCOL << 6) | TYPE_PORT;
        let pair = (TYPE_ADDRESS << 6) | TYPE_ADDRESS;
        for (name, key_type, key_bytes, kind) in [
            (SERVICES, full, 12, SetKind::Verdicts),
            (ADDRESSES, full, 12, SetKind::Verdicts),
            (NODE_PORTS, short, 8, SetKind::Verdicts),
            (HOST_PORTS, short, 8, SetKind::Verdicts),
            (NODE_ADDRESSES, TYPE_ADDRESS, 4, SetKind::Plain),
            (HAIRPIN, pair, 8, SetKind::Plain),
            (REFUSED, full, 12, SetKind::Plain),
        ] {
            let set = Set { key_type, key_bytes, kind, elements: BTreeMap::new() };
            self.sets.insert(name.to_owned(), set);
        }
    }

    fn add_base_chains(&mut self, ruleset: &Ruleset) {
        let from_pods = || is_link(IN_LINK, &ruleset.bridge);
        let to_pods = || is_link(OUT_LINK, &ruleset.bridge);
        // route_localnet lets packets to 127.0.0.0/8 in from the bridge; only answers may come.
        self.base(
            "guard",
            "filter",
            0,
            -300,
            vec![rule([
                from_pods(),
                in_block(TARGET_ADDRESS, loopback()),
                vec![E::Verdict(Verdict::Drop)],
            ])],
        );
        self.base("prerouting", "nat", 0, -100, dispatch(ruleset, from_pods()));
        // Programs on this node: the route of the Service block chose the instance.
        self.base("output", "nat", 3, -100, dispatch(ruleset, to_pods()));
        let leaves = E::Differs { register: FIRST, value: link_name(&ruleset.bridge) };
        self.base(
            "postrouting",
            "nat",
            4,
            100,
            vec![
                rule([
                    target_changed(),
                    vec![address(SOURCE_ADDRESS, FIRST), address(TARGET_ADDRESS, SECOND)],
                    vec![lookup(HAIRPIN), E::Masquerade],
                ]),
                rule([
                    target_changed(),
                    in_block(SOURCE_ADDRESS, loopback()),
                    to_pods(),
                    vec![E::Masquerade],
                ]),
                rule([
                    in_block(SOURCE_ADDRESS, ruleset.pods),
                    outside_block(TARGET_ADDRESS, ruleset.cluster),
                    vec![E::Meta { key: OUT_LINK, into: FIRST }, leaves, E::Masquerade],
                ]),
            ],
        );
        // Before routing, so that a packet that leads nowhere is refused and not routed back.
        self.base("refuse", "filter", 0, -90, refusals(ruleset, &from_pods()));
        self.base("refuse-output", "filter", 3, 0, refusals(ruleset, &to_pods()));
    }

    fn base(
        &mut self,
        name: &str,
        kind: &'static str,
        number: u32,
        priority: i32,
        rules: Vec<Vec<E>>,
    ) {
        let hook = Some(Hook { kind, number, priority });
        self.chains.insert(name.to_owned(), Chain { hook, rules });
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) {
        if rule.backends.is_empty() {
            for front in &rule.fronts {
                if let Front::Address(at) = front {
                    self.put(REFUSED, [full_bytes(*at, rule.protocol.number())], None);
                }
            }
            return;
        }
        let pairs = rule
            .backends
            .iter()
            .map(|backend| [backend.ip().octets(), backend.ip().octets()].concat());
        self.put(HAIRPIN, pairs, None);
        let rules = match rule.affinity_s {
            Some(seconds) => self.sticky(chain, rule, seconds),
            None => vec![to_any(&rule.backends)],
        };
        self.chains.insert(chain.to_owned(), Chain { hook: None, rules });
        let verdict = Verdict::Goto(chain.to_owned());
        let protocol = rule.protocol.number();
        for front in &rule.fronts {
            let (map, key) = match front {
                Front::Cluster(at) => (SERVICES, full_bytes(*at, protocol)),
                Front::Address(at) => (ADDRESSES, full_bytes(*at, protocol)),
                Front::NodePort(port) => (NODE_PORTS, short_bytes(*port, protocol)),
                Front::HostPort(port) => (HOST_PORTS, short_bytes(*port, protocol)),
            };
            self.put(map, [key], Some(verdict.clone()));
        }
    }

    /// A chain and a memory for each backend: first whoever remembers the client, then any.
    fn sticky(&mut self, chain: &str, rule: &Rule, seconds: u32) -> Vec<Vec<E>> {
        let mut rules = Vec::new();
        let mut verdicts = Vec::new();
        for backend in &rule.backends {
            let own = format!("{chain}/{}.{}", backend.ip(), backend.port());
            let kind = SetKind::Remembering(seconds);
            let set = Set { key_type: TYPE_ADDRESS, key_bytes: 4, kind, elements: BTreeMap::new() };
            self.sets.insert(own.clone(), set);
            let goto = Verdict::Goto(own.clone());
            rules.push(vec![
                address(SOURCE_ADDRESS, FIRST),
                lookup(&own),
                E::Verdict(goto.clone()),
            ]);
            verdicts.push(goto);
            let mut steps =
                vec![address(SOURCE_ADDRESS, FIRST), E::Remember { set: own.clone(), from: FIRST }];
            steps.extend(to_any(std::slice::from_ref(backend)));
            self.chains.insert(own, Chain { hook: None, rules: vec![steps] });
        }
        let below = u32::try_from(verdicts.len()).unwrap_or(u32::MAX);
        rules.push(vec![
            E::Random { below, into: FIRST },
            E::Choose { choices: Choices::Verdicts(verdicts), from: FIRST, into: VERDICT },
        ]);
        rules
    }

    fn put(
        &mut self,
        set: &str,
        keys: impl IntoIterator<Item = Vec<u8>>,
        verdict: Option<Verdict>,
    ) {
        if let Some(set) = self.sets.get_mut(set) {
            set.elements.extend(keys.into_iter().map(|key| (key, verdict.clone())));
        }
    }
}

/// The rules that send a packet to the chain of its front.
fn dispatch(ruleset: &Ruleset, link: Vec<E>) -> Vec<Vec<E>> {
    let take = |map: &str| E::Lookup { set: map.to_owned(), from: FIRST, into: Some(VERDICT) };
    let is_own = || {
        vec![
            E::TargetType { into: FIRST },
            E::Equal { register: FIRST, value: LOCAL.to_ne_bytes().to_vec() },
        ]
    };
    let has_node_ports = match ruleset.node_port_addresses {
        Some(_) => vec![address(TARGET_ADDRESS, FIRST), lookup(NODE_ADDRESSES)],
        None => is_own(),
    };
    let short_key = || {
        vec![
            E::Meta { key: PROTOCOL, into: FIRST },
            E::Payload { base: TRANSPORT, offset: TARGET_PORT, length: 2, into: SECOND },
        ]
    };
    vec![
        rule([link, full_key(), vec![take(SERVICES)]]),
        rule([full_key(), vec![take(ADDRESSES)]]),
        rule([has_node_ports, short_key(), vec![take(NODE_PORTS)]]),
        rule([is_own(), short_key(), vec![take(HOST_PORTS)]]),
    ]
}

/// What nothing mapped: resets for TCP, which the kernel does not ration, and ICMP for the rest.
fn refusals(ruleset: &Ruleset, link: &[E]) -> Vec<Vec<E>> {
    let is_tcp = || {
        vec![
            E::Meta { key: PROTOCOL, into: FIRST },
            E::Equal { register: FIRST, value: vec![Protocol::Tcp.number()] },
        ]
    };
    let unmapped = || rule([link.to_vec(), in_block(TARGET_ADDRESS, ruleset.services)]);
    let refused = || rule([full_key(), vec![lookup(REFUSED)]]);
    vec![
        rule([unmapped(), is_tcp(), vec![E::Reset]]),
        rule([unmapped(), vec![E::Refuse]]),
        rule([refused(), is_tcp(), vec![E::Reset]]),
        rule([refused(), vec![E::Refuse]]),
    ]
}

fn to_any(backends: &[SocketAddrV4]) -> Vec<E> {
    let target = E::Target { address: FIRST, port: SECOND };
    if let [only] = backends {
        return vec![
            E::Put { register: FIRST, value: only.ip().octets().to_vec() },
            E::Put { register: SECOND, value: only.port().to_be_bytes().to_vec() },
            target,
        ];
    }
    let targets = backends
        .iter()
        .map(|backend| {
            [&backend.ip().octets()[..], &backend.port().to_be_bytes(), &[0, 0]].concat()
        })
        .collect();
    let below = u32::try_from(backends.len()).unwrap_or(u32::MAX);
    vec![
        E::Random { below, into: FIRST },
        E::Choose { choices: Choices::Targets(targets), from: FIRST, into: FIRST },
        target,
    ]
}

fn rule<const N: usize>(parts: [Vec<E>; N]) -> Vec<E> {
    parts.into_iter().flatten().collect()
}

fn lookup(set: &str) -> E {
    E::Lookup { set: set.to_owned(), from: FIRST, into: None }
}

fn address(offset: u32, into: u32) -> E {
    E::Payload { base: NETWORK, offset, length: 4, into }
}

fn full_key() -> Vec<E> {
    vec![
        address(TARGET_ADDRESS, FIRST),
        E::Meta { key: PROTOCOL, into: SECOND },
        E::Payload { base: TRANSPORT, offset: TARGET_PORT, length: 2, into: THIRD },
    ]
}

fn full_bytes(at: SocketAddrV4, protocol: u8) -> Vec<u8> {
    [&at.ip().octets()[..], &short_bytes(at.port(), protocol)].concat()
}

/// Each part of a key fills whole registers.
fn short_bytes(port: u16, protocol: u8) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![protocol, 0, 0, 0, high, low, 0, 0]
}

fn is_link(key: u32, name: &str) -> Vec<E> {
    vec![E::Meta { key, into: FIRST }, E::Equal { register: FIRST, value: link_name(name) }]
}

/// Names of links are compared whole, with their padding.
fn link_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn in_block(offset: u32, block: Cidr) -> Vec<E> {
    vec![
        address(offset, FIRST),
        E::Mask { register: FIRST, mask: block.mask().octets() },
        E::Equal { register: FIRST, value: block.first().octets().to_vec() },
    ]
}

fn outside_block(offset: u32, block: Cidr) -> Vec<E> {
    vec![
        address(offset, FIRST),
        E::Mask { register: FIRST, mask: block.mask().octets() },
        E::Differs { register: FIRST, value: block.first().octets().to_vec() },
    ]
}

fn target_changed() -> Vec<E> {
    vec![
        E::ConnectionStatus { into: FIRST },
        E::Mask { register: FIRST, mask: TARGET_CHANGED.to_ne_bytes() },
        E::Differs { register: FIRST, value: vec![0; 4] },
    ]
}

fn loopback() -> Cidr {
    Cidr::new(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)
        .unwrap_or_else(|| unreachable!("8 is a prefix"))
}
