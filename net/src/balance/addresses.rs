//! Many addresses that are compared and thrown away often.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Addresses, each once, in order. One block of memory: two of a hundred thousand
/// are compared in the time that a tree takes to be let go of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Ipv4Addr>")]
pub struct Addresses(Vec<Ipv4Addr>);

impl Addresses {
    /// Whether `address` is among them.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.binary_search(&address).is_ok()
    }

    /// Whether all of them are in `other` too.
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut theirs = other.0.iter();
        // Both are in order: what was passed over once is not looked at again.
        self.0
            .iter()
            .all(|address| theirs.find(|it| *it >= address) == Some(address))
    }
}

impl From<Vec<Ipv4Addr>> for Addresses {
    fn from(mut addresses: Vec<Ipv4Addr>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        Self(addresses)
    }
}

impl FromIterator<Ipv4Addr> for Addresses {
    fn from_iter<I: IntoIterator<Item = Ipv4Addr>>(addresses: I) -> Self {
        Self::from(addresses.into_iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(last: &[u8]) -> Addresses {
        last.iter().map(|it| Ipv4Addr::new(10, 0, 1, *it)).collect()
    }

    #[test]
    fn they_are_a_set() {
        assert_eq!(some(&[3, 1, 3, 2]), some(&[1, 2, 3]));
        let odd = some(&[1, 3, 5]);
        assert!(odd.contains(Ipv4Addr::new(10, 0, 1, 3)));
        assert!(!odd.contains(Ipv4Addr::new(10, 0, 1, 4)));
    }

    #[test]
    fn a_subset_has_nothing_of_its_own() {
        let cases = [
            (&[][..], &[][..], true),
            (&[], &[1], true),
            (&[1], &[], false),
            (&[1, 5], &[1, 3, 5], true),
            (&[1, 4], &[1, 3, 5], false),
            (&[1, 3, 5], &[1, 3, 5], true),
            (&[5, 6], &[1, 3, 5], false),
        ];
        for (one, other, subset) in cases {
            let (one, other) = (some(one), some(other));
            assert_eq!(one.is_subset(&other), subset, "{one:?} {other:?}");
        }
    }
}
