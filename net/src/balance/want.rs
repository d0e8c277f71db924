//! What the balancer of one host should do: plain data.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Addresses;

/// Everything this host balances. What is not named here is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceWant {
    pub vips: Vec<VipWant>,
    pub published: Vec<PublishedWant>,
    /// Containers that keep the connections they have, also while they take no
    /// new ones because they start or are about to stop. What was balanced to
    /// any other address of an overlay ends, unless it is a backend.
    pub held: Addresses,
    /// Containers may connect to this host's own outside addresses. If not,
    /// they reach the resolver on their gateway and nothing else of the host.
    pub host_access: bool,
}

/// A service address inside an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipWant {
    /// Shown beside the rule.
    pub name: String,
    pub address: Ipv4Addr,
    /// Container addresses on the same overlay; one that stands there twice gets
    /// twice as many. None: connections are refused.
    pub backends: Vec<Ipv4Addr>,
    /// A caller comes to the same backend each time, as long as none comes or
    /// goes.
    pub sticky: bool,
}

/// A port that every host serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedWant {
    /// Shown beside the rule.
    pub name: String,
    pub protocol: Protocol,
    /// On the host.
    pub port: u16,
    /// In the container.
    pub target_port: u16,
    /// Container addresses, each on the overlay that its container's default
    /// route uses; one that stands there twice gets twice as many. None:
    /// connections are refused.
    pub backends: Vec<Ipv4Addr>,
    /// A client comes to the same backend each time, by whichever host.
    pub sticky: bool,
}

/// What a published port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As packets say it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl BalanceWant {
    /// Whether there is nothing to balance.
    pub(super) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.published.is_empty()
    }

    /// Every port that hosts serve.
    pub(crate) fn ports(&self) -> BTreeSet<(Protocol, u16)> {
        let published = self.published.iter();
        published.map(|port| (port.protocol, port.port)).collect()
    }

    /// Those of `addresses` that are a backend of anything.
    pub(crate) fn serving_among(&self, addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
        if addresses.is_empty() {
            return BTreeSet::new();
        }
        let vips = self.vips.iter().flat_map(|vip| &vip.backends);
        let published = self.published.iter().flat_map(|port| &port.backends);
        let all = vips.chain(published).copied();
        all.filter(|it| addresses.contains(it)).collect()
    }

    /// Whether some address that kept its connections in `before` does not now.
    pub(crate) fn holds_less(&self, before: &Self) -> bool {
        self.held != before.held && !before.held.is_subset(&self.held)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}
