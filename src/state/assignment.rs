//! The whole truth for one node: what it runs, what its networks look like, who serves what.
//!
//! A pure view of the state. Stamped with (term, revision): an agent ignores an older stamp than
//! the one it has, and one that was missed costs nothing, for the next one is whole again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::members::ClusterMembers;
use super::network::Holder;
use super::task::{Attachment, DesiredState, Slot};
use super::tunnel::{AssignedTunnel, TunnelPeer};
use super::{Network, Node, Service, State, Task};
use crate::spec::device::Device;
use crate::spec::generic::GenericResource;
use crate::spec::network::Subnet;
use crate::spec::service::{PortConfig, Protocol, PublishMode};
use crate::spec::{ClusterId, NetworkId, NodeId, Role, ServiceId, ServiceSpec, TaskId};

/// Orders assignments: a leader of a later term, then a later look, wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Stamp {
    pub term: u64,
    pub revision: u64,
}

/// Everything one node must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub stamp: Stamp,
    pub cluster: ClusterId,
    pub node: NodeId,
    /// What its certificate should say; a node whose certificate says otherwise asks for another.
    pub role: Role,
    /// Where managers are dialled.
    pub managers: Vec<ManagerAddr>,
    /// The specs that `tasks` refer to.
    pub specs: Vec<AssignedSpec>,
    pub tasks: Vec<AssignedTask>,
    pub networks: Vec<AssignedNetwork>,
    /// Ports that this node answers on for the whole cluster.
    pub published: Vec<PublishedPort>,
    pub data_path_port: u16,
    /// This node's own end of the tunnels.
    pub data_path_addr: Ipv4Addr,
    pub hostname: String,
    /// `None` where no network of this node is encrypted.
    #[serde(default)]
    pub tunnel: Option<AssignedTunnel>,
    /// All nodes of the cluster, among whom gossip goes round.
    #[serde(default)]
    pub members: ClusterMembers,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerAddr {
    pub node: NodeId,
    pub addr: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignedSpec {
    pub service: ServiceId,
    pub spec_version: u64,
    pub spec: Arc<ServiceSpec>,
    /// Ports published on the task's own node only.
    pub host_ports: Vec<PortConfig>,
}

/// One task of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedTask {
    pub id: TaskId,
    pub service: ServiceId,
    pub slot: Slot,
    pub spec_version: u64,
    pub want: Want,
    pub attachments: Vec<Attachment>,
    /// What it was given of the node's generic resources.
    #[serde(default)]
    pub resources: Vec<GenericResource>,
    /// The devices that it was given.
    #[serde(default)]
    pub devices: Vec<AssignedDevice>,
}

/// A device for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedDevice {
    pub device: Device,
    /// Which of the spec's requests it meets; `None` for a device node that the spec names.
    pub request: Option<usize>,
}

/// What is wanted of a task now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    Ready,
    Running,
    /// About to stop: out of this assignment's backends, not to be signalled before every node has
    /// confirmed that it is out of its own.
    Draining,
    Stopped,
    Removed,
}

/// One network that this node takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedNetwork {
    pub id: NetworkId,
    pub name: String,
    pub vni: u32,
    pub subnet: Subnet,
    /// This node's address on it, the gateway of the containers here.
    pub gateway: Ipv4Addr,
    pub internal: bool,
    pub attachable: bool,
    pub mtu: Option<u16>,
    /// Its packets between nodes go through the encrypted tunnels, and by no other way.
    #[serde(default)]
    pub encrypted: bool,
    pub peers: Vec<Peer>,
    pub services: Vec<NetworkService>,
    /// Of tasks that have not ended and whose node is not down: connections to them stay, also
    /// when they take no new ones.
    pub held: Vec<Ipv4Addr>,
}

/// Another node on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub node: NodeId,
    /// Where its end of the network's tunnels is: inside the encrypted ones, or beside them.
    pub vtep: Ipv4Addr,
    pub gateway: Ipv4Addr,
}

/// A service as it is seen on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkService {
    pub service: ServiceId,
    pub name: String,
    pub aliases: Vec<String>,
    /// `None` for `dnsrr`.
    pub virtual_address: Option<Ipv4Addr>,
    pub endpoints: Vec<NetworkEndpoint>,
    /// What its tasks serve, as far as it is published.
    #[serde(default)]
    pub ports: Vec<ServicePort>,
    /// A caller comes to the same endpoint each time.
    #[serde(default)]
    pub sticky: bool,
    /// Endpoints of other nodes get nothing while one of the node's own serves.
    #[serde(default)]
    pub prefer_local: bool,
}

/// A port of a service's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// May be empty.
    pub name: String,
    pub protocol: Protocol,
    pub target: u16,
}

/// A task's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEndpoint {
    pub task: TaskId,
    pub slot: Slot,
    pub address: Ipv4Addr,
    pub node: NodeId,
    /// Takes new connections: running, wanted, its node alive.
    pub serving: bool,
    /// How many times the connections of one of weight 1 it gets.
    #[serde(default = "one")]
    pub weight: u8,
}

