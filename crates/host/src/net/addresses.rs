//! Which pod has which address. The keepers' records hold the truth; this is rebuilt from them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use stdx::cidr::Cidr;

use super::NetworkError;

/// Offsets that no pod gets: the network's own address and the gateway's.
const RESERVED: u32 = 2;

/// The addresses of a node's block.
#[derive(Debug, Clone)]
pub struct Addresses {
    block: Cidr,
    owners: BTreeMap<Ipv4Addr, String>,
    /// Offset after the last one given: a freed address rests as long as possible.
    next: u32,
}

impl Addresses {
    /// The block, all free.
    #[must_use]
    pub fn new(block: Cidr) -> Self {
        Self { block, owners: BTreeMap::new(), next: RESERVED }
    }

    /// Notes an address that a pod was found to have. False where another pod has it already.
    pub fn adopt(&mut self, address: Ipv4Addr, pod_uid: &str) -> bool {
        match self.owners.get(&address) {
            Some(owner) => owner == pod_uid,
            None => {
                self.owners.insert(address, pod_uid.to_owned());
                let offset = address.to_bits().wrapping_sub(self.block.first().to_bits());
                if self.block.contains(address) && offset >= self.next {
                    self.next = offset.wrapping_add(1);
                }
                true
            }
        }
    }

    /// The pod's address: the one it has, or the lowest free one after the last one given.
    ///
    /// # Errors
    /// [`NetworkError::Full`].
    pub fn allocate(&mut self, pod_uid: &str) -> Result<Ipv4Addr, NetworkError> {
        if let Some((address, _)) = self.owners.iter().find(|(_, owner)| *owner == pod_uid) {
            return Ok(*address);
        }
        let full = || NetworkError::Full(self.block);
        let end = self.block.last().to_bits() - self.block.first().to_bits();
        let rest = (self.next.max(RESERVED)..end).chain(RESERVED..self.next.min(end));
        let (offset, address) = rest
            .filter_map(|offset| Some((offset, self.block.nth(offset)?)))
            .find(|(_, address)| !self.owners.contains_key(address))
            .ok_or_else(full)?;
        self.next = offset + 1;
        self.owners.insert(address, pod_uid.to_owned());
        Ok(address)
    }

    /// Frees what the pod has.
    pub fn release(&mut self, pod_uid: &str) {
        self.owners.retain(|_, owner| owner != pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(address: Result<Ipv4Addr, NetworkError>) -> String {
        address.map_or_else(|error| error.to_string(), |address| address.octets()[3].to_string())
    }

    #[test]
    fn freed_addresses_rest() {
        let mut all = Addresses::new("10.0.0.0/29".parse().unwrap());
        assert_eq!(last(all.allocate("a")), "2");
        assert_eq!(last(all.allocate("a")), "2");
        assert_eq!(last(all.allocate("b")), "3");
        all.release("a");
        assert_eq!(last(all.allocate("c")), "4");
        assert_eq!(last(all.allocate("d")), "5");
        assert_eq!(last(all.allocate("e")), "6");
        assert_eq!(last(all.allocate("f")), "2");
        assert_eq!(last(all.allocate("g")), "no free pod address in 10.0.0.0/29");
        all.release("nobody");
        all.release("d");
        assert_eq!(last(all.allocate("g")), "5");
    }

    #[test]
    fn records_are_adopted() {
        let mut all = Addresses::new("10.0.0.0/29".parse().unwrap());
        assert!(all.adopt("10.0.0.3".parse().unwrap(), "a"));
        assert!(all.adopt("10.0.0.3".parse().unwrap(), "a"));
        assert!(!all.adopt("10.0.0.3".parse().unwrap(), "b"));
        // From a block that the node had earlier.
        assert!(all.adopt("10.9.0.9".parse().unwrap(), "old"));
        assert_eq!(last(all.allocate("a")), "3");
        assert_eq!(last(all.allocate("c")), "4");
        assert_eq!(
            last(Addresses::new("10.0.0.0/31".parse().unwrap()).allocate("x")),
            "no free pod address in 10.0.0.0/31"
        );
    }
}
