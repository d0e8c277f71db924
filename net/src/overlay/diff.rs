//! What to do so that the kernel holds what is wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use super::{BridgeHave, Have, Mac, NetworkWant, OverlayWant, TunnelHave, mac_of};

/// How our tunnel devices are told from others.
pub(super) const TUNNEL_PREFIX: &str = "swx-";

/// The tunnel device of a network.
pub fn tunnel_name(vni: u32) -> String {
    format!("{TUNNEL_PREFIX}{vni}")
}

/// One change in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes the device `name` like `tunnel`, as a port of `bridge`.
    AddTunnel {
        name: String,
        bridge: String,
        tunnel: TunnelHave,
    },
    DeleteTunnel {
        name: String,
    },
    /// Sets MAC and MTU, and brings the bridge up.
    SetBridge {
        bridge: String,
        mac: Mac,
        mtu: u32,
    },
    AddAddress {
        bridge: String,
        address: Ipv4Addr,
        prefix: u8,
    },
    DeleteAddress {
        bridge: String,
        address: Ipv4Addr,
        prefix: u8,
    },
    SetHairpin {
        bridge: String,
        port: String,
        on: bool,
    },
    SetNeighbour {
        bridge: String,
        ip: Ipv4Addr,
        mac: Mac,
    },
    DeleteNeighbour {
        bridge: String,
        ip: Ipv4Addr,
    },
    AddFlood {
        tunnel: String,
        vtep: Ipv4Addr,
    },
    DeleteFlood {
        tunnel: String,
        vtep: Ipv4Addr,
    },
    SetForward {
        tunnel: String,
        mac: Mac,
        vtep: Ipv4Addr,
    },
    DeleteForward {
        tunnel: String,
        mac: Mac,
        vtep: Ipv4Addr,
    },
    AddEntry {
        tunnel: String,
        mac: Mac,
    },
    DeleteEntry {
        tunnel: String,
        mac: Mac,
    },
}

/// Steps in two halves, so that the caller can change the balancer between
/// them: a path exists before the first packet takes it and goes away after the
/// last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub grow: Vec<Step>,
    pub shrink: Vec<Step>,
    /// Wanted networks whose bridge is not made yet, by position in the want.
    pub missing: Vec<usize>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.grow.is_empty() && self.shrink.is_empty()
    }

    /// What is to be done about what was there and is not, in words. A
    /// container's port that is just coming is none of it.
    pub(crate) fn repairs(&self) -> impl Iterator<Item = String> {
        let steps = self.grow.iter().chain(&self.shrink);
        steps
            .filter(|step| !matches!(step, Step::SetHairpin { .. }))
            .map(Step::to_string)
    }
}

/// The steps from `have` to `want`.
///
/// A bridge in `have` that no network wants is one that we used before: what we
/// put on it is taken off.
pub fn diff(want: &OverlayWant, have: &Have) -> Plan {
    let mut plan = Plan::default();
    let mut wanted_bridges = BTreeSet::new();
    let mut wanted_tunnels = BTreeSet::new();
    for (position, network) in want.networks.iter().enumerate() {
        wanted_bridges.insert(&network.bridge);
        wanted_tunnels.insert(tunnel_name(network.vni));
        match have.bridges.get(&network.bridge) {
            Some(bridge) if is_made(network, bridge) => {
                diff_bridge(network, bridge, &mut plan);
                diff_tunnel(network, have, &mut plan);
            }
            _ => plan.missing.push(position),
        }
    }
    for (name, bridge) in &have.bridges {
        if !wanted_bridges.contains(name) {
            clear_bridge(name, bridge, &mut plan);
        }
    }
    for name in have.tunnels.keys() {
        if !wanted_tunnels.contains(name) {
            plan.shrink.push(Step::DeleteTunnel { name: name.clone() });
        }
    }
    plan
}

/// Whether the engine is done with the bridge. It gives it the gateway address
/// last, and fails if somebody was faster.
pub(super) fn is_made(want: &NetworkWant, have: &BridgeHave) -> bool {
    let gateway = (want.gateway, want.subnet.prefix());
    have.addresses.contains(&gateway)
}

fn diff_bridge(want: &NetworkWant, have: &BridgeHave, plan: &mut Plan) {
    let bridge = || want.bridge.clone();
    let mac = mac_of(want.gateway);
    if have.mac != mac || have.mtu != want.mtu || !have.up {
        plan.grow.push(Step::SetBridge {
            bridge: bridge(),
            mac,
            mtu: want.mtu,
        });
    }
    let addresses: BTreeSet<_> = want.vips.iter().map(|vip| (*vip, 32)).collect();
    for &(address, prefix) in addresses.difference(&have.addresses) {
        plan.grow.push(Step::AddAddress {
            bridge: bridge(),
            address,
            prefix,
        });
    }
    // Wider addresses are the engine's.
    for &(address, prefix) in have.addresses.difference(&addresses) {
        if prefix == 32 {
            plan.shrink.push(Step::DeleteAddress {
                bridge: bridge(),
                address,
                prefix,
            });
        }
    }
    for (port, _) in have.ports.iter().filter(|(_, hairpin)| !**hairpin) {
        plan.grow.push(Step::SetHairpin {
            bridge: bridge(),
            port: port.clone(),
            on: true,
        });
    }
    let neighbours: BTreeMap<_, _> = want.stations().map(|it| (it.ip, it.mac)).collect();
    for (&ip, &mac) in &neighbours {
        if have.neighbours.get(&ip) != Some(&mac) {
            plan.grow.push(Step::SetNeighbour {
                bridge: bridge(),
                ip,
                mac,
            });
        }
    }
    for &ip in have.neighbours.keys() {
        if !neighbours.contains_key(&ip) {
            plan.shrink.push(Step::DeleteNeighbour {
                bridge: bridge(),
                ip,
            });
        }
    }
}

