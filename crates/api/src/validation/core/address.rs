//! Whether texts are addresses and networks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::validation::report::{At, Report};

/// `must be a valid IP address, …`
pub(super) fn valid_ip(at: At<'_>, value: &str, out: &mut Report) -> Option<IpAddr> {
    let address = value.parse().ok();
    if address.is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        out.invalid(at, value, why);
    }
    address
}

/// `must be a valid CIDR value, …`
pub(super) fn valid_cidr(at: At<'_>, value: &str, out: &mut Report) -> Option<IpAddr> {
    let parsed = value.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        (bits <= max).then_some(address)
    });
    if parsed.is_none() {
        out.invalid(at, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    }
    parsed
}

/// Whether both families are there, once each.
pub(super) fn dual_stack(addresses: &[IpAddr]) -> bool {
    matches!(addresses, [first, second] if first.is_ipv4() != second.is_ipv4())
}

/// Refuses addresses that no endpoint can have.
pub(in crate::validation) fn non_special_ip(at: At<'_>, address: IpAddr, out: &mut Report) {
    let text = address.to_string();
    if address.is_unspecified() {
        out.invalid(at, &*text, &format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        let why = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        out.invalid(at, &*text, why);
    }
    let (unicast, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), is_v4_local_multicast(v4)),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), is_v6_local_multicast(v6)),
    };
    if unicast {
        let why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
        out.invalid(at, &*text, why);
    }
    if multicast {
        let why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
        out.invalid(at, &*text, why);
    }
}

fn is_v4_local_multicast(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224, 0, 0, _])
}

fn is_v6_local_multicast(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xff0f == 0xff02
}
