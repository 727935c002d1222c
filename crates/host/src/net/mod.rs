//! Pod networks: one bridge an instance, one veth pair a pod.
//!
//! ```text
//!  pod's namespace              the node
//!  eth0 10.244.0.5/32 ── veth ── bridge 10.244.0.1/24 ── routing, nftables ── world
//!  default via 10.244.0.1        service block -> bridge
//! ```
//!
//! A pod's address is a /32: even its neighbours are reached through the node's routing. So
//! packets to a Service that come back from a pod on the same bridge pass the firewall both ways,
//! without the kernel's bridge netfilter, which many hosts lack.
//!
//! Everything here blocks for a millisecond at most, on system calls only.

mod addresses;
mod clash;
mod link;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
};

use stdx::cidr::Cidr;
use thiserror::Error;

pub use addresses::Addresses;

use crate::netlink::{Refused, Socket};

/// Where an instance's pods live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Eight hexadecimal digits that tell this instance from others on the machine.
    pub instance: String,
    /// The node's block of pod addresses, /30 or larger.
    pub pods: Cidr,
    /// The cluster's block of Service addresses.
    pub services: Cidr,
    /// Bytes of a packet; `None` takes the default route's.
    pub mtu: Option<u32>,
}

/// An instance's pod network, up.
#[derive(Debug, Clone)]
pub struct Network {
    config: NetworkConfig,
    bridge: String,
    /// The bridge's link number.
    index: u32,
    mtu: u32,
}

/// What went wrong: one variant per remedy.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// Another block, another name, or the other program's end.
    #[error("{what} {block} overlaps {other}: choose another with {flag}")]
    Overlap {
        /// `pod addresses`, `Service addresses`.
        what: &'static str,
        /// Ours.
        block: Cidr,
        /// Whose route or block it is.
        other: String,
        /// The flag that changes ours.
        flag: &'static str,
    },
    /// A link of our name that is not ours.
    #[error(
        "link {0} exists and was not made by this instance: remove it, or choose another --name"
    )]
    Taken(String),
    /// The block is too small, or has no more free addresses.
    #[error("no free pod address in {0}")]
    Full(Cidr),
    /// The kernel said no.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<Refused> for NetworkError {
    fn from(refused: Refused) -> Self {
        Self::System { source: refused.source(), what: refused.what }
    }
}

impl Network {
    /// Makes the bridge with its address, routes and kernel settings, or finds it whole.
    ///
    /// # Errors
    /// [`NetworkError`]; nothing was made when a clash is found.
    pub fn up(config: NetworkConfig) -> Result<Self, NetworkError> {
        let mut socket = open_route()?;
        let bridge = bridge_name(&config.instance);
        let links = link::links(&mut socket)?;
        let routes = link::routes(&mut socket)?;
        let own = clash::check(&config, &bridge, &links, &routes)?;
        let mtu = config.mtu.unwrap_or_else(|| link::default_mtu(&links, &routes));
        let gateway = gateway(config.pods)?;
        let index = match own {
            Some(index) => index,
            None => {
                socket.ask(vec![link::new_bridge(&bridge, hardware_address(&config), mtu)])?;
                link::index_of(&mut socket, &bridge)?
            }
        };
        link::tolerate_existing(socket.ask(vec![link::new_address(
            &format!("giving {bridge} its address"),
            index,
            Cidr::new(gateway, config.pods.prefix()).unwrap_or(config.pods),
        )]))?;
        let services = link::service_route(&bridge, index, config.services, gateway);
        if let Err(refused) =
            link::tolerate_own_route(socket.ask(vec![services]), &routes, index, config.services)
        {
            // Another instance has the block: pods are not concerned, only programs on the node.
            tracing::warn!(error = %refused.source(), block = %config.services,
                "programs on this node cannot reach Services: the route belongs to another link");
        }
        set("ipv4/ip_forward", "1")?;
        // A NodePort on 127.0.0.1 leads to the bridge; the firewall keeps pods from using this.
        set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
        // Neighbours talk through the node on purpose; it shall not tell them of the short way.
        // (Either of the two switches it on; other links keep their own.)
        set("ipv4/conf/all/send_redirects", "0")?;
        set(&format!("ipv4/conf/{bridge}/send_redirects"), "0")?;
        Ok(Self { config, bridge, index, mtu })
    }

