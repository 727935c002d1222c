//! The firewall: Services, NodePorts, host ports and masquerade, as one nf_tables table.
//!
//! ```text
//!  Ruleset ── table.rs ──▶ Table ── batch.rs (difference to the last) ──▶ one transaction
//!  what is wanted          chains, sets, rules as values                   all of it or nothing
//! ```
//!
//! No `nft` program and no C library: messages go to the kernel as they are. A first application
//! replaces the whole table; later ones send only what changed, so that the memory of session
//! affinity, which lives in the table's sets, stays.

mod batch;
mod conntrack;
mod expression;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use stdx::cidr::Cidr;
use thiserror::Error;

use self::{conntrack::Fronts, table::Table};
use crate::netlink::{Refused, Socket};

/// Everything that the firewall shall do for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The bridge of the instance's pods.
    pub bridge: String,
    /// Addresses of pods on this node, masqueraded on their way out.
    pub pods: Cidr,
    /// Addresses of all pods of the cluster, towards which nothing is masqueraded.
    pub cluster: Cidr,
    /// Addresses of Services: what no rule maps is refused.
    pub services: Cidr,
    /// Addresses of the node on which NodePorts answer; `None` for all.
    pub node_port_addresses: Option<Vec<Ipv4Addr>>,
    /// By a name that stays the same while the port of the Service does: `default/web/http`.
    /// At most 200 bytes of letters, digits, `/`, `-`, `_` and `.`.
    pub rules: BTreeMap<String, Rule>,
}

/// Packets that arrive at any of these fronts go to one of these backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of the fronts and the backends.
    pub protocol: Protocol,
    /// Where packets arrive. No two rules have the same.
    pub fronts: Vec<Front>,
    /// Where they go, chosen at random; none refuses.
    pub backends: Vec<SocketAddrV4>,
    /// Seconds for which a client stays with its backend after its last connection.
    pub affinity_s: Option<u32>,
}

/// Protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// IANA's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// Where packets for a rule arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// An address of the Service block: for pods of this instance and programs on this node.
    Cluster(SocketAddrV4),
    /// Any other address, from anywhere: external addresses, host ports on one address.
    Address(SocketAddrV4),
    /// A port of the addresses on which NodePorts answer.
    NodePort(u16),
    /// A port of every address of the node.
    HostPort(u16),
}

/// The kernel did not take the firewall.
#[derive(Debug, Error)]
#[error("the firewall table {table} could not be set ({what}): {source}")]
pub struct FirewallError {
    /// Which table.
    pub table: String,
    /// Which part of it.
    pub what: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// An instance's table in the kernel.
#[derive(Debug)]
pub struct Firewall {
    name: String,
    socket: Socket,
    /// What the kernel holds, as far as we put it there.
    applied: Option<Table>,
    /// The fronts of UDP for which it remembers no flow that is misled.
    fronts: Option<Fronts>,
}

impl Firewall {
    /// Opens the way to the kernel for the table of this instance (eight hexadecimal digits), in
    /// the caller's network namespace. Nothing is changed yet.
    ///
    /// # Errors
    /// [`FirewallError`] where netfilter cannot be talked to.
    pub fn open(instance: &str) -> Result<Self, FirewallError> {
        let name = format!("stead-{instance:.8}");
        match Socket::netfilter() {
            Ok(socket) => Ok(Self { name, socket, applied: None, fronts: None }),
            Err(errno) => Err(FirewallError {
                table: name,
                what: "opening a netlink socket".to_owned(),
                source: errno.into(),
            }),
        }
    }

    /// Makes the table say exactly this, at one instant. Blocks for a few milliseconds at most.
    /// Flows of UDP that a backend has lost are forgotten.
    ///
    /// # Errors
    /// [`FirewallError`]; then the table is as it was before.
    pub fn apply(&mut self, ruleset: &Ruleset) -> Result<(), FirewallError> {
        self.set(Table::of(ruleset))?;
        let fronts = Fronts::of(ruleset);
        if self.fronts.as_ref() == Some(&fronts) {
            return Ok(());
        }
        match conntrack::forget_misled(&mut self.socket, &fronts) {
            Ok(forgotten) => tracing::debug!(forgotten, "flows to backends that are gone"),
            // A kernel without ctnetlink, say: new flows are led rightly all the same.
            Err(refused) => tracing::warn!(what = refused.what, error = %refused.source(),
                "clients of UDP may go on to talk to pods that are gone"),
        }
        self.fronts = Some(fronts);
        Ok(())
    }

    fn set(&mut self, wanted: Table) -> Result<(), FirewallError> {
        if let Some(applied) = &self.applied {
            let batch = batch::difference(&self.name, applied, &wanted);
            match batch.map_or(Ok(()), |batch| self.socket.transact(batch)) {
                Ok(()) => {
                    self.applied = Some(wanted);
                    return Ok(());
                }
                // Someone else changed the table: put it back whole.
                Err(refused) => tracing::warn!(table = self.name, what = refused.what,
                    error = %refused.source(), "the firewall was changed by someone else"),
            }
        }
        self.applied = None;
        let whole = batch::whole(&self.name, &wanted);
        self.socket.transact(whole).map_err(|refused| self.failed(&refused))?;
        self.applied = Some(wanted);
        Ok(())
    }

    /// Takes the table away, if it is there.
    ///
    /// # Errors
    /// [`FirewallError`].
    pub fn remove(&mut self) -> Result<(), FirewallError> {
        self.applied = None;
        let batch = batch::removal(&self.name);
        self.socket.transact(batch).map_err(|refused| self.failed(&refused))
    }

    fn failed(&self, refused: &Refused) -> FirewallError {
        FirewallError {
            table: self.name.clone(),
            what: refused.what.clone(),
            source: refused.source(),
        }
    }
}
