//! From the addresses of a service that take connections to those that this node balances to: its
//! own where these are preferred, and each as often as its weight says. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::spec::{NetworkId, NodeId, ServiceId};
use crate::state::assignment::{Assignment, NetworkEndpoint, NetworkService};

/// Services by the network that they are seen on.
pub(super) type Services<'a> = BTreeMap<(NetworkId, ServiceId), &'a NetworkService>;

pub(super) fn services(assignment: &Assignment) -> Services<'_> {
    let networks = assignment.networks.iter();
    let services = networks.flat_map(|network| {
        let services = network.services.iter();
        services.map(|service| ((network.id, service.service), service))
    });
    services.collect()
}

/// Of `addresses`, which serve: those that connections made on node `here` go to, one of them as
/// often as it is heavier than the others.
pub(super) fn steered(
    addresses: Vec<Ipv4Addr>,
    service: &NetworkService,
    here: NodeId,
) -> Vec<Ipv4Addr> {
    let alike = service
        .endpoints
        .iter()
        .all(|endpoint| endpoint.weight == 1);
    if alike && !service.prefer_local {
        return addresses;
    }
    let endpoints: BTreeMap<Ipv4Addr, &NetworkEndpoint> = service
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.address, endpoint))
        .collect();
    let is_here = |address: &Ipv4Addr| endpoints.get(address).is_some_and(|it| it.node == here);
    let mut chosen = addresses;
    if service.prefer_local && chosen.iter().any(is_here) {
        chosen.retain(is_here);
    }
    let weight = |address: &Ipv4Addr| {
        let weight = endpoints.get(address).map_or(1, |it| it.weight);
        usize::from(weight.max(1))
    };
    // As few places as keep the proportions.
    let common = chosen.iter().map(weight).fold(0, common_divisor).max(1);
    let times = |address: Ipv4Addr| std::iter::repeat_n(address, weight(&address) / common);
    chosen.iter().copied().flat_map(times).collect()
}

fn common_divisor(one: usize, other: usize) -> usize {
    match other {
        0 => one,
        _ => common_divisor(other, one % other),
    }
}
