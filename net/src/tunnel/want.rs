//! What the tunnel of one host should be: plain data.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use super::{PrivateKey, PublicKey};

/// This host's end of the encrypted tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelWant {
    /// This host's address inside the tunnels, and how many leading bits all
    /// hosts' addresses share.
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// Of the device, in bytes: 60 less than the underlay's.
    pub mtu: u16,
    /// UDP port on the underlay.
    pub port: u16,
    /// Newest first. Peers that do not know the newest yet are talked to with
    /// an older one.
    pub keys: Vec<PrivateKey>,
    pub peers: Vec<TunnelPeer>,
}

/// The end of the tunnels on another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelPeer {
    /// Inside the tunnels. Packets from it that say otherwise are dropped.
    pub address: Ipv4Addr,
    /// On the underlay, until packets that are its own come from elsewhere.
    pub endpoint: SocketAddrV4,
    /// Newest first. None: nothing can be sent to it yet.
    pub keys: Vec<PublicKey>,
}
