//! What the balancer of one host should do: plain data.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Everything this host balances. What is not named here is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceWant {
    /// A number of this host's own, always the same. Hosts begin their rounds
    /// at different backends, so that one connection from each host does not
    /// mean all connections at the first backend.
    pub seed: u64,
    pub vips: Vec<VipWant>,
    pub published: Vec<PublishedWant>,
    /// Containers that keep the connections they have, also while they take no
    /// new ones because they start or are about to stop. What was balanced to
    /// any other address of an overlay ends, unless it is a backend.
    pub held: BTreeSet<Ipv4Addr>,
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
    /// Container addresses on the same overlay. None: connections are refused.
    pub backends: Vec<Ipv4Addr>,
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
    /// route uses. None: connections are refused.
    pub backends: Vec<Ipv4Addr>,
}

/// What a published port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As packets say it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl BalanceWant {
    /// Every port that hosts serve.
    pub(crate) fn ports(&self) -> BTreeSet<(Protocol, u16)> {
        let published = self.published.iter();
        published.map(|port| (port.protocol, port.port)).collect()
    }

    /// Every backend of anything.
    pub fn backends(&self) -> BTreeSet<Ipv4Addr> {
        let vips = self.vips.iter().flat_map(|vip| &vip.backends);
        let published = self.published.iter().flat_map(|port| &port.backends);
        vips.chain(published).copied().collect()
    }

    /// Whether some address takes or keeps fewer connections than in `before`.
    pub(crate) fn leaves_any(&self, before: &Self) -> bool {
        let (were_serving, serving) = (before.backends(), self.backends());
        let stopped_serving = !were_serving.is_subset(&serving);
        let mut held = before.held.iter();
        stopped_serving || held.any(|it| !self.held.contains(it) && !serving.contains(it))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
