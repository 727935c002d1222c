//! A block of IPv4 addresses, which std has no type for.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// `10.244.0.0/24`. The address may lie anywhere in the block; equality is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The block of this prefix around the address; `None` for a prefix over 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix > 32 { None } else { Some(Self { address, prefix }) }
    }

    /// The address as it was given.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Bits that all addresses of the block share, 0..=32.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// `255.255.255.0` for a prefix of 24.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask().to_bits())
    }

    /// Its last address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask().to_bits())
    }

    /// The address this many after the first; `None` beyond the last.
    #[must_use]
    pub fn nth(self, offset: u32) -> Option<Ipv4Addr> {
        let address = self.first().to_bits().checked_add(offset)?;
        (address <= self.last().to_bits()).then(|| Ipv4Addr::from_bits(address))
    }

    /// Whether the address lies in the block.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&address)
    }

    /// Whether the blocks share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Not `a.b.c.d/n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCidr(String);

impl fmt::Display for NotCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no block of addresses such as 10.244.0.0/24", self.0)
    }
}

impl std::error::Error for NotCidr {}

impl FromStr for Cidr {
    type Err = NotCidr;

    fn from_str(text: &str) -> Result<Self, NotCidr> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            if prefix.len() > 2 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| NotCidr(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        for (text, first, last) in [
            ("10.244.0.7/24", "10.244.0.0", "10.244.0.255"),
            ("10.96.0.0/12", "10.96.0.0", "10.111.255.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.4"),
        ] {
            let block: Cidr = text.parse().unwrap();
            assert_eq!(
                (block.first().to_string(), block.last().to_string()),
                (first.into(), last.into())
            );
            assert_eq!(block.to_string(), text);
            assert!(block.contains(block.last()));
            assert_eq!(block.nth(0), Some(block.first()));
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+1", "10.0.0/8", "::/0"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn overlaps_are_mutual() {
        let blocks: Vec<Cidr> =
            ["10.0.0.0/8", "10.244.0.0/16", "10.244.1.0/24", "192.168.0.0/16", "0.0.0.0/0"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect();
        for a in &blocks {
            for b in &blocks {
                assert_eq!(a.overlaps(*b), b.overlaps(*a));
            }
        }
        assert!(!blocks[0].overlaps(blocks[3]));
        assert!(blocks[0].overlaps(blocks[2]));
        assert_eq!(blocks[2].nth(256), None);
    }
}
