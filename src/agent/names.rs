//! From a network of an assignment to the names that its containers know. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use swarmr_net::dns::{DnsNetwork, Served};

use super::hearsay::Out;
use super::wants::{net_subnet, serving_addresses};
use crate::spec::service::Protocol;
use crate::state::assignment::{AssignedNetwork, NetworkService, ServicePort};

/// The names on `network`; those of tasks that are `out` lead nowhere.
pub(super) fn of(network: &AssignedNetwork, out: &Out) -> DnsNetwork {
    let mut known = DnsNetwork {
        id: network.id.to_string(),
        subnet: net_subnet(network.subnet),
        gateway: network.gateway,
        internal: network.internal,
        names: BTreeMap::new(),
        pointers: BTreeMap::new(),
        served: BTreeMap::new(),
    };
    for service in &network.services {
        name_service(&mut known, service, out);
        name_tasks(&mut known, service, out);
    }
    known
}

/// `web`, `tasks.web` and the same of its aliases.
fn name_service(known: &mut DnsNetwork, service: &NetworkService, out: &Out) {
    let tasks = serving_addresses(service, out);
    let one = service
        .virtual_address
        .map_or_else(|| tasks.clone(), |address| vec![address]);
    for name in std::iter::once(&service.name).chain(&service.aliases) {
        // Several services may share an alias: it stands for all of them.
        add(&mut known.names, name.clone(), &one);
        add(&mut known.names, format!("tasks.{name}"), &tasks);
        for port in &service.ports {
            for name in port_names(port, name) {
                known.served.entry(name).or_default();
            }
        }
    }
    if let Some(address) = service.virtual_address {
        known.pointers.insert(address.into(), service.name.clone());
    }
}

/// `web.1` and `web.1.ID`, and where each port is served.
fn name_tasks(known: &mut DnsNetwork, service: &NetworkService, out: &Out) {
    let tasks = serving_addresses(service, out);
    for endpoint in &service.endpoints {
        let slot = format!("{}.{}", service.name, endpoint.slot);
        let container = format!("{slot}.{}", endpoint.task);
        // An address that is held has its name, whether it takes connections or not; the
        // name leads to it only when it does. The slot is known even between two tasks.
        let serves = tasks.contains(&endpoint.address);
        let addresses: &[Ipv4Addr] = if serves { &[endpoint.address] } else { &[] };
        known
            .pointers
            .insert(endpoint.address.into(), container.clone());
        add(&mut known.names, slot, addresses);
        add(&mut known.names, container.clone(), addresses);
        if !serves {
            continue;
        }
        for name in std::iter::once(&service.name).chain(&service.aliases) {
            for port in &service.ports {
                let place = Served {
                    target: container.clone(),
                    port: port.target,
                };
                for name in port_names(port, name) {
                    known.served.entry(name).or_default().push(place.clone());
                }
            }
        }
    }
}

/// A port's names for SRV (RFC 2782): by its number, and by its own name where it has one.
fn port_names(port: &ServicePort, service: &str) -> impl Iterator<Item = String> {
    let protocol = match port.protocol {
        Protocol::Tcp => "_tcp",
        Protocol::Udp => "_udp",
        Protocol::Sctp => "_sctp",
    };
    let number = Some(format!("_{}.{protocol}.{service}", port.target));
    let named = (!port.name.is_empty()).then(|| format!("_{}.{protocol}.{service}", port.name));
    number.into_iter().chain(named)
}

fn add(names: &mut BTreeMap<String, Vec<IpAddr>>, name: String, addresses: &[Ipv4Addr]) {
    let known = names.entry(name).or_default();
    for address in addresses {
        let address = IpAddr::from(*address);
        if !known.contains(&address) {
            known.push(address);
        }
    }
}
