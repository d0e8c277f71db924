//! What the kernel holds, as plain data, and what a step makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Mac, Step};

/// The devices that concern us, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Have {
    /// The bridges asked about that exist.
    pub bridges: BTreeMap<String, BridgeHave>,
    /// Every tunnel device of ours, wanted or not.
    pub tunnels: BTreeMap<String, TunnelHave>,
}

/// A bridge of the container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeHave {
    pub mac: Mac,
    pub mtu: u32,
    pub up: bool,
    pub addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// Ports other than our tunnel: name and whether hairpin mode is on.
    pub ports: BTreeMap<String, bool>,
    /// Permanent neighbour entries.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
}

/// A tunnel device of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelHave {
    pub vni: u32,
    pub port: u16,
    pub local_vtep: Option<Ipv4Addr>,
    pub mtu: u32,
    pub up: bool,
    pub learning: bool,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// The bridge answers ARP for what is behind the tunnel.
    pub suppresses: bool,
    /// Where frames for unknown addresses go.
    pub floods: BTreeSet<Ipv4Addr>,
    /// Which tunnel end an address is behind.
    pub forwards: BTreeMap<Mac, Ipv4Addr>,
    /// Addresses that the bridge knows to be behind the tunnel.
    pub entries: BTreeSet<Mac>,
}

impl Have {
    /// What is there after `step` succeeded. A step on something unknown
    /// changes nothing.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::AddTunnel { name, tunnel, .. } => {
                self.tunnels.insert(name.clone(), tunnel.clone());
            }
            Step::DeleteTunnel { name } => {
                self.tunnels.remove(name);
            }
            Step::SetBridge { bridge, mac, mtu } => self.bridge(bridge, |have| {
                have.mac = *mac;
                have.mtu = *mtu;
                have.up = true;
            }),
            Step::AddAddress {
                bridge,
                address,
                prefix,
            } => self.bridge(bridge, |have| {
                have.addresses.insert((*address, *prefix));
            }),
            Step::DeleteAddress {
                bridge,
                address,
                prefix,
            } => self.bridge(bridge, |have| {
                have.addresses.remove(&(*address, *prefix));
            }),
            Step::SetHairpin { bridge, port, on } => self.bridge(bridge, |have| {
                have.ports.insert(port.clone(), *on);
            }),
            Step::SetNeighbour { bridge, ip, mac } => self.bridge(bridge, |have| {
                have.neighbours.insert(*ip, *mac);
            }),
            Step::DeleteNeighbour { bridge, ip } => self.bridge(bridge, |have| {
                have.neighbours.remove(ip);
            }),
            Step::AddFlood { tunnel, vtep } => self.tunnel(tunnel, |have| {
                have.floods.insert(*vtep);
            }),
            Step::DeleteFlood { tunnel, vtep } => self.tunnel(tunnel, |have| {
                have.floods.remove(vtep);
            }),
            Step::SetForward { tunnel, mac, vtep } => self.tunnel(tunnel, |have| {
                have.forwards.insert(*mac, *vtep);
            }),
            Step::DeleteForward { tunnel, mac, .. } => self.tunnel(tunnel, |have| {
                have.forwards.remove(mac);
            }),
            Step::AddEntry { tunnel, mac } => self.tunnel(tunnel, |have| {
                have.entries.insert(*mac);
            }),
            Step::DeleteEntry { tunnel, mac } => self.tunnel(tunnel, |have| {
                have.entries.remove(mac);
            }),
        }
    }

    fn bridge(&mut self, name: &str, change: impl FnOnce(&mut BridgeHave)) {
        if let Some(have) = self.bridges.get_mut(name) {
            change(have);
        }
    }

    fn tunnel(&mut self, name: &str, change: impl FnOnce(&mut TunnelHave)) {
        if let Some(have) = self.tunnels.get_mut(name) {
            change(have);
        }
    }
}
