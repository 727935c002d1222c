//! Which addresses and ports a Service has, wants and gets; pure over what is taken.
//!
//! Source: kubernetes v1.36 `pkg/registry/core/service/{ipallocator,portallocator,storage}`: facts
//! and texts only.

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

use api::{
    field::{Cause, Path},
    k8s::api::core::v1::{Service, ServicePort, ServiceSpec},
};
use serde_json::json;

/// Where Services get addresses and ports from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// The first bits of all service addresses.
    pub base: Ipv4Addr,
    /// How many bits that is: 12 to 28.
    pub prefix_bits: u8,
    /// Ports that nodes forward.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Ranges {
    /// Upstream's: `10.96.0.0/12` and 30000 to 32767.
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 96, 0, 0), prefix_bits: 12, node_ports: 30_000..=32_767 }
    }
}

impl Ranges {
    /// The first usable address: that of the Service `kubernetes`.
    #[must_use]
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network() + 1)
    }

    fn network(&self) -> u32 {
        self.base.to_bits() & !self.host_mask()
    }

    fn host_mask(&self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix_bits)).unwrap_or(0)
    }

    /// Offsets of usable addresses: neither the network's nor the broadcast's.
    fn usable(&self) -> u32 {
        self.host_mask().saturating_sub(1)
    }

    /// Addresses at the beginning that are left to those who ask for one by number.
    fn reserved(&self) -> u32 {
        (self.usable() / 16).clamp(16, 256).min(self.usable())
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = address.to_bits().wrapping_sub(self.network());
        (1..=self.usable()).contains(&offset)
    }
}

/// Something that only one Service can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A service address.
    Address(u32),
    /// A port of every node.
    Port(u16),
}

/// What is taken, and a number to begin searching from.
pub(super) trait Occupied {
    fn is_taken(&self, claim: Claim) -> bool;
    fn chance(&self) -> u32;
}

/// What this Service holds.
pub(super) fn claims(service: &Service) -> BTreeSet<Claim> {
    let Some(spec) = &service.spec else { return BTreeSet::new() };
    let mut claims = BTreeSet::new();
    if has_address(spec)
        && let Some(address) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok())
    {
        claims.insert(Claim::Address(address.to_bits()));
    }
    if has_node_ports(spec) {
        let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
        claims.extend(ports.chain(spec.health_check_node_port).filter_map(port_claim));
    }
    claims
}

fn port_claim(port: i32) -> Option<Claim> {
    u16::try_from(port).ok().filter(|port| *port > 0).map(Claim::Port)
}

