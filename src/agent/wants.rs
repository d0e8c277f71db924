//! From an assignment to what the node's data path should be: overlays, balancing, names. Pure.
//!
//! The managers' word on who serves is taken, less what this node knows better: a container of
//! its own that has died is out of its tables at once, before any manager has heard of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use swarmr_net::balance::{BalanceWant, Protocol as NetProtocol, PublishedWant, VipWant};
use swarmr_net::dns::Table;
use swarmr_net::overlay::{NetworkWant, OverlayWant, PeerWant, RemoteWant, Subnet as NetSubnet};

use super::names;
use super::network::NetworkWants;
use super::order::bridge_name;
use crate::spec::network::Subnet;
use crate::spec::service::Protocol;
use crate::spec::{NodeId, TaskId};
use crate::state::assignment::{
    AssignedNetwork, Assignment, NetworkEndpoint, NetworkService, PublishedPort, Want,
};

/// What of a node, beside its assignment, its data path depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Of overlays that name none: 50 less than the network's that carries them, in bytes.
    pub overlay_mtu: u32,
    /// The device that overlay packets come in by; `None`: any.
    pub device: Option<String>,
}

impl Default for Underlay {
    fn default() -> Self {
        Self {
            overlay_mtu: 1450,
            device: None,
        }
    }
}

/// What the data path should be. `dead` are tasks whose containers do not run, whatever the
/// managers still believe.
pub fn wants(
    assignment: &Assignment,
    dead: &BTreeSet<TaskId>,
    underlay: &Underlay,
) -> NetworkWants {
    let dead_addresses = addresses_of(assignment, dead);
    NetworkWants {
        overlay: OverlayWant {
            networks: assignment
                .networks
                .iter()
                .map(|network| overlay(network, assignment, underlay))
                .collect(),
        },
        balance: BalanceWant {
            seed: seed(assignment.node),
            vips: assignment
                .networks
                .iter()
                .flat_map(|network| vips(network, dead))
                .collect(),
            published: assignment
                .published
                .iter()
                .filter_map(|port| published(port, &dead_addresses))
                .collect(),
            held: assignment
                .networks
                .iter()
                .flat_map(|network| &network.held)
                .filter(|address| !dead_addresses.contains(address))
                .copied()
                .collect(),
            host_access: false,
        },
        dns: Table {
            networks: assignment
                .networks
                .iter()
                .map(|network| names::of(network, dead))
                .collect(),
            callers: callers(assignment),
        },
    }
}

/// Any number that is always the same on one node and rarely on two.
fn seed(node: NodeId) -> u64 {
    // Cut on purpose: the low 64 bits of a random id are random.
    (node.bits() & u128::from(u64::MAX)) as u64
}

fn addresses_of(assignment: &Assignment, tasks: &BTreeSet<TaskId>) -> BTreeSet<Ipv4Addr> {
    assignment
        .networks
        .iter()
        .flat_map(|network| &network.services)
        .flat_map(|service| &service.endpoints)
        .filter(|endpoint| tasks.contains(&endpoint.task))
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
        local_vtep: assignment.data_path_addr,
        underlay: underlay.device.clone(),
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

/// The MTU of a network's bridge and tunnel.
pub(super) fn overlay_mtu(network: &AssignedNetwork, underlay: &Underlay) -> u32 {
    network.mtu.map_or(underlay.overlay_mtu, u32::from)
}

pub(super) fn net_subnet(subnet: Subnet) -> NetSubnet {
    NetSubnet::new(subnet.base(), subnet.prefix()).expect("our prefixes are at most 32 too")
}

pub(super) fn is_serving(endpoint: &NetworkEndpoint, dead: &BTreeSet<TaskId>) -> bool {
    endpoint.serving && !dead.contains(&endpoint.task)
}

pub(super) fn serving_addresses(
    service: &NetworkService,
    dead: &BTreeSet<TaskId>,
) -> Vec<Ipv4Addr> {
    service
        .endpoints
        .iter()
        .filter(|endpoint| is_serving(endpoint, dead))
        .map(|endpoint| endpoint.address)
        .collect()
}

fn vips<'a>(
    network: &'a AssignedNetwork,
    dead: &'a BTreeSet<TaskId>,
) -> impl Iterator<Item = VipWant> + 'a {
    network.services.iter().filter_map(|service| {
        Some(VipWant {
            name: format!("{} on {}", service.name, network.name),
            address: service.virtual_address?,
            backends: serving_addresses(service, dead),
        })
    })
}

/// `None` for SCTP, which the data path does not carry.
fn published(port: &PublishedPort, dead: &BTreeSet<Ipv4Addr>) -> Option<PublishedWant> {
    Some(PublishedWant {
        name: port.service_name.clone(),
        protocol: match port.protocol {
            Protocol::Tcp => NetProtocol::Tcp,
            Protocol::Udp => NetProtocol::Udp,
            Protocol::Sctp => return None,
        },
        port: port.published,
        target_port: port.target,
        backends: port
            .backends
            .iter()
            .filter(|backend| !dead.contains(backend))
            .copied()
            .collect(),
    })
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
mod tests;
