//! Handing out subnets, VNIs, addresses and published ports. All of it is decided while a command
//! is applied, so that it cannot be handed out twice.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::network::Holder;
use super::rejected::Rejected;
use super::service::Endpoint;
use super::{Network, State, Task};
use crate::spec::network::Subnet;
use crate::spec::service::{PortConfig, Protocol, PublishMode};
use crate::spec::{NetworkId, NetworkSpec, NodeId, ServiceId, ServiceSpec, TaskId};

/// Ports given to services that ask for any: Docker's range.
const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// VNIs of overlay networks: Docker's range.
const FIRST_VNI: u32 = 4_096;
const LAST_VNI: u32 = (1 << 24) - 1;
/// The address that listings show as a network's gateway; kept free so that it stays true.
const RESERVED_OFFSET: u32 = 1;

impl Network {
    /// The next free address, which `holder` has from now on. `None` when there is none.
    pub(super) fn hold(&mut self, holder: Holder) -> Option<Ipv4Addr> {
        let size = u32::try_from(self.subnet.size()).unwrap_or(u32::MAX);
        let usable = size.saturating_sub(2);
        for step in 0..usable {
            // Offsets 1 to size - 2, going round from where the last search ended.
            let offset = 1 + (self.next_offset.saturating_sub(1) + step) % usable;
            if self.held.contains_key(&offset) {
                continue;
            }
            let address = self.subnet.host(offset)?;
            self.held.insert(offset, holder);
            self.next_offset = offset + 1;
            return Some(address);
        }
        None
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, address: Ipv4Addr) {
        if let Some(offset) = self.subnet.offset(address) {
            self.held.remove(offset);
        }
    }
}

impl State {
    /// The networks that tasks of such a spec are on. A service that publishes ports and names no
    /// network is on the ingress network.
    pub fn networks_of(&self, spec: &ServiceSpec) -> Vec<NetworkId> {
        let named: Vec<NetworkId> = spec
            .networks()
            .iter()
            .filter_map(|network| network.target.parse().ok())
            .collect();
        let meshed = spec
            .ports()
            .iter()
            .any(|port| port.publish_mode == PublishMode::Ingress);
        if named.is_empty() && meshed {
            self.ingress()
                .map(|network| network.id)
                .into_iter()
                .collect()
        } else {
            named
        }
    }

    /// The network of the routing mesh.
    pub fn ingress(&self) -> Option<&Arc<Network>> {
        self.networks.values().find(|network| network.spec.ingress)
    }

    /// Subnet and VNI for a new network.
    pub(super) fn allocate_network(&self, spec: &NetworkSpec) -> Result<(Subnet, u32), Rejected> {
        let taken: BTreeSet<u32> = self.networks.values().map(|network| network.vni).collect();
        let vni = (FIRST_VNI..=LAST_VNI).find(|vni| !taken.contains(vni));
        let vni = vni.ok_or_else(|| Rejected::Invalid {
            field: "network".to_owned(),
            problem: "every VXLAN network identifier is taken".to_owned(),
        })?;
        let subnet = match spec
            .ipam
            .config
            .iter()
            .find(|config| !config.subnet.is_empty())
        {
            Some(config) => self.requested_subnet(&config.subnet)?,
            None => self.free_subnet()?,
        };
        Ok((subnet, vni))
    }

    fn requested_subnet(&self, text: &str) -> Result<Subnet, Rejected> {
        let subnet: Subnet = text.parse().map_err(|error| Rejected::Invalid {
            field: "IPAM.Config.Subnet".to_owned(),
            problem: format!("{error}"),
        })?;
        match self
            .networks
            .values()
            .find(|network| network.subnet.overlaps(&subnet))
        {
            Some(by) => Err(Rejected::SubnetOverlaps {
                subnet,
                by: by.name().to_owned(),
                taken: by.subnet,
            }),
            None => Ok(subnet),
        }
    }

