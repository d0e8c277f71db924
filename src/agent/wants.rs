//! From an assignment to what the node's data path should be: overlays, balancing, names. Pure.
//!
//! The managers' word on who serves is taken, less what this node knows better: a container that
//! has died is out of its tables at once, before any manager has heard of it, and nothing new goes
//! to a node that is silent ([`Out`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use swarmr_net::balance::{BalanceWant, Protocol as NetProtocol, PublishedWant, VipWant};
use swarmr_net::dns::Table;
use swarmr_net::overlay::{NetworkWant, OverlayWant, PeerWant, RemoteWant, Subnet as NetSubnet};
use swarmr_net::tunnel::{DEVICE, PrivateKey};

use super::hearsay::{Out, Silence};
use super::names;
use super::network::NetworkWants;
use super::order::bridge_name;
use super::steer;
use super::tunnel;
use crate::spec::NodeId;
use crate::spec::network::{Subnet, TUNNEL_PORT};
use crate::spec::service::Protocol;
use crate::state::assignment::{
    AssignedNetwork, Assignment, NetworkEndpoint, NetworkService, PublishedPort, Want,
};

/// What of a node, beside its assignment, its data path depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Of overlays that name none: 50 less than the network's that carries them, in bytes.
    pub overlay_mtu: u32,
    /// The device that packets of plain overlays come in by; `None`: any.
    pub device: Option<String>,
    /// UDP port of the encrypted tunnels.
    pub tunnel_port: u16,
    /// This node's own keys for them, newest first.
    pub tunnel_keys: Vec<PrivateKey>,
}

impl Default for Underlay {
    fn default() -> Self {
        Self {
            overlay_mtu: 1450,
            device: None,
            tunnel_port: TUNNEL_PORT,
            tunnel_keys: Vec::new(),
        }
    }
}

/// What the data path should be. `out` is what takes no connections, whatever the managers still
/// believe.
pub fn wants(assignment: &Assignment, out: &Out, underlay: &Underlay) -> NetworkWants {
    let dead = addresses_of(assignment, |endpoint| out.dead.contains(&endpoint.task));
    let suspected = addresses_of(assignment, |it| {
        silence(it, out) == Some(Silence::Suspected)
    });
    let gone = addresses_of(assignment, |it| silence(it, out) == Some(Silence::Gone));
    let shunned = [&dead | &gone, suspected];
    let services = steer::services(assignment);
    NetworkWants {
        tunnel: tunnel::want(assignment, underlay),
        overlay: OverlayWant {
            networks: assignment
                .networks
                .iter()
                .map(|network| overlay(network, assignment, underlay))
                .collect(),
        },
        balance: BalanceWant {
            vips: assignment
                .networks
                .iter()
                .flat_map(|network| vips(network, assignment.node, out))
                .collect(),
            published: assignment
                .published
                .iter()
                .map(|port| {
                    let service = services.get(&(port.network, port.service));
                    published(port, &shunned, service.copied(), assignment.node)
                })
                .collect(),
            held: assignment
                .networks
                .iter()
                .flat_map(|network| &network.held)
                .filter(|address| !dead.contains(address))
                .copied()
                .collect(),
            host_access: false,
        },
        dns: Table {
            networks: assignment
                .networks
                .iter()
                .map(|network| names::of(network, out))
                .collect(),
            callers: callers(assignment),
        },
    }
}

fn addresses_of(
    assignment: &Assignment,
    which: impl Fn(&NetworkEndpoint) -> bool,
) -> BTreeSet<Ipv4Addr> {
    let services = assignment.networks.iter().flat_map(|it| &it.services);
    services
        .flat_map(|service| &service.endpoints)
        .filter(|endpoint| which(endpoint))
        .map(|endpoint| endpoint.address)
        .collect()
}

fn overlay(network: &AssignedNetwork, assignment: &Assignment, underlay: &Underlay) -> NetworkWant {
    let vteps: BTreeMap<NodeId, Ipv4Addr> = network
        .peers
        .iter()
        .map(|peer| (peer.node, peer.vtep))
        .collect();
    NetworkWant {
        id: network.id.to_string(),
        bridge: bridge_name(network.id),
        vni: network.vni,
        port: assignment.data_path_port,
        local_vtep: local_vtep(network, assignment),
        underlay: match network.encrypted {
            true => Some(DEVICE.to_owned()),
            false => underlay.device.clone(),
        },
        mtu: overlay_mtu(network, underlay),
        subnet: net_subnet(network.subnet),
        gateway: network.gateway,
        peers: network
            .peers
            .iter()
            .map(|peer| PeerWant {
                vtep: peer.vtep,
                gateway: peer.gateway,
            })
            .collect(),
        remotes: network
            .services
            .iter()
            .flat_map(|service| &service.endpoints)
            .filter_map(|endpoint| {
                let vtep = vteps.get(&endpoint.node)?;
                Some(RemoteWant::new(endpoint.address, *vtep))
            })
            .collect(),
        vips: network
            .services
            .iter()
            .filter_map(|service| service.virtual_address)
            .collect(),
        internal: network.internal,
    }
}

