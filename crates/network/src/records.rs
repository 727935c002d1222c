//! What DNS says of a Service, by the specification of DNS-based service discovery 1.1.0, and
//! where that leaves room, as CoreDNS's `kubernetes` plugin does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
};

use crate::endpoints::is_ready;

/// One record; its name stands beside it. Names have no final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name for everything.
    Cname(String),
    /// A port of a host. Priority is always 0.
    Srv {
        /// Share of this target among all of the name, 1..=100.
        weight: u16,
        /// Port number.
        port: u16,
        /// Name of the host.
        target: String,
    },
    /// The name of an address.
    Ptr(String),
}

/// Records by lower-case name. A name without records exists and says so (NODATA).
pub type Records = BTreeMap<String, Vec<Record>>;

/// Everything that one Service gives to the zone of `domain` (`cluster.local`), and to the
/// reverse zones of its addresses.
#[must_use]
pub fn service_records(service: &Service, slices: &[Arc<EndpointSlice>], domain: &str) -> Records {
    let meta = &service.metadata;
    let (Some(name), Some(namespace), Some(spec)) = (&meta.name, &meta.namespace, &service.spec)
    else {
        return Records::new();
    };
    let base = format!("{name}.{namespace}.svc.{domain}").to_ascii_lowercase();
    let mut found = Found::default();
    found.entry(&base);
    if spec.type_.as_deref() == Some("ExternalName") {
        if let Some(target) = spec.external_name.as_deref().filter(|target| !target.is_empty()) {
            let target = target.trim_end_matches('.').to_ascii_lowercase();
            found.add(&base, Record::Cname(target));
        }
        return found.finish();
    }
    let addresses = cluster_addresses(spec);
    for address in &addresses {
        found.address(&base, *address);
        found.add(&reverse_name(*address), Record::Ptr(base.clone()));
    }
    if !addresses.is_empty() {
        for port in spec.ports.iter().flatten() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            found.port(&base, port.name.as_deref(), protocol, port.port, &base);
        }
    }
    let is_headless = addresses.is_empty();
    for slice in slices {
        for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
            let ports = slice.ports.as_deref().unwrap_or_default();
            found.endpoint(&base, endpoint, ports, is_headless);
        }
    }
    found.finish()
}

/// `1.0.96.10.in-addr.arpa`, or its IPv6 counterpart.
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles =
                address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

fn cluster_addresses(spec: &ServiceSpec) -> Vec<IpAddr> {
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = spec.cluster_ip.iter().filter(|_| all.is_empty());
    all.iter().chain(first).filter_map(|ip| ip.parse().ok()).collect()
}

#[derive(Default)]
struct Found(BTreeMap<String, BTreeSet<Record>>);

impl Found {
    fn entry(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default();
    }

    fn add(&mut self, name: &str, record: Record) {
        self.0.entry(name.to_owned()).or_default().insert(record);
    }

    fn address(&mut self, name: &str, address: IpAddr) {
        self.add(
            name,
            match address {
                IpAddr::V4(address) => Record::A(address),
                IpAddr::V6(address) => Record::Aaaa(address),
            },
        );
    }

    /// SRV records of a port: under its own name, where it has one, and under the bare name, which
    /// programs that look for their peers ask.
    fn port(&mut self, base: &str, name: Option<&str>, protocol: &str, port: i32, target: &str) {
        let Ok(port) = u16::try_from(port) else { return };
        let record = || Record::Srv { weight: 0, port, target: target.to_owned() };
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let full = format!("_{name}._{protocol}.{base}").to_ascii_lowercase();
            self.add(&full, record());
        }
        self.add(base, record());
    }

    fn endpoint(
        &mut self,
        base: &str,
        endpoint: &Endpoint,
        ports: &[EndpointPort],
        is_headless: bool,
    ) {
        let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
        for address in endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
            let dashed = || address.to_string().replace(['.', ':'], "-");
            let label = hostname.map_or_else(dashed, str::to_ascii_lowercase);
            let own = format!("{label}.{base}");
            self.address(&own, address);
            if hostname.is_some() {
                self.add(&reverse_name(address), Record::Ptr(own.clone()));
            }
            if is_headless {
                self.address(base, address);
            }
            for port in ports {
                let Some(number) = port.port else { continue };
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                if is_headless {
                    self.port(base, port.name.as_deref(), protocol, number, &own);
                }
                self.port(&own, None, protocol, number, &own);
            }
        }
    }

    /// The targets of a name share its weight evenly.
    fn finish(self) -> Records {
        let weigh = |records: BTreeSet<Record>| {
            let targets = records.iter().filter(|it| matches!(it, Record::Srv { .. })).count();
            let share = u16::try_from(100 / targets.max(1)).unwrap_or(100).max(1);
            records
                .into_iter()
                .map(|record| match record {
                    Record::Srv { port, target, .. } => Record::Srv { weight: share, port, target },
                    other => other,
                })
                .collect()
        };
        self.0.into_iter().map(|(name, records)| (name, weigh(records))).collect()
    }
}