    /// The bridge's name, for firewall rules.
    #[must_use]
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// The node's address towards its pods: DNS and the API listen there.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.config.pods.nth(1).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// How it was made.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Connects a network namespace: `eth0` with the address, a default route, `lo` up.
    ///
    /// Safe to repeat for the same namespace, and for a new namespace of the same pod, whose old
    /// link is taken away first.
    ///
    /// # Errors
    /// [`NetworkError::System`].
    pub fn attach(
        &self,
        namespace: BorrowedFd<'_>,
        pod_uid: &str,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let host_end = host_end_name(&self.config.instance, pod_uid);
        let mut socket = open_route()?;
        let pair = || link::new_pair(&host_end, self.index, namespace.as_raw_fd(), self.mtu);
        match socket.ask(vec![pair(), link::hairpin(&host_end)]) {
            Err(refused) if refused.errno == nix::errno::Errno::EEXIST => {
                if inside(namespace, || link::is_attached(address))? {
                    return Ok(());
                }
                link::remove(&mut socket, &host_end)?;
                socket.ask(vec![pair(), link::hairpin(&host_end)])?;
            }
            result => result?,
        }
        inside(namespace, || link::configure_inside(address, self.gateway()))
    }

    /// Brings up `lo` in a namespace that gets no other link.
    ///
    /// # Errors
    /// [`NetworkError::System`].
    pub fn loopback(namespace: BorrowedFd<'_>) -> Result<(), NetworkError> {
        inside(namespace, link::loopback_up)
    }

    /// Takes a pod's link away, where its namespace does not vanish by itself. Slow (10-30 ms):
    /// ending the namespace's last process is the better way.
    ///
    /// # Errors
    /// [`NetworkError::System`].
    pub fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let mut socket = open_route()?;
        link::remove(&mut socket, &host_end_name(&self.config.instance, pod_uid))
    }

    /// Removes every link that this instance made.
    ///
    /// # Errors
    /// [`NetworkError::System`]; the rest is removed nevertheless.
    pub fn down(instance: &str) -> Result<(), NetworkError> {
        let mut socket = open_route()?;
        let bridge = bridge_name(instance);
        let ends = host_end_prefix(instance);
        let mut result = Ok(());
        for found in link::links(&mut socket)? {
            let is_bridge = found.name == bridge && found.kind == "bridge";
            if is_bridge || (found.name.starts_with(&ends) && found.kind == "veth") {
                let removed = link::remove(&mut socket, &found.name);
                result = result.and(removed);
            }
        }
        result
    }
}

/// Begins the name of each instance's bridge.
const BRIDGE_PREFIX: &str = "stead-";

/// Locally administered; the same for the same instance and block only.
fn hardware_address(config: &NetworkConfig) -> [u8; 6] {
    let text = format!("{} {}", config.instance, config.pods);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let bytes = digest.as_ref();
    [0x02, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]]
}

/// Link names have at most 15 bytes.
fn bridge_name(instance: &str) -> String {
    format!("{BRIDGE_PREFIX}{instance:.8}")
}

fn host_end_prefix(instance: &str) -> String {
    format!("sv{instance:.4}-")
}

fn host_end_name(instance: &str, pod_uid: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, pod_uid.as_bytes());
    let mut name = host_end_prefix(instance);
    for byte in digest.as_ref().iter().take(4) {
        // Writing to a String cannot fail.
        write!(name, "{byte:02x}").ok();
    }
    name
}

fn gateway(pods: Cidr) -> Result<Ipv4Addr, NetworkError> {
    pods.nth(1).filter(|_| pods.prefix() <= 30).ok_or(NetworkError::Full(pods))
}

/// The blocks that this machine's routes lead to, the default route's aside: what a new network
/// must not overlap.
///
/// # Errors
/// [`NetworkError::System`].
pub fn routed() -> Result<Vec<Cidr>, NetworkError> {
    let routes = link::routes(&mut open_route()?)?;
    Ok(routes.into_iter().map(|route| route.block).filter(|block| block.prefix() > 0).collect())
}

fn open_route() -> Result<Socket, NetworkError> {
    Socket::route().map_err(|errno| NetworkError::System {
        what: "opening a netlink socket".to_owned(),
        source: errno.into(),
    })
}

fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/net/{path}");
    let is_set = fs::read_to_string(&path).is_ok_and(|found| found.trim() == value);
    if is_set {
        return Ok(());
    }
    fs::write(&path, value)
        .map_err(|source| NetworkError::System { what: format!("setting {path}"), source })
}

/// Runs `work` on a thread of its own that has stepped into the namespace.
fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    let failed = |source: io::Error| NetworkError::System {
        what: "entering a network namespace".to_owned(),
        source,
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| failed(errno.into()))?;
                work()
            })
            .map_err(failed)?
            .join()
            .unwrap_or_else(|_| Err(failed(io::Error::other("the thread panicked"))))
    })
}
