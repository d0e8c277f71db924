//! Which network an address is on, found without looking at all of them.

use std::net::Ipv4Addr;

use crate::overlay::{NetworkWant, Subnet};

/// The subnets of the networks that are in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subnets {
    /// With whether each is internal; by address, and they do not overlap.
    sorted: Vec<(Subnet, bool)>,
}

impl Subnets {
    pub(super) fn of(networks: &[NetworkWant]) -> Self {
        let subnets = networks.iter();
        subnets.map(|it| (it.subnet, it.internal)).collect()
    }

    /// Whether `address` is on one of them.
    pub(super) fn have(&self, address: Ipv4Addr) -> bool {
        self.find(address).is_some()
    }

    /// Whether it is, and may be reached from outside.
    pub(super) fn have_open(&self, address: Ipv4Addr) -> bool {
        self.find(address).is_some_and(|(_, internal)| !internal)
    }

    /// Whether both are on the same one.
    pub(super) fn join(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        self.find(one)
            .is_some_and(|(subnet, _)| subnet.contains(other))
    }

    fn find(&self, address: Ipv4Addr) -> Option<(Subnet, bool)> {
        let after = self
            .sorted
            .partition_point(|(subnet, _)| subnet.network() <= address);
        let found = self.sorted.get(after.checked_sub(1)?)?;
        found.0.contains(address).then_some(*found)
    }
}

impl FromIterator<(Subnet, bool)> for Subnets {
    fn from_iter<I: IntoIterator<Item = (Subnet, bool)>>(subnets: I) -> Self {
        let mut sorted: Vec<_> = subnets.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_between_its_neighbours() {
        let subnet = |text: &str, internal| (text.parse().unwrap(), internal);
        let subnets = Subnets {
            sorted: vec![subnet("10.0.1.0/24", false), subnet("10.0.4.0/22", true)],
        };
        let ip = |third, last| Ipv4Addr::new(10, 0, third, last);
        assert!(subnets.have(ip(1, 0)) && subnets.have(ip(7, 255)));
        assert!(!subnets.have(ip(0, 255)) && !subnets.have(ip(2, 0)) && !subnets.have(ip(8, 0)));
        assert!(subnets.have_open(ip(1, 9)) && !subnets.have_open(ip(5, 9)));
        assert!(subnets.join(ip(4, 1), ip(7, 1)) && !subnets.join(ip(4, 1), ip(1, 1)));
    }
}
