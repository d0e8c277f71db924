//! What nodes and networks have left while a pass is being made: the state's own figures and what
//! the pass itself has given away since.

use std::collections::{BTreeMap, BTreeSet};

use super::view::Views;
use crate::spec::by_id::ById;
use crate::spec::{NetworkId, NodeId, ServiceId};
use crate::state::{State, Task, Usage};

#[derive(Debug)]
pub(super) struct Board<'a> {
    state: &'a State,
    /// Usage of the nodes that the pass has put tasks on or taken some from.
    usage: ById<NodeId, Usage>,
    /// Nodes that tasks of each service were put on.
    placed: BTreeMap<ServiceId, Vec<NodeId>>,
    /// Addresses given away.
    taken: BTreeMap<NetworkId, u64>,
    /// Nodes that have come to take part in a network.
    joined: BTreeSet<(NetworkId, NodeId)>,
    views: Views,
    /// Nodes whose usage the pass has changed, in that order.
    journal: Vec<NodeId>,
    /// Nodes that have changed since all services were looked at; `None` if that is not known.
    changed: Option<BTreeSet<NodeId>>,
    /// The service that is being looked at is another than when it was looked at last, or was never.
    is_new: bool,
}

impl<'a> Board<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self::with(state, Views::default(), None)
    }

    /// A board for the next pass, with what the last one left.
    pub(super) fn with(
        state: &'a State,
        mut views: Views,
        changed: Option<BTreeSet<NodeId>>,
    ) -> Self {
        views.begin_pass();
        Self {
            changed,
            is_new: false,
            state,
            views,
            journal: Vec::new(),
            usage: ById::default(),
            placed: BTreeMap::new(),
            taken: BTreeMap::new(),
            joined: BTreeSet::new(),
        }
    }

    /// Whether what a node is to the service may be another thing than when that was looked at last.
    pub(super) fn may_have_changed(&self, node: NodeId) -> bool {
        let changed = self.changed.as_ref().filter(|_| !self.is_new);
        changed.is_none_or(|changed| changed.contains(&node))
    }

    /// Another service is looked at; `is_new` where it was not before, or has changed since.
    pub(super) const fn begin_look(&mut self, is_new: bool) {
        self.is_new = is_new;
    }

    pub(super) fn into_views(self) -> Views {
        self.views
    }

    pub(super) const fn views(&mut self) -> &mut Views {
        &mut self.views
    }

    pub(super) fn journal(&self) -> &[NodeId] {
        &self.journal
    }

    pub(super) fn usage(&self, node: NodeId) -> &Usage {
        self.usage
            .get(&node)
            .unwrap_or_else(|| self.state.usage(node))
    }

    /// A task was put on a node.
    pub(super) fn take(&mut self, node: NodeId, task: &Task, networks: &[NetworkId]) {
        for network in networks {
            let needed = self.needed_by(*network, node);
            *self.taken.entry(*network).or_default() += needed;
            self.joined.insert((*network, node));
        }
        self.placed.entry(task.service).or_default().push(node);
        self.usage_mut(node)
            .add(&task.reserved, task.claims.as_deref(), true);
    }

    /// The nodes that the pass has put tasks of a service on.
    pub(super) fn placed(&self, service: ServiceId) -> impl Iterator<Item = NodeId> {
        self.placed.get(&service).into_iter().flatten().copied()
    }

    /// A task was taken from a node.
    pub(super) fn give_back(&mut self, node: NodeId, task: &Task) {
        self.usage_mut(node)
            .remove(&task.reserved, task.claims.as_deref(), true);
    }

    /// The network that has no address left for any task.
    pub(super) fn exhausted(&self, networks: &[NetworkId]) -> Option<NetworkId> {
        networks
            .iter()
            .find(|network| self.free(**network) == 0)
            .copied()
    }

    /// The network that has too few addresses left for a task on that node.
    pub(super) fn exhausted_for(&self, networks: &[NetworkId], node: NodeId) -> Option<NetworkId> {
        networks
            .iter()
            .find(|network| self.free(**network) < self.needed_by(**network, node))
            .copied()
    }

    fn usage_mut(&mut self, node: NodeId) -> &mut Usage {
        self.journal.push(node);
        self.usage
            .get_or_insert_with(node, || self.state.usage(node).clone())
    }

    fn free(&self, network: NetworkId) -> u64 {
        let free = self
            .state
            .network(network)
            .map_or(0, |network| network.free());
        free.saturating_sub(self.taken.get(&network).copied().unwrap_or(0))
    }

    fn needed_by(&self, network: NetworkId, node: NodeId) -> u64 {
        if self.joined.contains(&(network, node)) {
            return 1;
        }
        self.state
            .network(network)
            .map_or(1, |network| network.needed_by(node))
    }
}
