//! From an assignment to this node's end of the encrypted tunnels. Pure.

use std::net::SocketAddrV4;

use swarmr_net::tunnel::{PublicKey, TunnelPeer as NetPeer, TunnelWant};

use super::wants::Underlay;
use crate::state::assignment::Assignment;
use crate::state::tunnel::{TunnelKey, TunnelPeer, range};

/// What encryption adds to a packet, in bytes: an IPv4 and a UDP header, and WireGuard's own.
pub(super) const OVERHEAD: u32 = 60;
/// What an overlay adds below that, in bytes.
const OVERLAY_OVERHEAD: u32 = 50;

/// `None` where no network is encrypted.
pub(super) fn want(assignment: &Assignment, underlay: &Underlay) -> Option<TunnelWant> {
    let tunnel = assignment.tunnel.as_ref()?;
    let mtu = (underlay.overlay_mtu + OVERLAY_OVERHEAD).saturating_sub(OVERHEAD);
    Some(TunnelWant {
        address: tunnel.addr,
        prefix: range().prefix(),
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        port: underlay.tunnel_port,
        keys: underlay.tunnel_keys.clone(),
        peers: tunnel.peers.iter().filter_map(peer).collect(),
    })
}

/// `None` for one that has not told of its end yet.
fn peer(peer: &TunnelPeer) -> Option<NetPeer> {
    let end = peer.end.as_ref()?;
    Some(NetPeer {
        address: peer.addr,
        endpoint: SocketAddrV4::new(peer.data_path_addr, end.port),
        keys: end.keys.iter().filter_map(key).collect(),
    })
}

fn key(key: &TunnelKey) -> Option<PublicKey> {
    key.as_str().parse().ok()
}
