//! The netlink messages of neighbour and forwarding entries. Pure.

use std::net::Ipv4Addr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::Mac;

/// `ip` is at `mac`: an entry of the bridge device, so that neither the host nor
/// its containers need to ask.
pub(super) fn neighbour(bridge: u32, ip: Ipv4Addr, mac: Mac) -> NeighbourMessage {
    let mut message = neighbour_key(bridge, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(hardware(mac));
    message
}

/// The entry for `ip`, whatever it says.
pub(super) fn neighbour_key(bridge: u32, ip: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = bridge;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)));
    message
}

/// `mac` is behind the tunnel end `vtep`: an entry of the tunnel device.
pub(super) fn forward(tunnel: u32, mac: Mac, vtep: Ipv4Addr) -> NeighbourMessage {
    let mut message = bridge_message(tunnel, mac, NeighbourFlags::Own);
    message.header.state = NeighbourState::Permanent;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::Inet(
            vtep,
        )));
    message
}

/// `mac` is behind the tunnel: an entry of the bridge, static but overruled by
/// the container itself when it turns up at another port.
pub(super) fn entry(tunnel: u32, mac: Mac) -> NeighbourMessage {
    let mut message = bridge_message(tunnel, mac, NeighbourFlags::Controller);
    message.header.state = NeighbourState::Noarp;
    message
}

fn bridge_message(tunnel: u32, mac: Mac, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = tunnel;
    message.header.flags = flags;
    message.attributes.push(hardware(mac));
    message
}

fn hardware(mac: Mac) -> NeighbourAttribute {
    NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())
}