fn kind(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

fn has_address(spec: &ServiceSpec) -> bool {
    kind(spec) != "ExternalName" && spec.cluster_ip.as_deref() != Some("None")
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    match kind(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn has_health_port(spec: &ServiceSpec) -> bool {
    kind(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Fills in addresses, ports and families.
///
/// # Errors
///
/// What is asked for and cannot be had.
pub(super) fn fill(
    ranges: &Ranges,
    occupied: &dyn Occupied,
    old: Option<&Service>,
    service: &mut Service,
    had: &BTreeSet<Claim>,
) -> Result<(), Vec<Cause>> {
    let old = old.and_then(|old| old.spec.as_ref());
    let Some(spec) = &mut service.spec else { return Ok(()) };
    if let Some(old) = old {
        keep(old, spec);
    }
    drop_foreign(spec);
    let mut new = BTreeSet::new();
    let mut causes = Vec::new();
    if has_address(spec) {
        let given = fill_address(ranges, occupied, spec, had);
        causes.extend(given.err());
    }
    fill_families(spec);
    if has_node_ports(spec) {
        fill_ports(ranges, occupied, spec, had, &mut new, &mut causes);
    }
    if causes.is_empty() { Ok(()) } else { Err(causes) }
}

/// What an update leaves out stays as it was, where both types have it.
fn keep(old: &ServiceSpec, new: &mut ServiceSpec) {
    let address_of_both = kind(old) != "ExternalName" && kind(new) != "ExternalName";
    if address_of_both && new.cluster_ip.as_deref().is_none_or(str::is_empty) {
        new.cluster_ip.clone_from(&old.cluster_ip);
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    if has_node_ports(old) && has_node_ports(new) {
        for port in new.ports.iter_mut().flatten().filter(|port| is_unset(port.node_port)) {
            let same = |before: &&ServicePort| {
                before.port == port.port && before.protocol == port.protocol
            };
            let before = old.ports.iter().flatten().find(same);
            port.node_port = before.and_then(|before| before.node_port);
        }
    }
    if has_health_port(old) && has_health_port(new) && is_unset(new.health_check_node_port) {
        new.health_check_node_port = old.health_check_node_port;
    }
}

fn is_unset(port: Option<i32>) -> bool {
    port.is_none_or(|port| port == 0)
}

/// What the type does not have.
fn drop_foreign(spec: &mut ServiceSpec) {
    if kind(spec) == "ExternalName" {
        spec.cluster_ip = None;
        spec.cluster_ips = None;
        spec.ip_families = None;
        spec.ip_family_policy = None;
    }
}

fn fill_address(
    ranges: &Ranges,
    occupied: &dyn Occupied,
    spec: &mut ServiceSpec,
    had: &BTreeSet<Claim>,
) -> Result<(), Cause> {
    let wanted = spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
    let wanted = wanted.or_else(|| spec.cluster_ips.as_ref().and_then(|ips| ips.first().cloned()));
    let address = match wanted {
        Some(text) => {
            let refuse = |why: String| {
                let detail = format!("failed to allocate IP {text}: {why}");
                Cause::invalid(Path::new("spec").child("clusterIPs"), json!([text]), &detail)
            };
            // What is no address is for validation to say.
            let Ok(address) = text.parse::<Ipv4Addr>() else { return Ok(()) };
            let claim = Claim::Address(address.to_bits());
            if !had.contains(&claim) && !ranges.contains(address) {
                let network = Ipv4Addr::from_bits(ranges.network());
                return Err(refuse(format!(
                    "the provided IP ({text}) is not in the valid range. The range of valid IPs \
                     is {network}/{}",
                    ranges.prefix_bits
                )));
            }
            if !had.contains(&claim) && occupied.is_taken(claim) {
                return Err(refuse("provided IP is already allocated".to_owned()));
            }
            address
        }
        None => free_address(ranges, occupied).ok_or_else(|| {
            let path = Path::new("spec").child("clusterIPs");
            let mut cause = Cause::invalid(path, json!([]), "failed to allocate IP: range is full");
            cause.fault = api::field::Fault::Internal;
            cause
        })?,
    };
    spec.cluster_ip = Some(address.to_string());
    spec.cluster_ips = Some(vec![address.to_string()]);
    Ok(())
}

/// A free address: of the upper part first, then of those left to be asked for.
fn free_address(ranges: &Ranges, occupied: &dyn Occupied) -> Option<Ipv4Addr> {
    let (reserved, usable) = (ranges.reserved(), ranges.usable());
    let dynamic = usable.saturating_sub(reserved);
    let start = if dynamic == 0 { 0 } else { occupied.chance() % dynamic };
    let upper = (0..dynamic).map(|step| reserved + 1 + (start + step) % dynamic);
    let lower = 1..=reserved;
    let mut all = upper.chain(lower).map(|offset| ranges.network() + offset);
    all.find(|address| !occupied.is_taken(Claim::Address(*address))).map(Ipv4Addr::from_bits)
}

fn fill_families(spec: &mut ServiceSpec) {
    if kind(spec) == "ExternalName" {
        return;
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        spec.cluster_ips = Some(vec!["None".to_owned()]);
    }
    if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
        spec.ip_families = Some(vec!["IPv4".to_owned()]);
    }
    if spec.ip_family_policy.as_deref().is_none_or(str::is_empty) {
        spec.ip_family_policy = Some("SingleStack".to_owned());
    }
}

fn fill_ports(
    ranges: &Ranges,
    occupied: &dyn Occupied,
    spec: &mut ServiceSpec,
    had: &BTreeSet<Claim>,
    new: &mut BTreeSet<Claim>,
    causes: &mut Vec<Cause>,
) {
    let health = has_health_port(spec);
    // Those asked for come first, so that a free choice does not take one of them.
    for port in spec.ports.iter().flatten().filter_map(|port| port.node_port) {
        new.extend(port_claim(port));
    }
    let mut by_number: Vec<(i32, Option<String>)> = Vec::new();
    for (at, port) in spec.ports.iter_mut().flatten().enumerate() {
        let path = Path::new("spec").child("ports").index(at).child("nodePort");
        match port.node_port.filter(|port| *port != 0) {
            Some(wanted) => {
                // One number may serve TCP and UDP of the same Service.
                let shared = by_number
                    .iter()
                    .any(|(number, protocol)| *number == wanted && *protocol != port.protocol);
                if !shared {
                    causes.extend(refuse_port(ranges, occupied, had, wanted, path));
                }
                by_number.push((wanted, port.protocol.clone()));
            }
            None => {
                // A name server's port is the same for both protocols.
                match free_port(ranges, occupied, new) {
                    Some(free) => {
                        new.insert(Claim::Port(free));
                        port.node_port = Some(i32::from(free));
                    }
                    None => causes.push(Cause::invalid(path, 0, "range is full")),
                }
            }
        }
    }
    if !health {
        return;
    }
    let path = Path::new("spec").child("healthCheckNodePort");
    match spec.health_check_node_port.filter(|port| *port != 0) {
        Some(wanted) => causes.extend(refuse_port(ranges, occupied, had, wanted, path)),
        None => match free_port(ranges, occupied, new) {
            Some(free) => spec.health_check_node_port = Some(i32::from(free)),
            None => causes.push(Cause::invalid(path, 0, "range is full")),
        },
    }
}

fn refuse_port(
    ranges: &Ranges,
    occupied: &dyn Occupied,
    had: &BTreeSet<Claim>,
    wanted: i32,
    path: Path,
) -> Option<Cause> {
    let range = &ranges.node_ports;
    let port = u16::try_from(wanted).ok().filter(|port| range.contains(port));
    match port.map(Claim::Port) {
        Some(claim) if had.contains(&claim) => None,
        Some(claim) if occupied.is_taken(claim) => {
            Some(Cause::invalid(path, wanted, "provided port is already allocated"))
        }
        Some(_) => None,
        None => {
            let detail = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            );
            Some(Cause::invalid(path, wanted, &detail))
        }
    }
}

fn free_port(ranges: &Ranges, occupied: &dyn Occupied, new: &BTreeSet<Claim>) -> Option<u16> {
    let range = &ranges.node_ports;
    let count = u32::from(*range.end()).checked_sub(u32::from(*range.start()))? + 1;
    let start = occupied.chance() % count;
    let numbers = (0..count).map(|step| u32::from(*range.start()) + (start + step) % count);
    let mut ports = numbers.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| {
        let claim = Claim::Port(*port);
        !new.contains(&claim) && !occupied.is_taken(claim)
    })
}