fn diff_tunnel(want: &NetworkWant, have: &Have, plan: &mut Plan) {
    let name = tunnel_name(want.vni);
    let fresh = TunnelHave {
        vni: want.vni,
        port: want.port,
        local_vtep: Some(want.local_vtep),
        mtu: want.mtu,
        up: true,
        learning: false,
        bridge: Some(want.bridge.clone()),
        suppresses: true,
        floods: BTreeSet::new(),
        forwards: BTreeMap::new(),
        entries: BTreeSet::new(),
    };
    let existing = have.tunnels.get(&name);
    let kept = existing.filter(|it| is_like(it, &fresh));
    if kept.is_none() {
        if existing.is_some() {
            plan.grow.push(Step::DeleteTunnel { name: name.clone() });
        }
        plan.grow.push(Step::AddTunnel {
            name: name.clone(),
            bridge: want.bridge.clone(),
            tunnel: fresh.clone(),
        });
    }
    diff_entries(want, &name, kept.unwrap_or(&fresh), plan);
}

/// Whether the device itself needs no change, its entries aside.
fn is_like(have: &TunnelHave, fresh: &TunnelHave) -> bool {
    let bare = TunnelHave {
        floods: BTreeSet::new(),
        forwards: BTreeMap::new(),
        entries: BTreeSet::new(),
        ..have.clone()
    };
    bare == *fresh
}

fn diff_entries(want: &NetworkWant, name: &str, have: &TunnelHave, plan: &mut Plan) {
    let tunnel = || name.to_owned();
    let floods: BTreeSet<_> = want.peers.iter().map(|peer| peer.vtep).collect();
    for &vtep in floods.difference(&have.floods) {
        plan.grow.push(Step::AddFlood {
            tunnel: tunnel(),
            vtep,
        });
    }
    for &vtep in have.floods.difference(&floods) {
        plan.shrink.push(Step::DeleteFlood {
            tunnel: tunnel(),
            vtep,
        });
    }
    let forwards: BTreeMap<_, _> = want.stations().map(|it| (it.mac, it.vtep)).collect();
    for (&mac, &vtep) in &forwards {
        if have.forwards.get(&mac) != Some(&vtep) {
            plan.grow.push(Step::SetForward {
                tunnel: tunnel(),
                mac,
                vtep,
            });
        }
        if !have.entries.contains(&mac) {
            plan.grow.push(Step::AddEntry {
                tunnel: tunnel(),
                mac,
            });
        }
    }
    for (&mac, &vtep) in &have.forwards {
        if !forwards.contains_key(&mac) {
            plan.shrink.push(Step::DeleteForward {
                tunnel: tunnel(),
                mac,
                vtep,
            });
        }
    }
    for &mac in &have.entries {
        if !forwards.contains_key(&mac) {
            plan.shrink.push(Step::DeleteEntry {
                tunnel: tunnel(),
                mac,
            });
        }
    }
}

/// Takes off what we put on a bridge that is no longer ours.
fn clear_bridge(name: &str, have: &BridgeHave, plan: &mut Plan) {
    for &(address, prefix) in have.addresses.iter().filter(|(_, prefix)| *prefix == 32) {
        plan.shrink.push(Step::DeleteAddress {
            bridge: name.to_owned(),
            address,
            prefix,
        });
    }
    for &ip in have.neighbours.keys() {
        plan.shrink.push(Step::DeleteNeighbour {
            bridge: name.to_owned(),
            ip,
        });
    }
    for (port, _) in have.ports.iter().filter(|(_, hairpin)| **hairpin) {
        plan.shrink.push(Step::SetHairpin {
            bridge: name.to_owned(),
            port: port.clone(),
            on: false,
        });
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTunnel { name, bridge, .. } => write!(f, "add tunnel {name} to {bridge}"),
            Self::DeleteTunnel { name } => write!(f, "delete tunnel {name}"),
            Self::SetBridge { bridge, mac, mtu } => {
                write!(f, "give {bridge} the MAC {mac} and an MTU of {mtu}")
            }
            Self::AddAddress {
                bridge,
                address,
                prefix,
            } => write!(f, "add {address}/{prefix} to {bridge}"),
            Self::DeleteAddress {
                bridge,
                address,
                prefix,
            } => write!(f, "delete {address}/{prefix} from {bridge}"),
            Self::SetHairpin { bridge, port, on } => {
                let state = if *on { "on" } else { "off" };
                write!(f, "turn hairpin {state} at port {port} of {bridge}")
            }
            Self::SetNeighbour { bridge, ip, mac } => {
                write!(f, "set neighbour {ip} at {mac} on {bridge}")
            }
            Self::DeleteNeighbour { bridge, ip } => {
                write!(f, "delete neighbour {ip} from {bridge}")
            }
            Self::AddFlood { tunnel, vtep } => write!(f, "flood {tunnel} to {vtep}"),
            Self::DeleteFlood { tunnel, vtep } => write!(f, "stop flooding {tunnel} to {vtep}"),
            Self::SetForward { tunnel, mac, vtep } => {
                write!(f, "forward {mac} on {tunnel} to {vtep}")
            }
            Self::DeleteForward { tunnel, mac, vtep } => {
                write!(f, "stop forwarding {mac} on {tunnel} to {vtep}")
            }
            Self::AddEntry { tunnel, mac } => write!(f, "put {mac} behind {tunnel}"),
            Self::DeleteEntry { tunnel, mac } => write!(f, "forget {mac} behind {tunnel}"),
        }
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
