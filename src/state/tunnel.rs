//! A node's end of the encrypted tunnels, as others must know it.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::spec::NodeId;
use crate::spec::network::Subnet;

/// What a node's tunnel key is known by: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TunnelKey(String);

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tunnel key of 64 hexadecimal digits")]
pub struct ParseKeyError(String);

/// What a node says of its end. Said under its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// UDP port on the address of its data path.
    pub port: u16,
    /// Newest first.
    pub keys: Vec<TunnelKey>,
}

/// The tunnels of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedTunnel {
    /// Its own address inside.
    pub addr: Ipv4Addr,
    /// Its own keys, as the managers know them.
    pub keys: Vec<TunnelKey>,
    /// Nodes with which it shares an encrypted network.
    pub peers: Vec<TunnelPeer>,
}

/// Another node's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelPeer {
    pub node: NodeId,
    /// Inside the tunnels.
    pub addr: Ipv4Addr,
    /// On the network that carries them.
    pub data_path_addr: Ipv4Addr,
    /// `None` until it has told.
    pub end: Option<TunnelEnd>,
}

/// Where addresses inside the tunnels are from: routed nowhere, and used by nobody else.
pub fn range() -> Subnet {
    Subnet::new(Ipv4Addr::new(240, 83, 0, 0), 16).expect("16 is at most 32")
}

/// The next address after those that are `taken`: one that was just given back is not used again
/// while there are others. `None` where all are.
pub fn next_address(taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let range = range();
    let highest = taken.iter().filter_map(|it| range.offset(*it)).max();
    let after = highest.and_then(|highest| range.host(highest + 1));
    match (highest, after) {
        (None, _) => range.host(1),
        (_, Some(after)) => Some(after),
        (Some(highest), None) => {
            let mut all = (1..highest).filter_map(|offset| range.host(offset));
            all.find(|address| !taken.contains(address))
        }
    }
}

impl TunnelKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TunnelKey {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        let is_key = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        match is_key {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(ParseKeyError(text)),
        }
    }
}

impl From<TunnelKey> for String {
    fn from(key: TunnelKey) -> Self {
        key.0
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> Ipv4Addr {
        range().host(offset).unwrap()
    }

    #[test]
    fn addresses_are_given_out_in_turn_and_then_where_there_are_gaps() {
        assert_eq!(next_address(&[]), Some(at(1)));
        assert_eq!(next_address(&[at(1), at(7), at(3)]), Some(at(8)));
        let last = at(65_534);
        assert_eq!(next_address(&[at(1), at(2), last]), Some(at(3)));
        let all: Vec<_> = (1..65_535).map(at).collect();
        assert_eq!(next_address(&all), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "0", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert!(TunnelKey::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(TunnelKey::try_from("Ab".repeat(32)).is_ok());
    }
}
