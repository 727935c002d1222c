//! Messages of rtnetlink: links, addresses, routes.

use std::{net::Ipv4Addr, os::fd::RawFd};

use nix::errno::Errno;
use stdx::cidr::Cidr;

use super::{NetworkError, open_route, set};
use crate::netlink::{Message, Refused, Socket, attributes};

/// The pod's end of its pair.
const POD_LINK: &str = "eth0";
/// Ethernet's, where no default route says otherwise.
const DEFAULT_MTU: u32 = 1500;

const CREATE: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const INET: u8 = 2;
/// `linux/veth.h`
const VETH_INFO_PEER: u16 = 1;
/// `linux/if_link.h`
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
/// `linux/if_link.h`
const IFLA_INFO_KIND: u16 = 1;
/// `linux/if_link.h`
const IFLA_INFO_DATA: u16 = 2;
/// `linux/if_link.h`
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// `linux/if_link.h`
const IFLA_INFO_SLAVE_DATA: u16 = 5;
/// `linux/if_link.h`: whether a packet may leave by the port it came from.
const IFLA_BRPORT_MODE: u16 = 4;
/// `linux/rtnetlink.h`: routes that no daemon manages.
const PROTOCOL_STATIC: u8 = 4;

const LINK_HEADER_BYTES: usize = 16;
const ROUTE_HEADER_BYTES: usize = 12;

/// A link of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) hardware_address: Vec<u8>,
    pub(super) kind: String,
    pub(super) mtu: u32,
}

/// A route of the node's main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) block: Cidr,
    pub(super) link: u32,
}

pub(super) fn links(socket: &mut Socket) -> Result<Vec<Link>, NetworkError> {
    let request = Message::new("listing links", libc::RTM_GETLINK, 0, &link_header(0, 0));
    let found = socket.list(request)?;
    Ok(found.iter().filter_map(|(_, body)| read_link(body)).collect())
}

fn read_link(body: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let mut link = Link { index, ..Link::default() };
    for (kind, value) in attributes(body, LINK_HEADER_BYTES) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.hardware_address = value.to_vec(),
            libc::IFLA_MTU => link.mtu = u32::from_ne_bytes(value.try_into().ok()?),
            libc::IFLA_LINKINFO => {
                let inner = attributes(value, 0);
                let kind = inner.iter().find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = kind.map(|(_, value)| text(value)).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(super) fn routes(socket: &mut Socket) -> Result<Vec<Route>, NetworkError> {
    let request = Message::new(
        "listing routes",
        libc::RTM_GETROUTE,
        0,
        &route_header(0, 0, libc::RT_SCOPE_UNIVERSE),
    );
    let found = socket.list(request)?;
    Ok(found.iter().filter_map(|(_, body)| read_route(body)).collect())
}

fn read_route(body: &[u8]) -> Option<Route> {
    let (prefix, table, kind) = (*body.get(1)?, *body.get(4)?, *body.get(7)?);
    if table != libc::RT_TABLE_MAIN || kind != libc::RTN_UNICAST {
        return None;
    }
    let mut address = Ipv4Addr::UNSPECIFIED;
    let mut link = 0;
    for (kind, value) in attributes(body, ROUTE_HEADER_BYTES) {
        match kind {
            libc::RTA_DST => address = <[u8; 4]>::try_from(value).ok()?.into(),
            libc::RTA_OIF => link = u32::from_ne_bytes(value.try_into().ok()?),
            _ => {}
        }
    }
    Some(Route { block: Cidr::new(address, prefix)?, link })
}

/// The packet size of the default route's link.
pub(super) fn default_mtu(links: &[Link], routes: &[Route]) -> u32 {
    routes
        .iter()
        .find(|route| route.block.prefix() == 0)
        .and_then(|route| links.iter().find(|link| link.index == route.link))
        .map_or(DEFAULT_MTU, |link| link.mtu)
}

pub(super) fn index_of(socket: &mut Socket, name: &str) -> Result<u32, NetworkError> {
    let missing = || NetworkError::System {
        what: format!("looking for link {name}"),
        source: Errno::ENODEV.into(),
    };
    // The socket may live in another namespace than this thread: ask it, not the C library.
    links(socket)?
        .into_iter()
        .find(|link| link.name == name)
        .map(|link| link.index)
        .ok_or_else(missing)
}

/// The hardware address tells whose bridge it is; one without would take its lowest port's.
pub(super) fn new_bridge(name: &str, hardware_address: [u8; 6], mtu: u32) -> Message {
    Message::new(format!("making bridge {name}"), libc::RTM_NEWLINK, CREATE, &link_header(0, UP))
        .text(libc::IFLA_IFNAME, name)
        .native(libc::IFLA_MTU, mtu)
        .bytes(libc::IFLA_ADDRESS, &hardware_address)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |data| data.bytes(IFLA_BR_MCAST_SNOOPING, &[0]))
        })
}

/// Where the host has bridge netfilter on, a pod that reaches itself through a Service needs
/// its port to send packets back.
pub(super) fn hairpin(name: &str) -> Message {
    let what = format!("setting link {name}");
    Message::new(what, libc::RTM_NEWLINK, 0, &link_header(0, 0)).text(libc::IFLA_IFNAME, name).nest(
        libc::IFLA_LINKINFO,
        |info| {
            info.text(IFLA_INFO_SLAVE_KIND, "bridge")
                .nest(IFLA_INFO_SLAVE_DATA, |data| data.bytes(IFLA_BRPORT_MODE, &[1]))
        },
    )
}