/// Without an end of the encrypted tunnels an encrypted network has nowhere to send to.
fn local_vtep(network: &AssignedNetwork, assignment: &Assignment) -> Ipv4Addr {
    match (network.encrypted, &assignment.tunnel) {
        (false, _) => assignment.data_path_addr,
        (true, Some(tunnel)) => tunnel.addr,
        (true, None) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The MTU of a network's bridge and tunnel.
pub(super) fn overlay_mtu(network: &AssignedNetwork, underlay: &Underlay) -> u32 {
    let usual = match network.encrypted {
        true => underlay.overlay_mtu.saturating_sub(tunnel::OVERHEAD),
        false => underlay.overlay_mtu,
    };
    network.mtu.map_or(usual, u32::from)
}

pub(super) fn net_subnet(subnet: Subnet) -> NetSubnet {
    NetSubnet::new(subnet.base(), subnet.prefix()).expect("our prefixes are at most 32 too")
}

/// Whether, and how, an endpoint's node is missed.
fn silence(endpoint: &NetworkEndpoint, out: &Out) -> Option<Silence> {
    out.silent.get(&endpoint.node).copied()
}

pub(super) fn serving_addresses(service: &NetworkService, out: &Out) -> Vec<Ipv4Addr> {
    let serving = |endpoint: &&NetworkEndpoint| {
        endpoint.serving
            && !out.dead.contains(&endpoint.task)
            && silence(endpoint, out) != Some(Silence::Gone)
    };
    let (heard, suspected): (Vec<_>, Vec<_>) = service
        .endpoints
        .iter()
        .filter(serving)
        .partition(|endpoint| silence(endpoint, out).is_none());
    // An attempt at who may be there is better than none.
    let best = if heard.is_empty() { suspected } else { heard };
    best.into_iter().map(|endpoint| endpoint.address).collect()
}

fn vips<'a>(
    network: &'a AssignedNetwork,
    here: NodeId,
    out: &'a Out,
) -> impl Iterator<Item = VipWant> + 'a {
    network.services.iter().filter_map(move |service| {
        Some(VipWant {
            name: format!("{} on {}", service.name, network.name),
            address: service.virtual_address?,
            backends: steer::steered(serving_addresses(service, out), service, here),
            sticky: service.sticky,
        })
    })
}

/// Of addresses that are `shunned` the first never get anything, the second nothing while there
/// are others.
fn published(
    port: &PublishedPort,
    shunned: &[BTreeSet<Ipv4Addr>; 2],
    service: Option<&NetworkService>,
    here: NodeId,
) -> PublishedWant {
    let [never, rather_not] = shunned;
    let backends = port.backends.iter().filter(|it| !never.contains(it));
    let (suspected, heard): (Vec<_>, Vec<_>) =
        backends.copied().partition(|it| rather_not.contains(it));
    let best = if heard.is_empty() { suspected } else { heard };
    PublishedWant {
        name: port.service_name.clone(),
        protocol: match port.protocol {
            Protocol::Tcp => NetProtocol::Tcp,
            Protocol::Udp => NetProtocol::Udp,
            Protocol::Sctp => NetProtocol::Sctp,
        },
        port: port.published,
        target_port: port.target,
        backends: match service {
            Some(service) => steer::steered(best, service, here),
            None => best,
        },
        sticky: service.is_some_and(|service| service.sticky),
    }
}

/// Every address of a container of this node, with all of the networks that the container is on.
fn callers(assignment: &Assignment) -> BTreeMap<Ipv4Addr, Vec<String>> {
    let mut callers = BTreeMap::new();
    // An address may have passed on from a stopped task, which is listed for its history, to a
    // live one: the live one's word comes last.
    let (stopped, live): (Vec<_>, Vec<_>) = assignment
        .tasks
        .iter()
        .partition(|task| matches!(task.want, Want::Stopped | Want::Removed));
    for task in stopped.into_iter().chain(live) {
        let networks: Vec<String> = task
            .attachments
            .iter()
            .map(|attachment| attachment.network.to_string())
            .collect();
        for attachment in &task.attachments {
            callers.insert(attachment.address, networks.clone());
        }
    }
    callers
}

#[cfg(test)]
#[path = "wants_tests.rs"]
pub(super) mod tests;
