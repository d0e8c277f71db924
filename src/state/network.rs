//! An overlay network and who holds which of its addresses.

use std::net::Ipv4Addr;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::object::Meta;
use crate::spec::network::Subnet;
use crate::spec::{NetworkId, NetworkSpec, NodeId, ServiceId, TaskId};

/// One overlay network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub id: NetworkId,
    pub meta: Meta,
    pub spec: NetworkSpec,
    pub subnet: Subnet,
    /// VXLAN network identifier.
    pub vni: u32,
    /// Addresses in use, by their offset in the subnet.
    pub held: OrdMap<u32, Holder>,
    /// Where the search for a free address goes on, so that one just freed is not used again
    /// while somebody may still remember its last holder.
    pub next_offset: u32,
}

/// Who holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// A node's own address on its bridge: the gateway of the containers there.
    Gateway(NodeId),
    /// A service's virtual address.
    Service(ServiceId),
    Task(TaskId),
    /// The address that Docker's listings show as the gateway. No node holds it.
    Reserved,
}

impl Network {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The address of that node on this network.
    pub fn gateway(&self, node: NodeId) -> Option<Ipv4Addr> {
        self.gateways()
            .find(|(holder, _)| *holder == node)
            .map(|(_, address)| address)
    }

    /// The nodes that take part, with their addresses.
    pub fn gateways(&self) -> impl Iterator<Item = (NodeId, Ipv4Addr)> {
        self.held
            .iter()
            .filter_map(|(offset, holder)| match holder {
                Holder::Gateway(node) => Some((*node, self.subnet.host(*offset)?)),
                _ => None,
            })
    }

    /// Addresses that a task more on that node takes: its own, and the node's where it has none.
    pub fn needed_by(&self, node: NodeId) -> u64 {
        1 + u64::from(self.gateway(node).is_none())
    }

    /// Addresses that nobody holds.
    pub fn free(&self) -> u64 {
        (self.subnet.size() - 2).saturating_sub(self.held.len() as u64)
    }
}