/// A port that every node answers on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub service: ServiceId,
    pub service_name: String,
    pub protocol: Protocol,
    pub published: u16,
    pub target: u16,
    /// Through which network its backends are reached.
    pub network: NetworkId,
    pub backends: Vec<Ipv4Addr>,
}

impl State {
    /// What `node` must know; `None` when it is no node of this cluster. `drained` names the tasks
    /// of which every node has confirmed that they are out of its tables.
    pub fn assignment(
        &self,
        node: NodeId,
        stamp: Stamp,
        drained: &BTreeSet<TaskId>,
    ) -> Option<Assignment> {
        let cluster = self.cluster()?;
        let this = self.node(node)?;
        let tasks: Vec<&Arc<Task>> = self.tasks_on(node).filter(|task| !is_over(task)).collect();
        Some(Assignment {
            stamp,
            cluster: cluster.id,
            node,
            role: this.spec.role,
            managers: self.manager_addrs(),
            specs: self.assigned_specs(&tasks),
            tasks: tasks
                .iter()
                .map(|task| assigned_task(task, this, drained))
                .collect(),
            networks: self
                .networks()
                .filter_map(|network| self.assigned_network(network, node))
                .collect(),
            published: self.published_ports(),
            data_path_port: cluster.data_path_port,
            data_path_addr: this.data_path_addr,
            hostname: this.description.hostname.clone(),
            tunnel: self.assigned_tunnel(this),
            members: ClusterMembers::of(self.nodes().map(Arc::as_ref)),
        })
    }

    /// Where managers are dialled.
    pub fn manager_addrs(&self) -> Vec<ManagerAddr> {
        self.nodes()
            .filter(|node| node.member.is_some())
            .map(|node| ManagerAddr {
                node: node.id,
                addr: node.addr.clone(),
            })
            .collect()
    }

    /// Whether a task takes new connections: running, wanted, its node not known to be down.
    pub fn is_serving(&self, task: &Task) -> bool {
        task.is_serving()
            && task
                .node
                .and_then(|node| self.node(node))
                .is_some_and(|node| !node.is_down())
    }

    fn assigned_specs(&self, tasks: &[&Arc<Task>]) -> Vec<AssignedSpec> {
        let used: BTreeSet<(ServiceId, u64)> = tasks
            .iter()
            .map(|task| (task.service, task.spec_version))
            .collect();
        used.into_iter()
            .filter_map(|(service, spec_version)| {
                let known = self.services.get(&service);
                let known = known.or_else(|| self.departed.get(&service))?;
                let spec = known.spec_at(spec_version)?;
                Some(AssignedSpec {
                    service,
                    spec_version,
                    spec: spec.clone(),
                    host_ports: spec
                        .ports()
                        .iter()
                        .filter(|port| port.publish_mode == PublishMode::Host)
                        .cloned()
                        .collect(),
                })
            })
            .collect()
    }

    fn assigned_network(&self, network: &Network, node: NodeId) -> Option<AssignedNetwork> {
        let gateway = network.gateway(node)?;
        let encrypted = network.spec.is_encrypted();
        let peers = network
            .gateways()
            .filter(|(peer, _)| *peer != node)
            .filter_map(|(peer, gateway)| {
                let at = self.node(peer)?;
                let vtep = match encrypted {
                    true => at.tunnel_addr,
                    false => at.data_path_addr,
                };
                Some(Peer {
                    node: peer,
                    vtep,
                    gateway,
                })
            })
            .collect();
        Some(AssignedNetwork {
            id: network.id,
            name: network.name().to_owned(),
            vni: network.vni,
            subnet: network.subnet,
            gateway,
            internal: network.spec.internal,
            attachable: network.spec.attachable,
            mtu: network
                .spec
                .options
                .get("com.docker.network.driver.mtu")
                .and_then(|mtu| mtu.parse().ok()),
            encrypted,
            peers,
            services: self.services_on(network),
            held: self.held_on(network),
        })
    }

    fn assigned_tunnel(&self, this: &Node) -> Option<AssignedTunnel> {
        let encrypted = self.networks().filter(|it| it.spec.is_encrypted());
        let shared: Vec<_> = encrypted
            .filter(|network| network.gateway(this.id).is_some())
            .collect();
        if shared.is_empty() {
            return None;
        }
        let peers: BTreeSet<NodeId> = shared
            .iter()
            .flat_map(|network| network.gateways())
            .map(|(node, _)| node)
            .filter(|node| *node != this.id)
            .collect();
        let end = this.description.tunnel.as_ref();
        Some(AssignedTunnel {
            addr: this.tunnel_addr,
            keys: end.map_or_else(Vec::new, |end| end.keys.clone()),
            peers: peers
                .into_iter()
                .filter_map(|peer| {
                    let node = self.node(peer)?;
                    Some(TunnelPeer {
                        node: peer,
                        addr: node.tunnel_addr,
                        data_path_addr: node.data_path_addr,
                        end: node.description.tunnel.clone(),
                    })
                })
                .collect(),
        })
    }

