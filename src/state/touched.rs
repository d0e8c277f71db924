//! What changed lately: so that a look costs what changed and not what exists.

use imbl::{OrdMap, OrdSet, Vector};

use crate::spec::{NodeId, ServiceId};

/// Log indexes of the last change to each service, its tasks included, and to everything that
/// assignments are made of. Derived while applying; the same on every manager that applied the
/// same entries since its start.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    services: OrdMap<ServiceId, u64>,
    order: OrdSet<(u64, ServiceId)>,
    assignments: u64,
    /// The last one, for most changes concern the same service as those before.
    last: Option<(ServiceId, u64)>,
    /// The log index at which those were last told that wait for others.
    waiting: u64,
    /// Nodes that changed themselves.
    nodes: Journal,
    /// Nodes that changed, or what runs on them.
    loads: Journal,
}

/// The last changes of nodes with their log indexes, oldest first.
#[derive(Debug, Clone, Default)]
struct Journal {
    changes: Vector<(u64, NodeId)>,
    /// Changes up to this log index are forgotten.
    forgotten: u64,
}

impl Journal {
    /// Changes that are remembered.
    const LENGTH: usize = 65_536;

    /// Nodes that changed after that log index, some of them twice; `None` when that is too long
    /// ago to be remembered.
    fn since(&self, index: u64) -> Option<impl Iterator<Item = NodeId>> {
        let later = self.changes.iter().rev();
        (index >= self.forgotten).then(|| {
            later
                .take_while(move |(at, _)| *at > index)
                .map(|(_, node)| *node)
        })
    }

    fn push(&mut self, index: u64, node: NodeId) {
        if self.changes.len() == Self::LENGTH
            && let Some((forgotten, _)) = self.changes.pop_front()
        {
            self.forgotten = forgotten;
        }
        self.changes.push_back((index, node));
    }

    /// Nothing is known of what changed up to that log index.
    fn begin(&mut self, index: u64) {
        *self = Self {
            forgotten: index,
            ..Self::default()
        };
    }
}

impl Touched {
    /// Services changed after that log index, each once.
    pub fn services_since(&self, index: u64) -> impl Iterator<Item = ServiceId> {
        let first = (index.saturating_add(1), ServiceId::from_bits(0));
        self.order.range(first..).map(|(_, service)| *service)
    }

    /// The log index of the last change that can show in any node's assignment.
    pub const fn assignments(&self) -> u64 {
        self.assignments
    }

    /// Nodes that changed after that log index, some of them twice. `None` when that is too long ago
    /// to be remembered.
    pub fn nodes_since(&self, index: u64) -> Option<impl Iterator<Item = NodeId>> {
        self.nodes.since(index)
    }

    /// The same, with those on which tasks came, went or ended.
    pub fn loads_since(&self, index: u64) -> Option<impl Iterator<Item = NodeId>> {
        self.loads.since(index)
    }

    /// Whether those that wait have yet to be told of what the command of that index does.
    pub(super) const fn begins_to_tell(&mut self, index: u64) -> bool {
        let begins = self.waiting != index;
        self.waiting = index;
        begins
    }

    /// A node has changed.
    pub(super) fn node(&mut self, node: NodeId, index: u64) {
        self.nodes.push(index, node);
        self.loads.push(index, node);
    }

    /// What runs on a node has changed.
    pub(super) fn load(&mut self, node: NodeId, index: u64) {
        self.loads.push(index, node);
    }

    /// Nothing is known of what changed up to that log index.
    pub(super) fn begin(&mut self, index: u64) {
        self.nodes.begin(index);
        self.loads.begin(index);
    }

    pub(super) fn service(&mut self, service: ServiceId, index: u64) {
        if self.last == Some((service, index)) || self.services.get(&service) == Some(&index) {
            return;
        }
        self.last = Some((service, index));
        if let Some(before) = self.services.insert(service, index) {
            self.order.remove(&(before, service));
        }
        self.order.insert((index, service));
        self.assignments = index;
    }

    pub(super) const fn everything(&mut self, index: u64) {
        self.assignments = index;
    }

    pub(super) fn forget(&mut self, service: ServiceId, index: u64) {
        if let Some(before) = self.services.remove(&service) {
            self.order.remove(&(before, service));
        }
        self.last = None;
        self.assignments = index;
    }
}