    fn free_subnet(&self) -> Result<Subnet, Rejected> {
        let (pools, prefix) = self.cluster.as_ref().map_or((&[][..], 24), |cluster| {
            (cluster.address_pools.as_slice(), cluster.subnet_prefix)
        });
        pools
            .iter()
            .flat_map(|pool| pool.split(prefix))
            .find(|subnet| {
                !self
                    .networks
                    .values()
                    .any(|network| network.subnet.overlaps(subnet))
            })
            .ok_or_else(|| Rejected::PoolExhausted {
                prefix,
                pools: pools
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Ports and virtual addresses of a service, keeping what `former` has already.
    pub(super) fn allocate_endpoint(
        &mut self,
        service: ServiceId,
        spec: &ServiceSpec,
        former: &Endpoint,
    ) -> Result<Endpoint, Rejected> {
        let ports = self.allocate_ports(service, spec, &former.ports)?;
        let wanted: BTreeSet<NetworkId> = if spec.wants_vip() {
            self.networks_of(spec).into_iter().collect()
        } else {
            BTreeSet::new()
        };
        // Nothing is changed before it is sure that everything fits.
        for id in &wanted {
            if former.virtual_addresses.contains_key(id) {
                continue;
            }
            let network = self.networks.get(id).ok_or_else(|| Rejected::NotFound {
                kind: super::rejected::Kind::Network,
                name: id.to_string(),
            })?;
            if network.free() == 0 {
                return Err(Rejected::AddressesExhausted {
                    network: network.name().to_owned(),
                    subnet: network.subnet,
                });
            }
        }
        let mut virtual_addresses = former.virtual_addresses.clone();
        for (id, address) in &former.virtual_addresses {
            if !wanted.contains(id) {
                virtual_addresses.remove(id);
                self.change_network(*id, |network| network.release(*address));
            }
        }
        for id in wanted {
            if virtual_addresses.contains_key(&id) {
                continue;
            }
            let held = self.change_network(id, |network| network.hold(Holder::Service(service)));
            if let Some(address) = held.flatten() {
                virtual_addresses.insert(id, address);
            }
        }
        Ok(Endpoint {
            ports,
            virtual_addresses,
        })
    }

    fn allocate_ports(
        &self,
        service: ServiceId,
        spec: &ServiceSpec,
        former: &[PortConfig],
    ) -> Result<Vec<PortConfig>, Rejected> {
        let mut taken: BTreeSet<(Protocol, u16)> = BTreeSet::new();
        for other in self.services.values().filter(|other| other.id != service) {
            for port in &other.endpoint.ports {
                let clashes = spec.ports().iter().any(|wanted| {
                    wanted.published_port == port.published_port
                        && wanted.published_port != 0
                        && wanted.protocol == port.protocol
                        && (wanted.publish_mode == PublishMode::Ingress
                            || port.publish_mode == PublishMode::Ingress)
                });
                if clashes {
                    return Err(Rejected::PortTaken {
                        port: port.published_port,
                        protocol: format!("{:?}", port.protocol).to_lowercase(),
                        by: other.name().to_owned(),
                    });
                }
                taken.insert((port.protocol, port.published_port));
            }
        }
        taken.extend(
            spec.ports()
                .iter()
                .filter(|port| port.published_port != 0)
                .map(|port| (port.protocol, port.published_port)),
        );
        let mut ports = Vec::with_capacity(spec.ports().len());
        for port in spec.ports() {
            let mut port = port.clone();
            if port.published_port == 0 && port.publish_mode == PublishMode::Ingress {
                port.published_port = former
                    .iter()
                    .find(|had| {
                        had.target_port == port.target_port
                            && had.protocol == port.protocol
                            && had.publish_mode == port.publish_mode
                            && !taken.contains(&(had.protocol, had.published_port))
                    })
                    .map(|had| had.published_port)
                    .or_else(|| {
                        DYNAMIC_PORTS
                            .into_iter()
                            .find(|free| !taken.contains(&(port.protocol, *free)))
                    })
                    .ok_or_else(|| Rejected::PortsExhausted {
                        protocol: format!("{:?}", port.protocol).to_lowercase(),
                    })?;
                taken.insert((port.protocol, port.published_port));
            }
            ports.push(port);
        }
        Ok(ports)
    }

    /// Gives a task an address on each of its networks, all or none, and leaves room for the
    /// node's own address where it has none yet. `Err` names the full network.
    pub(super) fn allocate_task(
        &mut self,
        task: TaskId,
        node: NodeId,
        networks: &[NetworkId],
    ) -> Result<Vec<super::task::Attachment>, NetworkId> {
        if let Some(full) = networks.iter().find(|id| {
            self.networks
                .get(*id)
                .is_none_or(|network| network.free() < network.needed_by(node))
        }) {
            return Err(*full);
        }
        let mut attachments = Vec::with_capacity(networks.len());
        for network in networks {
            let held = self.change_network(*network, |network| network.hold(Holder::Task(task)));
            if let Some(address) = held.flatten() {
                attachments.push(super::task::Attachment {
                    network: *network,
                    address,
                });
            }
            self.change_network(*network, |network| {
                if network.gateway(node).is_none() {
                    network.hold(Holder::Gateway(node));
                }
            });
        }
        Ok(attachments)
    }

    /// Takes back what a task held that has ended, and its node's own address where it was the
    /// last one there and nothing else is reached through the node.
    pub(super) fn release_addresses(&mut self, task: &Task) {
        for attachment in &task.attachments {
            let id = attachment.network;
            self.change_network(id, |network| network.release(attachment.address));
            let Some(node) = task.node else { continue };
            let on_network = |other: &Task| other.attachments.iter().any(|it| it.network == id);
            let others = self
                .tasks_on(node)
                .any(|other| other.id != task.id && !other.has_ended() && on_network(other));
            if !others && !self.is_meshed(id) {
                let gateway = self
                    .networks
                    .get(&id)
                    .and_then(|network| network.gateway(node));
                if let Some(address) = gateway {
                    self.change_network(id, |network| network.release(address));
                }
            }
        }
    }

    /// Whether published ports are reached through a network: then every node takes part in it.
    fn is_meshed(&self, id: NetworkId) -> bool {
        self.services
            .values()
            .any(|service| self.mesh_network(service) == Some(id))
    }

    /// Gives each node that takes part in a network its address there, and takes it from those
    /// that no longer do. A node takes part when it runs tasks on it, or when services of the
    /// routing mesh are reached through it: then every node does.
    pub(super) fn settle_gateways(&mut self, ids: &BTreeSet<NetworkId>) {
        for id in ids {
            let Some(network) = self.networks.get(id) else {
                continue;
            };
            let wanted = self.participants(*id);
            let have: BTreeSet<NodeId> = network.gateways().map(|(node, _)| node).collect();
            if have == wanted {
                continue;
            }
            self.change_network(*id, |network| {
                let gone: Vec<u32> = network
                    .held
                    .iter()
                    .filter(|(_, holder)| matches!(holder, Holder::Gateway(node) if !wanted.contains(node)))
                    .map(|(offset, _)| *offset)
                    .collect();
                for offset in gone {
                    network.held.remove(offset);
                }
                for node in wanted.difference(&have) {
                    network.hold(Holder::Gateway(*node));
                }
            });
        }
    }

    fn participants(&self, id: NetworkId) -> BTreeSet<NodeId> {
        if self.is_meshed(id) {
            return self.nodes.keys().copied().collect();
        }
        self.networks
            .get(&id)
            .into_iter()
            .flat_map(|network| network.held.values())
            .filter_map(|holder| match holder {
                Holder::Task(task) => self.tasks.get(*task)?.node,
                _ => None,
            })
            .filter(|node| self.nodes.contains_key(node))
            .collect()
    }

    /// The network through which a service's published ports reach its tasks: the first.
    pub fn mesh_network(&self, service: &super::Service) -> Option<NetworkId> {
        let meshed = service
            .endpoint
            .ports
            .iter()
            .any(|port| port.publish_mode == PublishMode::Ingress);
        meshed
            .then(|| self.networks_of(&service.spec).first().copied())
            .flatten()
    }

    /// Networks that a change of nodes shows in: those of the routing mesh.
    pub(super) fn mesh_networks(&self) -> BTreeSet<NetworkId> {
        self.services
            .values()
            .filter_map(|service| self.mesh_network(service))
            .collect()
    }

    pub(super) fn change_network<R>(
        &mut self,
        id: NetworkId,
        change: impl FnOnce(&mut Network) -> R,
    ) -> Option<R> {
        self.networks
            .get_mut(&id)
            .map(|network| change(Arc::make_mut(network)))
    }

    pub(super) fn new_network(
        &self,
        id: NetworkId,
        spec: NetworkSpec,
        meta: super::Meta,
    ) -> Result<Network, Rejected> {
        let (subnet, vni) = self.allocate_network(&spec)?;
        Ok(Network {
            id,
            meta,
            spec,
            subnet,
            vni,
            held: std::iter::once((RESERVED_OFFSET, Holder::Reserved)).collect(),
            next_offset: RESERVED_OFFSET + 1,
        })
    }
}
