//! Answers queries from a zone that it keeps up by watching.
//!
//! ```text
//!   watches ──▶ network::records ──▶ Zone ──▶ answer ──▶ UDP, TCP
//!   (Services, EndpointSlices, Namespaces)      └─ not ours ─▶ forward ─▶ the node's resolvers
//! ```
//!
//! A change of a Service replaces that Service's records before the watch takes its next event, so
//! that whoever sees a pod Ready finds its name. Names of the cluster are never forwarded: until
//! the first list is complete they are refused with SERVFAIL, which resolvers ask again.

#![forbid(unsafe_code)]

mod answer;
mod forward;
mod packet;
mod serve;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;
mod watch;
pub mod wire;
pub mod zone;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, RwLock},
};

use stdx::cidr::Cidr;
use thiserror::Error;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch as signal,
};

use crate::{forward::Forwarder, watch::Caches, zone::Zone};

/// Where and for what the server answers.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Addresses to listen on, UDP and TCP: the bridge's gateway.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain: `cluster.local`.
    pub domain: String,
    /// The address of the Service `kube-dns`, as pods know the server.
    pub service_address: IpAddr,
    /// Blocks whose reverse names are the cluster's: those of pods and of Services.
    pub blocks: Vec<Cidr>,
    /// The file that names the node's own resolvers; read again when it changes.
    pub resolv_conf: PathBuf,
    /// The port of those resolvers; 53 but in tests.
    pub upstream_port: u16,
}

/// The server could not begin.
#[derive(Debug, Error)]
#[error("cannot listen for DNS on {address}")]
pub struct DnsError {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A server that listens, and answers once it runs.
#[derive(Debug)]
pub struct Dns {
    shared: Arc<Shared>,
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
    ready: signal::Sender<bool>,
}

/// What the tasks of one server share.
#[derive(Debug)]
struct Shared {
    zone: RwLock<Zone>,
    caches: Caches,
    forwarder: Forwarder,
}

impl Dns {
    /// Takes the addresses, so that one in use shows before anything else is made.
    ///
    /// # Errors
    /// [`DnsError`] with the address.
    pub async fn bind(config: &DnsConfig) -> Result<Self, DnsError> {
        let mut udp = Vec::new();
        let mut tcp = Vec::new();
        for &wanted in &config.listen {
            let failed = |source| DnsError { address: wanted, source };
            let listener = TcpListener::bind(wanted).await.map_err(failed)?;
            // Port 0 means any, but the same for both.
            let address = listener.local_addr().map_err(failed)?;
            udp.push(Arc::new(UdpSocket::bind(address).await.map_err(failed)?));
            tcp.push(listener);
        }
        let own: Vec<IpAddr> =
            config.listen.iter().map(SocketAddr::ip).chain([config.service_address]).collect();
        let shared = Arc::new_cyclic(|shared| Shared {
            zone: RwLock::new(Zone::new(&config.domain, config.service_address, &config.blocks)),
            caches: Caches::new(shared, &config.domain),
            forwarder: Forwarder::new(config.resolv_conf.clone(), config.upstream_port, own),
        });
        Ok(Self { shared, udp, tcp, ready: signal::Sender::new(false) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// True once the zone shows the whole cluster.
    #[must_use]
    pub fn ready(&self) -> signal::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Watches and answers until it is dropped.
    ///
    /// The client needs to list and watch Services, Namespaces (core) and EndpointSlices
    /// (`discovery.k8s.io`), nothing else. `seed` spreads the retries of failed watches.
    pub async fn run(self, client: kube::Client, seed: u64) {
        let watching = watch::follow(Arc::clone(&self.shared), client, seed, self.ready);
        let serving = serve::serve(self.shared, self.udp, self.tcp);
        tokio::join!(watching, serving);
    }
}
