//! What the overlays of one host should be: plain data, made by the caller from
//! what the managers assigned.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Mac, Subnet, mac_of};

/// Every overlay this host takes part in. What is not named here is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayWant {
    pub networks: Vec<NetworkWant>,
}

/// One overlay network, seen from this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWant {
    /// For messages only.
    pub id: String,
    /// The bridge that the container engine made. While it does not exist the
    /// network is left out and reported.
    pub bridge: String,
    /// 1 to 2^24 - 1, the same on every host.
    pub vni: u32,
    /// UDP port of the tunnel, the same on every host.
    pub port: u16,
    /// This host's end of the tunnels.
    pub local_vtep: Ipv4Addr,
    /// The device that this network's packets must come in by, such as the
    /// encrypting one. What comes in by another is dropped. `None`: any device.
    pub underlay: Option<String>,
    /// Of the tunnel and the bridge, in bytes: 50 less than the underlay's.
    pub mtu: u32,
    pub subnet: Subnet,
    /// This host's own address on the bridge.
    pub gateway: Ipv4Addr,
    /// The other hosts on this network.
    pub peers: Vec<PeerWant>,
    /// The containers on other hosts.
    pub remotes: Vec<RemoteWant>,
    /// Service addresses that the bridge answers for.
    pub vips: Vec<Ipv4Addr>,
    /// Nothing from outside the network reaches it, not even by a published
    /// port.
    pub internal: bool,
}

/// Another host on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerWant {
    /// Its end of the tunnels.
    pub vtep: Ipv4Addr,
    /// Its address on its own bridge.
    pub gateway: Ipv4Addr,
}

/// A container on another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteWant {
    pub ip: Ipv4Addr,
    pub mac: Mac,
    /// The tunnel end of the host it runs on.
    pub vtep: Ipv4Addr,
}

impl RemoteWant {
    /// A container with the MAC that follows from its address.
    pub fn new(ip: Ipv4Addr, vtep: Ipv4Addr) -> Self {
        Self {
            ip,
            mac: mac_of(ip),
            vtep,
        }
    }
}

impl NetworkWant {
    /// Every station behind a tunnel: the peers' gateways and the containers.
    pub(super) fn stations(&self) -> impl Iterator<Item = RemoteWant> + '_ {
        let gateways = self
            .peers
            .iter()
            .map(|peer| RemoteWant::new(peer.gateway, peer.vtep));
        gateways.chain(self.remotes.iter().copied())
    }
}
