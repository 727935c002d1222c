//! Flows that the kernel remembers, and that lead to a backend which is one no more.
//!
//! A TCP connection to a pod that is gone ends by itself. UDP has no end: as long as its client
//! talks from the same port, the kernel sends on to the address that it chose first.
//!
//! Source: kubernetes v1.36 `pkg/proxy/conntrack/cleanup.go`, `CleanStaleEntries`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use nix::errno::Errno;

use super::{Front, Protocol, Ruleset};
use crate::netlink::{Message, Refused, Socket, attributes};

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET`, and with `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// `struct nfgenmsg` of IPv4.
const IPV4: [u8; 4] = [2, 0, 0, 0];
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// Flows that are forgotten in one go.
const AT_ONCE: usize = 256;

/// Fronts of UDP, and the backends of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fronts {
    addresses: BTreeMap<SocketAddrV4, BTreeSet<SocketAddrV4>>,
    /// Ports of the node itself, whatever its address.
    ports: BTreeMap<u16, BTreeSet<SocketAddrV4>>,
}

impl Fronts {
    pub(super) fn of(ruleset: &Ruleset) -> Self {
        let mut fronts = Self::default();
        for rule in ruleset.rules.values().filter(|rule| rule.protocol == Protocol::Udp) {
            for front in &rule.fronts {
                let backends = match front {
                    Front::Cluster(at) | Front::Address(at) => {
                        fronts.addresses.entry(*at).or_default()
                    }
                    Front::NodePort(port) | Front::HostPort(port) => {
                        fronts.ports.entry(*port).or_default()
                    }
                };
                backends.extend(&rule.backends);
            }
        }
        fronts
    }

    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty()
    }

    /// Whether a flow to `asked`, which `answers` answers, goes where it should not.
    fn misleads(&self, asked: SocketAddrV4, answers: SocketAddrV4) -> bool {
        if let Some(backends) = self.addresses.get(&asked) {
            return !backends.contains(&answers);
        }
        // Someone else's flow may have that port, too; ours has been led elsewhere.
        let led = asked.ip() != answers.ip();
        let backends = self.ports.get(&asked.port()).filter(|_| led);
        backends.is_some_and(|backends| !backends.contains(&answers))
    }
}

/// Forgets the flows to fronts that lead elsewhere than to their backends; says how many.
pub(super) fn forget_misled(socket: &mut Socket, fronts: &Fronts) -> Result<usize, Refused> {
    if fronts.is_empty() {
        return Ok(0);
    }
    let flows = socket.list(Message::new("listing the flows", GET, 0, &IPV4))?;
    let misled: Vec<Message> = flows.iter().filter_map(|(_, body)| removal(body, fronts)).collect();
    for some in misled.chunks(AT_ONCE) {
        match socket.ask(some.to_vec()) {
            // One has ended by itself meanwhile.
            Err(refused) if refused.errno == Errno::ENOENT => {}
            answer => answer?,
        }
    }
    Ok(misled.len())
}

/// The message that forgets this flow, if it is UDP and misled.
fn removal(flow: &[u8], fronts: &Fronts) -> Option<Message> {
    let parts = attributes(flow, IPV4.len());
    let part = |kind: u16| parts.iter().find(|(found, _)| *found == kind).map(|(_, value)| *value);
    let original = part(ORIGINAL)?;
    let (_, asked) = tuple(original)?;
    let (answers, _) = tuple(part(REPLY)?)?;
    if !fronts.misleads(asked, answers) {
        return None;
    }
    let message = Message::new(format!("forgetting a flow to {asked}"), DELETE, 0, &IPV4);
    let message = message.bytes(ORIGINAL | NESTED, original);
    // With its id, a new flow of the same ports is not mistaken for it.
    Some(match part(ID) {
        Some(id) => message.bytes(ID, id),
        None => message,
    })
}

/// Source and destination of a tuple (`CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`) of UDP over IPv4.
fn tuple(bytes: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let parts = attributes(bytes, 0);
    let inside = |kind: u16| {
        let part = parts.iter().find(|(found, _)| *found == kind);
        part.map(|(_, value)| attributes(value, 0))
    };
    let (addresses, protocol) = (inside(1)?, inside(2)?);
    let value = |list: &[(u16, &[u8])], kind: u16| -> Option<Vec<u8>> {
        list.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.to_vec())
    };
    if value(&protocol, 1)? != [Protocol::Udp.number()] {
        return None;
    }
    let end = |which: u16| {
        let address = <[u8; 4]>::try_from(value(&addresses, which)?).ok()?;
        let port = <[u8; 2]>::try_from(value(&protocol, which + 1)?).ok()?;
        Some(SocketAddrV4::new(Ipv4Addr::from(address), u16::from_be_bytes(port)))
    };
    Some((end(1)?, end(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_flows_are_misled() {
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let fronts = Fronts {
            addresses: BTreeMap::from([
                (at("10.96.0.10:53"), BTreeSet::from([at("10.244.0.3:53")])),
                (at("10.96.0.11:53"), BTreeSet::new()),
            ]),
            ports: BTreeMap::from([(30053, BTreeSet::from([at("10.244.0.3:53")]))]),
        };
        for (asked, answers, misled) in [
            ("10.96.0.10:53", "10.244.0.3:53", false),
            ("10.96.0.10:53", "10.244.0.2:53", true),
            ("10.96.0.10:53", "10.96.0.10:53", true),
            ("10.96.0.11:53", "10.244.0.3:53", true),
            ("10.96.0.12:53", "10.244.0.3:53", false),
            ("192.0.2.1:30053", "10.244.0.2:53", true),
            ("192.0.2.1:30053", "10.244.0.3:53", false),
            ("198.51.100.1:30053", "198.51.100.1:30053", false),
        ] {
            assert_eq!(fronts.misleads(at(asked), at(answers)), misled, "{asked} by {answers}");
        }
    }

    #[test]
    fn what_is_no_flow_is_left_alone() {
        for bytes in [&[][..], &[0; 3], &[2, 0, 0, 0, 255, 255, 1, 0], &[2, 0, 0, 0, 4, 0, 1, 0]] {
            assert_eq!(removal(bytes, &Fronts::default()), None);
        }
    }
}
