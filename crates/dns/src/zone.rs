//! The zone: which records a name has, and what to say of names that have none.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use network::records::{Record, Records};
use stdx::cidr::Cidr;

use crate::wire::{self, Name};

/// Types of records.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Canonical name.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Service.
    pub const SRV: u16 = 33;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// All.
    pub const ANY: u16 = 255;
}

/// A record as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRecord {
    /// Its type.
    pub kind: u16,
    /// Its data, names uncompressed.
    pub bytes: Box<[u8]>,
    /// The name that the data ends in, for SRV and CNAME: its addresses may be sent along.
    pub target: Option<Name>,
}

/// What the zone says of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// It exists; of the wanted type it may have none.
    Records(Vec<&'a WireRecord>),
    /// It exists, and this record was made on the spot.
    Made(WireRecord),
    /// It is another name for this one.
    Alias(&'a WireRecord),
    /// No such name, and no other server may say otherwise.
    Absent,
    /// Someone else's name.
    Foreign,
}

/// Whose records these are: namespace and name of a Service.
type Owner = (String, String);

/// All names of the cluster.
#[derive(Debug)]
pub struct Zone {
    domain: Name,
    services: Name,
    pods: Name,
    blocks: Vec<Cidr>,
    names: BTreeMap<Name, Entry>,
    /// How many names lie below each name: those exist too.
    ancestors: BTreeMap<Name, usize>,
    owned: BTreeMap<Owner, Vec<Name>>,
    namespaces: BTreeSet<Vec<u8>>,
    /// Grows with each change, as secondaries would want it.
    serial: u32,
    /// Whether it shows the whole cluster.
    pub is_complete: bool,
}

#[derive(Debug, Default)]
struct Entry {
    by_owner: BTreeMap<Owner, Vec<WireRecord>>,
}

impl Zone {
    /// An empty zone for `domain`, served under `service_address`.
    #[must_use]
    pub fn new(domain: &str, service_address: IpAddr, blocks: &[Cidr]) -> Self {
        let root = || Name::from([0]);
        let name = |text: String| wire::encode(&text).unwrap_or_else(root);
        let mut zone = Self {
            domain: name(domain.to_owned()),
            services: name(format!("svc.{domain}")),
            pods: name(format!("pod.{domain}")),
            blocks: blocks.to_vec(),
            names: BTreeMap::new(),
            ancestors: BTreeMap::new(),
            owned: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            serial: 1,
            is_complete: false,
        };
        zone.add_own_names(domain, service_address);
        zone
    }

    /// What the zone says of itself: its server, and the version of its layout.
    fn add_own_names(&mut self, domain: &str, service_address: IpAddr) {
        let server = format!("ns.dns.{domain}");
        let address = match service_address {
            IpAddr::V4(address) => Record::A(address),
            IpAddr::V6(address) => Record::Aaaa(address),
        };
        self.replace("", "", &Records::from([(server.clone(), vec![address])]));
        let mut put = |name: Option<Name>, kind: u16, bytes: Vec<u8>| {
            let Some(name) = name else { return };
            let record = WireRecord { kind, bytes: bytes.into(), target: None };
            self.insert(name, &(String::new(), String::new()), vec![record]);
        };
        let server = wire::encode(&server).map(Vec::from).unwrap_or_default();
        put(wire::encode(domain), kind::NS, server);
        put(wire::encode(&format!("dns-version.{domain}")), kind::TXT, b"\x051.1.0".to_vec());
    }

    /// Puts a Service's records in the place of its former ones; none removes it.
    pub fn replace(&mut self, namespace: &str, name: &str, records: &Records) {
        let owner = (namespace.to_owned(), name.to_owned());
        for name in self.owned.remove(&owner).unwrap_or_default() {
            self.withdraw(&name, &owner);
        }
        for (name, records) in records {
            let Some(key) = wire::encode(name) else { continue };
            let records = records.iter().filter_map(to_wire).collect();
            self.insert(key, &owner, records);
        }
        self.serial = self.serial.wrapping_add(1);
    }

    /// Notes that a namespace exists, or no longer does.
    pub fn set_namespace(&mut self, name: &str, exists: bool) {
        let label = name.to_ascii_lowercase().into_bytes();
        if exists {
            self.namespaces.insert(label);
        } else {
            self.namespaces.remove(&label);
        }
    }

    /// What is to be said of `name`, asked for records of type `wanted`.
    #[must_use]
    pub fn find(&self, name: &[u8], wanted: u16) -> Found<'_> {
        if let Some(entry) = self.names.get(name) {
            let all = || entry.by_owner.values().flatten();
            if let Some(alias) = all().find(|record| record.kind == kind::CNAME)
                && !matches!(wanted, kind::CNAME | kind::ANY)
            {
                return Found::Alias(alias);
            }
            let fits = |record: &&WireRecord| wanted == kind::ANY || record.kind == wanted;
            return Found::Records(all().filter(fits).collect());
        }
        if let Some(front) = wire::below(name, &self.pods) {
            return self.find_pod(front, wanted);
        }
        if self.ancestors.contains_key(name) || *name == *self.services {
            return Found::Records(Vec::new());
        }
        if let Some(front) = wire::below(name, &self.services) {
            return self.namespace_alone(front);
        }
        if wire::below(name, &self.domain).is_some() {
            return Found::Absent;
        }
        match reverse_block(name) {
            Some(block) if self.blocks.iter().any(|own| covers(*own, block)) => {
                if block.prefix() == 32 { Found::Absent } else { Found::Records(Vec::new()) }
            }
            _ => Found::Foreign,
        }
    }

    /// The name under whose authority `name` is ours, and its SOA record.
    #[must_use]
    pub fn authority(&self, name: &[u8]) -> (Name, WireRecord) {
        let owner = match wire::below(name, &self.domain) {
            Some(_) => self.domain.clone(),
            // Reverse names: the widest zone that a block of ours fills with whole labels.
            None => reverse_apex(name),
        };
        let of_domain = |label: &str| {
            let mut bytes = Vec::new();
            for label in label.split('.') {
                bytes.push(u8::try_from(label.len()).unwrap_or(0));
                bytes.extend_from_slice(label.as_bytes());
            }
            bytes.extend_from_slice(&self.domain);
            bytes
        };
        let mut bytes = of_domain("ns.dns");
        bytes.extend(of_domain("hostmaster"));
        // Refresh, retry and expire as CoreDNS has them; the last is how long absence may be cached.
        for number in [self.serial, 7_200, 1_800, 86_400, crate::answer::TTL_S] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        (owner, WireRecord { kind: kind::SOA, bytes: bytes.into(), target: None })
    }

    /// Whether this is the name of the zone itself, which has an SOA record to ask for.
    #[must_use]
    pub fn is_apex(&self, name: &[u8]) -> bool {
        *name == *self.domain
    }

    /// `10-244-0-5.default.pod.…` is that address wherever the namespace exists.
    fn find_pod(&self, front: &[u8], wanted: u16) -> Found<'_> {
        let labels: Vec<&[u8]> = wire::labels(front).collect();
        match labels[..] {
            [] => Found::Records(Vec::new()),
            [namespace] if self.namespaces.contains(namespace) => Found::Records(Vec::new()),
            [label, namespace] if self.namespaces.contains(namespace) => match dashed(label) {
                Some(address) => {
                    let record = address_record(address);
                    if matches!(wanted, kind::ANY) || record.kind == wanted {
                        Found::Made(record)
                    } else {
                        Found::Records(Vec::new())
                    }
                }
                None => Found::Absent,
            },
            _ => Found::Absent,
        }
    }

    fn namespace_alone(&self, front: &[u8]) -> Found<'_> {
        let mut labels = wire::labels(front);
        match (labels.next(), labels.next()) {
            (Some(namespace), None) if self.namespaces.contains(namespace) => {
                Found::Records(Vec::new())
            }
            _ => Found::Absent,
        }
    }

    fn insert(&mut self, name: Name, owner: &Owner, records: Vec<WireRecord>) {
        if !self.names.contains_key(&name) {
            self.count_ancestors(&name, true);
        }
        let entry = self.names.entry(name.clone()).or_default();
        entry.by_owner.entry(owner.clone()).or_default().extend(records);
        self.owned.entry(owner.clone()).or_default().push(name);
    }

    fn withdraw(&mut self, name: &Name, owner: &Owner) {
        let Some(entry) = self.names.get_mut(name) else { return };
        entry.by_owner.remove(owner);
        if entry.by_owner.is_empty() {
            self.names.remove(name);
            self.count_ancestors(name, false);
        }
    }

    fn count_ancestors(&mut self, name: &[u8], is_new: bool) {
        // Reverse names above ours are other people's; those within our blocks need no count.
        let is_inside = wire::below(name, &self.domain).is_some_and(|front| !front.is_empty());
        let mut next = wire::parent(name).filter(|_| is_inside);
        while let Some(ancestor) = next {
            if is_new {
                *self.ancestors.entry(ancestor.into()).or_default() += 1;
            } else if let Some(count) = self.ancestors.get_mut(ancestor) {
                *count -= 1;
                if *count == 0 {
                    self.ancestors.remove(ancestor);
                }
            }
            next = wire::parent(ancestor).filter(|_| *ancestor != *self.domain);
        }
    }
}