/// A pair whose one end is born on the bridge, up, and the other in the namespace as `eth0`.
pub(super) fn new_pair(name: &str, bridge: u32, namespace: RawFd, mtu: u32) -> Message {
    Message::new(format!("making link {name}"), libc::RTM_NEWLINK, CREATE, &link_header(0, UP))
        .text(libc::IFLA_IFNAME, name)
        .native(libc::IFLA_MTU, mtu)
        .native(libc::IFLA_MASTER, bridge)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(0, 0))
                        .text(libc::IFLA_IFNAME, POD_LINK)
                        .native(libc::IFLA_MTU, mtu)
                        .bytes(libc::IFLA_NET_NS_FD, &namespace.to_ne_bytes())
                })
            })
        })
}

pub(super) fn new_address(what: &str, index: u32, address: Cidr) -> Message {
    let mut header = [INET, address.prefix(), 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    Message::new(what, libc::RTM_NEWADDR, CREATE, &header)
        .bytes(libc::IFA_LOCAL, &address.address().octets())
        .bytes(libc::IFA_ADDRESS, &address.address().octets())
}

/// Programs on the node reach Services: the firewall turns the packets before they leave.
pub(super) fn service_route(bridge: &str, index: u32, block: Cidr, source: Ipv4Addr) -> Message {
    let header = route_header(block.prefix(), PROTOCOL_STATIC, libc::RT_SCOPE_LINK);
    Message::new(format!("routing {block} to {bridge}"), libc::RTM_NEWROUTE, CREATE, &header)
        .bytes(libc::RTA_DST, &block.first().octets())
        .native(libc::RTA_OIF, index)
        .bytes(libc::RTA_PREFSRC, &source.octets())
}

pub(super) fn remove(socket: &mut Socket, name: &str) -> Result<(), NetworkError> {
    let request =
        Message::new(format!("removing link {name}"), libc::RTM_DELLINK, 0, &link_header(0, 0))
            .text(libc::IFLA_IFNAME, name);
    match socket.ask(vec![request]) {
        Err(refused) if refused.errno == Errno::ENODEV => Ok(()),
        result => Ok(result?),
    }
}

/// What exists already was made by an earlier run of ours.
pub(super) fn tolerate_existing(result: Result<(), Refused>) -> Result<(), Refused> {
    match result {
        Err(refused) if refused.errno == Errno::EEXIST => Ok(()),
        result => result,
    }
}

/// An existing route is fine where it is on our own bridge.
pub(super) fn tolerate_own_route(
    result: Result<(), Refused>,
    routes: &[Route],
    index: u32,
    block: Cidr,
) -> Result<(), Refused> {
    let is_own = |route: &Route| route.link == index && route.block.first() == block.first();
    match result {
        Err(refused) if refused.errno == Errno::EEXIST && routes.iter().any(is_own) => Ok(()),
        result => result,
    }
}

/// In the pod's namespace: whether `eth0` has this address already.
pub(super) fn is_attached(address: Ipv4Addr) -> Result<bool, NetworkError> {
    let mut socket = open_route()?;
    let request =
        Message::new("listing addresses", libc::RTM_GETADDR, 0, &[INET, 0, 0, 0, 0, 0, 0, 0]);
    let found = socket.list(request)?;
    Ok(found.iter().any(|(_, body)| {
        attributes(body, 8)
            .iter()
            .any(|(kind, value)| *kind == libc::IFA_LOCAL && *value == address.octets())
    }))
}

/// In the pod's namespace: addresses and routes of `eth0`, and `lo` up.
pub(super) fn configure_inside(address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let mut socket = open_route()?;
    let index = index_of(&mut socket, POD_LINK)?;
    // Else a pod believes the node that its neighbour is near, and Services break.
    set("ipv4/conf/all/accept_redirects", "0")?;
    set(&format!("ipv4/conf/{POD_LINK}/accept_redirects"), "0")?;
    let whole = Cidr::new(address, 32).unwrap_or_else(|| unreachable!("32 is a prefix"));
    let to_gateway = Message::new(
        "routing to the gateway",
        libc::RTM_NEWROUTE,
        CREATE,
        &route_header(32, PROTOCOL_STATIC, libc::RT_SCOPE_LINK),
    )
    .bytes(libc::RTA_DST, &gateway.octets())
    .native(libc::RTA_OIF, index);
    let default = Message::new(
        "making the default route",
        libc::RTM_NEWROUTE,
        CREATE,
        &route_header(0, PROTOCOL_STATIC, libc::RT_SCOPE_UNIVERSE),
    )
    .bytes(libc::RTA_GATEWAY, &gateway.octets())
    .native(libc::RTA_OIF, index);
    socket.ask(vec![
        link_up(LOOPBACK_INDEX),
        link_up(index),
        new_address("giving the pod its address", index, whole),
        to_gateway,
        default,
    ])?;
    Ok(())
}

/// In a namespace: `lo` up.
pub(super) fn loopback_up() -> Result<(), NetworkError> {
    Ok(open_route()?.ask(vec![link_up(LOOPBACK_INDEX)])?)
}

/// The first link of every namespace.
const LOOPBACK_INDEX: u32 = 1;
/// `IFF_UP`, as flags and as the mask of flags to change.
const UP: u32 = 1;

fn link_up(index: u32) -> Message {
    Message::new("bringing a link up", libc::RTM_NEWLINK, 0, &link_header(index, UP))
}

fn link_header(index: u32, flags: u32) -> [u8; LINK_HEADER_BYTES] {
    let mut header = [0; LINK_HEADER_BYTES];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn route_header(prefix: u8, protocol: u8, scope: u8) -> [u8; ROUTE_HEADER_BYTES] {
    let (table, kind) =
        if protocol == 0 { (0, 0) } else { (libc::RT_TABLE_MAIN, libc::RTN_UNICAST) };
    [INET, prefix, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0]
}
