//! Addresses, firewall rules and DNS records as values computed from objects.

#![forbid(unsafe_code)]
