//! An overlay network as its user asked for it, and IPv4 subnets.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::nullable::nullable;
use super::service::Labels;

/// What `POST /networks/create` says about a network of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkSpec {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(deserialize_with = "nullable")]
    pub internal: bool,
    #[serde(deserialize_with = "nullable")]
    pub attachable: bool,
    /// The network of the routing mesh; there is one.
    #[serde(deserialize_with = "nullable")]
    pub ingress: bool,
    #[serde(rename = "IPAM", deserialize_with = "nullable")]
    pub ipam: Ipam,
    #[serde(deserialize_with = "nullable")]
    pub options: Labels,
}

/// Where nodes send the traffic of encrypted networks, over UDP.
pub const TUNNEL_PORT: u16 = 2378;

impl NetworkSpec {
    /// Docker's name for traffic between nodes being encrypted.
    pub const ENCRYPTED: &str = "encrypted";

    /// Whether traffic between nodes is encrypted: unless somebody said that it need not be.
    pub fn is_encrypted(&self) -> bool {
        let said = self.options.get(Self::ENCRYPTED).map(String::as_str);
        !matches!(said, Some("false" | "0"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    #[serde(deserialize_with = "nullable")]
    pub driver: String,
    #[serde(deserialize_with = "nullable")]
    pub config: Vec<IpamConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    #[serde(deserialize_with = "nullable")]
    pub subnet: String,
    #[serde(deserialize_with = "nullable")]
    pub gateway: String,
    #[serde(rename = "IPRange", deserialize_with = "nullable")]
    pub ip_range: String,
}

/// An IPv4 subnet with its host bits cleared, written `10.0.1.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an IPv4 subnet: want ADDRESS/LENGTH such as 10.0.1.0/24, length 8 to 29")]
pub struct ParseSubnetError {
    got: String,
}

impl Subnet {
    /// The subnet of that length that holds `address`; `None` where the length is above 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self {
            base: u32::from(address) & mask(prefix),
            prefix,
        })
    }

    /// The length of the subnets that networks get from `pools`, where a client asked for `asked`.
    /// With pools of its own it is that, or 24 for 0. In the default pool it is 20, room for 4,000
    /// tasks; there 24 is what Docker's client sends when its user said nothing.
    pub const fn prefix_in(pools: &[Self], asked: u8) -> u8 {
        match asked {
            0 | 24 if pools.is_empty() => 20,
            0 => 24,
            _ => asked,
        }
    }

    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The network address.
    pub fn base(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// The `offset`-th address, `None` past the end or for the broadcast address.
    pub fn host(&self, offset: u32) -> Option<Ipv4Addr> {
        (u64::from(offset) + 1 < self.size()).then(|| Ipv4Addr::from(self.base + offset))
    }

    /// Where in the subnet an address is.
    pub fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        self.contains(address)
            .then(|| u32::from(address) - self.base)
    }

    /// Addresses in it, network and broadcast address included.
    pub fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.base
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let shorter = self.prefix.min(other.prefix);
        self.base & mask(shorter) == other.base & mask(shorter)
    }

    /// The subnets of length `prefix` inside it, in order.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let count: u64 = if prefix < self.prefix || prefix > 32 {
            0
        } else {
            1 << (prefix - self.prefix)
        };
        (0..count).map(move |ordinal| Self {
            // `ordinal` is below 2^(prefix - self.prefix), so the shifted value fits in 32 bits.
            base: self.base | u32::try_from(ordinal << (32 - u32::from(prefix))).unwrap_or(0),
            prefix,
        })
    }
}

fn mask(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - u32::from(prefix))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, ParseSubnetError> {
        text.split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse::<u8>().ok()?)))
            .filter(|(_, prefix)| (8..=29).contains(prefix))
            .and_then(|(address, prefix)| Self::new(address, prefix))
            .ok_or_else(|| ParseSubnetError {
                got: text.to_owned(),
            })
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_split_into_subnets_in_order() {
        let pool: Subnet = "10.0.0.0/8".parse().unwrap();
        let first: Vec<String> = pool
            .split(24)
            .take(3)
            .map(|subnet| subnet.to_string())
            .collect();
        assert_eq!(first, ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(pool.split(24).count(), 65_536);
        assert_eq!(pool.split(7).count(), 0);
    }

    #[test]
    fn networks_are_larger_where_nobody_said_how_large() {
        let pools = ["10.20.0.0/16".parse().unwrap()];
        let length = Subnet::prefix_in;
        assert_eq!([0, 24, 22].map(|asked| length(&[], asked)), [20, 20, 22]);
        assert_eq!([0, 24, 22].map(|asked| length(&pools, asked)), [24, 24, 22]);
    }

    #[test]
    fn hosts_end_before_the_broadcast_address() {
        let subnet: Subnet = "10.0.1.9/29".parse().unwrap();
        assert_eq!(subnet.host(6), Some(Ipv4Addr::new(10, 0, 1, 14)));
        assert_eq!(subnet.host(7), None);
        assert_eq!(subnet.offset(Ipv4Addr::new(10, 0, 1, 14)), Some(6));
        assert!(subnet.overlaps(&"10.0.0.0/16".parse().unwrap()));
        assert!(!subnet.overlaps(&"10.0.1.0/29".parse().unwrap()));
    }
}
