//! The replicated objects and the one function that changes them. Layer: pure.
//!
//! `State` is what every manager holds: built by `State::apply` from the log's commands, one
//! after the other, the same on all of them. Readers, the planner and snapshots work from cheap
//! clones (the tables are persistent maps that share structure), so nobody ever locks it.

mod allocate;
mod apply;
pub mod assignment;
pub mod check;
pub mod claims;
pub mod cluster;
pub mod codec;
pub mod command;
pub mod container;
pub mod dependency;
mod find;
pub mod job;
pub mod members;
pub mod network;
pub mod node;
pub mod object;
pub mod rare;
pub mod rejected;
pub mod revision;
pub mod service;
pub mod snapshot;
pub mod stay;
pub mod task;
mod tasks;
#[cfg(test)]
mod tests;
pub mod text;
mod touched;
pub mod tunnel;
pub mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::spec::{ConfigId, NetworkId, NodeId, ServiceId, TaskId, Timestamp};

pub use cluster::Cluster;
pub use command::{Change, Command, Op, Reply};
pub use find::{FindError, Named};
pub use job::Job;
pub use network::Network;
pub use node::Node;
pub use object::{Config, Meta};
pub use rejected::Rejected;
pub use service::Service;
pub use task::Task;
use tasks::Tasks;
pub use touched::Touched;
pub use usage::Usage;

/// A table of the state: a clone costs nothing and shares everything.
pub type Table<K, V> = OrdMap<K, Arc<V>>;

/// Everything the managers agree on, as of one log entry.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The log index of the last command applied.
    index: u64,
    /// The time of the last command that was not refused.
    clock: Timestamp,
    cluster: Option<Arc<Cluster>>,
    nodes: Table<NodeId, Node>,
    services: Table<ServiceId, Service>,
    /// Services that were removed and still have tasks: how those are to be stopped is in their
    /// specs.
    departed: Table<ServiceId, Service>,
    tasks: Tasks,
    networks: Table<NetworkId, Network>,
    configs: Table<ConfigId, Config>,
    /// Indexes: rebuilt from the tables above, never stored.
    /// Nodes that are drained.
    drained: OrdSet<NodeId>,
    /// Nodes that are down.
    down: OrdSet<NodeId>,
    /// Services with rules that keep others away from their tasks.
    keeping_apart: OrdSet<ServiceId>,
    /// Services whose tasks are to be near to others'.
    keeping_near: OrdSet<ServiceId>,
    service_names: OrdMap<String, ServiceId>,
    /// Services whose tasks are to be even over the nodes.
    balanced: OrdSet<ServiceId>,
    /// Who depends on a service of that name.
    dependents: OrdSet<(String, ServiceId)>,
    network_names: OrdMap<String, NetworkId>,
    config_names: OrdMap<String, ConfigId>,
    touched: Touched,
}

impl State {
    /// The log index of the last command applied.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The time of the last command that was not refused. Commands are later than each other by a
    /// nanosecond at least, so that times of the state also tell the order.
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The cluster, once `init` has made it.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(id)
    }

    /// All tasks, by service and id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.iter()
    }

    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// The tasks of one service, ended ones included.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.of(service)
    }

    /// The tasks that were given to one node, ended ones included.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.on(node)
    }

    /// Tasks that no node has been chosen for.
    pub fn unassigned(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.services_waiting_for_nodes()
            .flat_map(|service| self.tasks_of(service))
            .filter(|task| task.is_unplaced())
    }

    /// The services that have such tasks, each once.
    pub fn services_waiting_for_nodes(&self) -> impl Iterator<Item = ServiceId> {
        self.tasks.services_waiting()
    }

    /// The services that have tasks on nodes that are drained.
    pub fn services_leaving_nodes(&self) -> BTreeSet<ServiceId> {
        self.drained
            .iter()
            .flat_map(|node| self.tasks_on(*node))
            .filter(|task| !task.has_ended())
            .map(|task| task.service)
            .collect()
    }

    /// Whether tasks stay on a node: it is neither drained nor down.
    pub fn is_steady(&self, node: NodeId) -> bool {
        !self.drained.contains(&node) && !self.down.contains(&node)
    }

    /// Services that wait for a node and may be waiting for a neighbour there.
    pub fn services_waiting_for_neighbours(&self) -> impl Iterator<Item = ServiceId> {
        let some = !self.keeping_near.is_empty();
        let waiting = some.then(|| self.services_waiting_for_nodes());
        let waiting = waiting.into_iter().flatten();
        waiting.filter(|service| self.keeping_near.contains(service))
    }

    /// Services with rules that keep others away from their tasks.
    pub fn services_keeping_apart(&self) -> impl Iterator<Item = &Service> {
        self.keeping_apart
            .iter()
            .filter_map(|id| self.services.get(id).map(|service| service.as_ref()))
    }

    /// What tasks take up of a node.
    pub fn usage(&self, node: NodeId) -> &Usage {
        self.tasks.usage(node)
    }

    pub fn network(&self, id: NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(&id)
    }

    /// All networks of the cluster, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    pub fn config(&self, id: ConfigId) -> Option<&Arc<Config>> {
        self.configs.get(&id)
    }

    /// All configs, by id.
    pub fn configs(&self) -> impl Iterator<Item = &Arc<Config>> {
        self.configs.values()
    }

    /// What changed lately, for whoever looks only at what changed.
    pub const fn touched(&self) -> &Touched {
        &self.touched
    }
}
