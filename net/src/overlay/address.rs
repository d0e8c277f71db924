//! Addresses of an overlay: the subnet, and the MAC that follows from each IP.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The entry that stands for every address without one of its own.
    pub const UNKNOWN: Self = Self([0; 6]);
}

/// The MAC of `address` on an overlay: 02:42 and the four bytes.
///
/// Container engines derive the same one, so every host knows the MAC of every
/// address without asking. Gateways follow the rule too, which is how a host
/// recognises frames that another host forwarded.
pub fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac([0x02, 0x42, a, b, c, d])
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 subnet such as `10.0.1.0/24`; host bits are cleared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

/// Text or numbers that are no subnet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an IPv4 subnet such as 10.0.1.0/24")]
pub struct SubnetError(String);

impl Subnet {
    /// The subnet of `prefix` bits that `address` lies in.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, SubnetError> {
        if prefix > 32 {
            return Err(SubnetError(format!("{address}/{prefix}")));
        }
        let network = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
        Ok(Self { network, prefix })
    }

    /// The first address, with all host bits clear.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// How many leading bits all members share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `address` is a member.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let wrong = || SubnetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().map_err(|_| wrong())?;
        Self::new(address, prefix).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_follows_from_the_address() {
        let mac = mac_of(Ipv4Addr::new(10, 0, 1, 255));
        assert_eq!(mac.to_string(), "02:42:0a:00:01:ff");
    }

    #[test]
    fn a_subnet_contains_its_members_only() {
        let subnet: Subnet = "10.0.1.7/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.0.1.0/24");
        assert!(subnet.contains(Ipv4Addr::new(10, 0, 1, 255)));
        assert!(!subnet.contains(Ipv4Addr::new(10, 0, 2, 0)));
    }

    #[test]
    fn the_widest_and_the_narrowest_subnet_work() {
        let all: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(Ipv4Addr::new(203, 0, 113, 9)));
        let one: Subnet = "10.0.1.7/32".parse().unwrap();
        assert!(one.contains(Ipv4Addr::new(10, 0, 1, 7)));
        assert!(!one.contains(Ipv4Addr::new(10, 0, 1, 6)));
    }

    #[test]
    fn what_is_no_subnet_is_refused_by_its_text() {
        for text in ["10.0.1.0", "10.0.1.0/33", "10.0.1/24", "x/24", ""] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
