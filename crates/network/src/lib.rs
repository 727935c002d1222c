//! Addresses, firewall rules and DNS records as values computed from objects.
//!
//! ```text
//!   Service + EndpointSlices ──┬── firewall::service_rules   what the node's firewall maps
//!                              └── records::service_records  what DNS answers
//!   Pod ───────────────────────── firewall::host_port_rules
//! ```
//!
//! Each function sees one Service or one pod, so that a change costs no more than itself. It
//! knows neither the kernel nor the wire.

#![forbid(unsafe_code)]

pub mod endpoints;
pub mod firewall;
pub mod records;
#[cfg(test)]
mod tests;
