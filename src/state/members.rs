//! The list of the cluster's nodes as every node is told it: small, for there is one in each
//! assignment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Node;
use crate::spec::NodeId;

/// A node and where it is dialled, when that is an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterMember {
    pub node: NodeId,
    pub addr: Option<SocketAddr>,
}

/// Every node that has not left, in the order of their ids. Written as bytes, 23 for a node with an
/// IPv4 address: 5,000 of them are 115 kB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterMembers(pub Vec<ClusterMember>);

const NOWHERE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

impl ClusterMembers {
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let members = nodes.filter(|node| !node.status.has_left());
        let members = members.map(|node| ClusterMember {
            node: node.id,
            addr: node.addr.parse().ok(),
        });
        Self(members.collect())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(23 * self.0.len());
        for member in &self.0 {
            bytes.extend(member.node.bits().to_be_bytes());
            let Some(addr) = member.addr else {
                bytes.push(NOWHERE);
                continue;
            };
            match addr.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(V4);
                    bytes.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(V6);
                    bytes.extend(ip.octets());
                }
            }
            bytes.extend(addr.port().to_be_bytes());
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut members = Vec::with_capacity(bytes.len() / 23);
        while !bytes.is_empty() {
            let node = NodeId::from_bits(u128::from_be_bytes(take(&mut bytes)?));
            let [kind] = take(&mut bytes)?;
            let ip: Option<IpAddr> = match kind {
                NOWHERE => None,
                V4 => Some(Ipv4Addr::from(take::<4>(&mut bytes)?).into()),
                V6 => Some(Ipv6Addr::from(take::<16>(&mut bytes)?).into()),
                _ => return None,
            };
            let addr = match ip {
                Some(ip) => Some(SocketAddr::new(ip, u16::from_be_bytes(take(&mut bytes)?))),
                None => None,
            };
            members.push(ClusterMember { node, addr });
        }
        Some(Self(members))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

impl Serialize for ClusterMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for ClusterMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = ClusterMembers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a list of nodes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<ClusterMembers, E> {
                ClusterMembers::from_bytes(bytes)
                    .ok_or_else(|| E::custom("a list of nodes that is cut off or of a newer kind"))
            }
        }
        deserializer
            .deserialize_bytes(Bytes)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::codec;

    #[test]
    fn members_are_read_as_they_were_written_and_are_small() {
        let member = |node: u128, addr: Option<&str>| ClusterMember {
            node: NodeId::from_bits(node),
            addr: addr.map(|addr| addr.parse().unwrap()),
        };
        let members = ClusterMembers(vec![
            member(1, Some("192.0.2.1:2377")),
            member(u128::MAX, Some("[2001:db8::1]:2377")),
            member(3, None),
        ]);
        let bytes = codec::encode(&members).unwrap();
        assert_eq!(codec::decode::<ClusterMembers>(&bytes).unwrap(), members);
        let many = ClusterMembers(vec![members.0[0]; 5_000]);
        assert!(codec::encode(&many).unwrap().len() < 120_000);
        let cut = codec::encode(&ClusterMembers(vec![members.0[0]])).unwrap();
        let mut short = members.to_bytes();
        short.pop();
        assert_eq!(ClusterMembers::from_bytes(&short), None);
        assert!(codec::decode::<ClusterMembers>(&cut[..cut.len() - 1]).is_err());
    }
}