    fn held_on(&self, network: &Network) -> Vec<Ipv4Addr> {
        let lives = |task: &Task| {
            let node = task.node.and_then(|node| self.node(node));
            !task.has_ended() && node.is_some_and(|node| !node.is_down())
        };
        let held = network.held.iter().filter(|(_, holder)| match holder {
            Holder::Task(id) => self.task(*id).is_some_and(|task| lives(task)),
            _ => false,
        });
        held.filter_map(|(offset, _)| network.subnet.host(*offset))
            .collect()
    }

    fn services_on(&self, network: &Network) -> Vec<NetworkService> {
        let mut endpoints: BTreeMap<ServiceId, Vec<NetworkEndpoint>> = BTreeMap::new();
        for (offset, holder) in &network.held {
            let Holder::Task(id) = holder else { continue };
            let (Some(task), Some(address)) = (self.task(*id), network.subnet.host(*offset)) else {
                continue;
            };
            let Some(node) = task.node else { continue };
            endpoints
                .entry(task.service)
                .or_default()
                .push(NetworkEndpoint {
                    task: task.id,
                    slot: task.slot,
                    address,
                    node,
                    serving: self.is_serving(task),
                    weight: self.weight(task, node),
                });
        }
        self.services()
            .filter(|service| self.networks_of(&service.spec).contains(&network.id))
            .map(|service| (service, service.spec.connections()))
            .map(|(service, connections)| NetworkService {
                service: service.id,
                name: service.name().to_owned(),
                aliases: aliases(service, network),
                virtual_address: service.endpoint.virtual_addresses.get(&network.id).copied(),
                endpoints: endpoints.remove(&service.id).unwrap_or_default(),
                ports: service.endpoint.ports.iter().map(service_port).collect(),
                sticky: connections.is_some_and(|it| it.sticky),
                prefer_local: connections.is_some_and(|it| it.prefer_local),
            })
            .collect()
    }

    /// How many times the connections of another a task gets for its node's sake.
    fn weight(&self, task: &Task, node: NodeId) -> u8 {
        let service = self.services.get(&task.service);
        let connections = service.and_then(|service| service.spec.connections());
        let Some((connections, node)) = connections.zip(self.node(node)) else {
            return one();
        };
        connections.weight(&node.spec.labels)
    }

    fn published_ports(&self) -> Vec<PublishedPort> {
        let mut published = Vec::new();
        for service in self.services() {
            let Some(network) = self.mesh_network(service) else {
                continue;
            };
            let backends: Vec<Ipv4Addr> = self
                .tasks_of(service.id)
                .filter(|task| self.is_serving(task))
                .flat_map(|task| task.attachments.iter())
                .filter(|attachment| attachment.network == network)
                .map(|attachment| attachment.address)
                .collect();
            for port in &service.endpoint.ports {
                if port.publish_mode == PublishMode::Ingress {
                    published.push(PublishedPort {
                        service: service.id,
                        service_name: service.name().to_owned(),
                        protocol: port.protocol,
                        published: port.published_port,
                        target: port.target_port,
                        network,
                        backends: backends.clone(),
                    });
                }
            }
        }
        published
    }
}

const fn one() -> u8 {
    1
}

/// Nothing is left to do for it on its node: its container stays for its logs until the task is
/// forgotten, and `Want::Removed` is what a missing task means to an agent.
fn is_over(task: &Task) -> bool {
    task.desired == DesiredState::Remove && task.has_ended()
}

fn assigned_task(task: &Task, node: &Node, drained: &BTreeSet<TaskId>) -> AssignedTask {
    let claims = task.claims.as_deref().cloned().unwrap_or_default();
    let devices = claims.devices.iter().filter_map(|claimed| {
        let has = |device: &&Device| device.kind == claimed.kind && device.id == claimed.id;
        Some(AssignedDevice {
            device: node.description.devices.iter().find(has)?.clone(),
            request: claimed.request,
        })
    });
    AssignedTask {
        devices: devices.collect(),
        resources: claims.generic,
        id: task.id,
        service: task.service,
        slot: task.slot,
        spec_version: task.spec_version,
        want: match task.desired {
            // A task never runs again, whatever is still wanted of it.
            DesiredState::Ready | DesiredState::Running if task.has_ended() => Want::Stopped,
            DesiredState::Ready => Want::Ready,
            DesiredState::Running => Want::Running,
            DesiredState::Shutdown | DesiredState::Remove
                if !drained.contains(&task.id) && !task.has_ended() =>
            {
                Want::Draining
            }
            DesiredState::Shutdown => Want::Stopped,
            DesiredState::Remove => Want::Removed,
        },
        attachments: task.attachments.to_vec(),
    }
}

fn service_port(port: &PortConfig) -> ServicePort {
    ServicePort {
        name: port.name.clone(),
        protocol: port.protocol,
        target: port.target_port,
    }
}

fn aliases(service: &Service, network: &Network) -> Vec<String> {
    let id = network.id.to_string();
    service
        .spec
        .networks()
        .iter()
        .filter(|attached| attached.target == id)
        .flat_map(|attached| attached.aliases.iter().cloned())
        .collect()
}