fn to_wire(record: &Record) -> Option<WireRecord> {
    let plain = |kind: u16, bytes: &[u8]| WireRecord { kind, bytes: bytes.into(), target: None };
    Some(match record {
        Record::A(address) => plain(kind::A, &address.octets()),
        Record::Aaaa(address) => plain(kind::AAAA, &address.octets()),
        Record::Ptr(name) => plain(kind::PTR, &wire::encode(name)?),
        Record::Cname(name) => {
            let target = wire::encode(name)?;
            WireRecord { kind: kind::CNAME, bytes: target.clone(), target: Some(target) }
        }
        Record::Srv { weight, port, target } => {
            let target = wire::encode(target)?;
            let mut bytes = vec![0, 0];
            bytes.extend_from_slice(&weight.to_be_bytes());
            bytes.extend_from_slice(&port.to_be_bytes());
            bytes.extend_from_slice(&target);
            WireRecord { kind: kind::SRV, bytes: bytes.into(), target: Some(target) }
        }
    })
}

fn address_record(address: IpAddr) -> WireRecord {
    match address {
        IpAddr::V4(it) => WireRecord { kind: kind::A, bytes: it.octets().into(), target: None },
        IpAddr::V6(it) => WireRecord { kind: kind::AAAA, bytes: it.octets().into(), target: None },
    }
}

/// `10-244-0-5`, or an IPv6 address with dashes for its colons.
fn dashed(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = || text.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let v6 = || text.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    v4().or_else(v6)
}

/// The block of addresses that a reverse name stands for: `0.10.in-addr.arpa` is `10.0.0.0/16`.
fn reverse_block(name: &[u8]) -> Option<Cidr> {
    let arpa = wire::encode("in-addr.arpa")?;
    let labels: Vec<&[u8]> = wire::labels(wire::below(name, &arpa)?).collect();
    let mut octets = [0; 4];
    if labels.is_empty() || labels.len() > 4 {
        return None;
    }
    for (octet, label) in octets.iter_mut().zip(labels.iter().rev()) {
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Cidr::new(octets.into(), u8::try_from(labels.len() * 8).ok()?)
}

fn covers(own: Cidr, block: Cidr) -> bool {
    own.contains(block.first()) && own.contains(block.last())
}

/// `10.in-addr.arpa` for every name below it; what is no such name stands for itself.
fn reverse_apex(name: &[u8]) -> Name {
    let mut apex = name;
    while wire::labels(apex).count() > 3 {
        match wire::parent(apex) {
            Some(parent) => apex = parent,
            None => break,
        }
    }
    apex.into()
}
