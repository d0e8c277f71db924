//! An overlay network and who holds which of its addresses.

use std::net::Ipv4Addr;
use std::ops::Deref;

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
    pub held: Held,
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

/// A network's addresses in use, by their offset in the subnet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "OrdMap<u32, Holder>", into = "OrdMap<u32, Holder>")]
pub struct Held {
    holders: OrdMap<u32, Holder>,
    /// The offset of each node's own address: found without a search through all.
    gateways: OrdMap<NodeId, u32>,
}

impl Held {
    pub(super) fn insert(&mut self, offset: u32, holder: Holder) {
        self.remove(offset);
        if let Holder::Gateway(node) = holder {
            self.gateways.insert(node, offset);
        }
        self.holders.insert(offset, holder);
    }

    pub(super) fn remove(&mut self, offset: u32) {
        if let Some(Holder::Gateway(node)) = self.holders.remove(&offset) {
            self.gateways.remove(&node);
        }
    }
}

impl Deref for Held {
    type Target = OrdMap<u32, Holder>;

    fn deref(&self) -> &Self::Target {
        &self.holders
    }
}

impl From<OrdMap<u32, Holder>> for Held {
    fn from(holders: OrdMap<u32, Holder>) -> Self {
        holders.into_iter().collect()
    }
}

impl From<Held> for OrdMap<u32, Holder> {
    fn from(held: Held) -> Self {
        held.holders
    }
}

impl FromIterator<(u32, Holder)> for Held {
    fn from_iter<I: IntoIterator<Item = (u32, Holder)>>(holders: I) -> Self {
        let mut held = Self::default();
        for (offset, holder) in holders {
            held.insert(offset, holder);
        }
        held
    }
}

impl<'a> IntoIterator for &'a Held {
    type Item = (&'a u32, &'a Holder);
    type IntoIter = imbl::ordmap::Iter<'a, u32, Holder, imbl::shared_ptr::DefaultSharedPtr>;

    fn into_iter(self) -> Self::IntoIter {
        self.holders.iter()
    }
}

impl Network {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The address of that node on this network.
    pub fn gateway(&self, node: NodeId) -> Option<Ipv4Addr> {
        self.subnet.host(*self.held.gateways.get(&node)?)
    }

    /// The nodes that take part, with their addresses.
    pub fn gateways(&self) -> impl Iterator<Item = (NodeId, Ipv4Addr)> {
        let gateways = self.held.gateways.iter();
        gateways.filter_map(|(node, offset)| Some((*node, self.subnet.host(*offset)?)))
    }

    /// Addresses that a task more on that node takes: its own, and the node's where it has none.
    pub fn needed_by(&self, node: NodeId) -> u64 {
        1 + u64::from(self.gateway(node).is_none())
    }

    /// Addresses that nobody holds.
    pub fn free(&self) -> u64 {
        self.usable().saturating_sub(self.held.len() as u64)
    }

    /// Addresses that can be held.
    pub fn usable(&self) -> u64 {
        self.subnet.size() - 2
    }

    /// Whether a fifth of the addresses or less is left.
    pub fn is_nearly_full(&self) -> bool {
        self.free() * 5 <= self.usable()
    }
}
