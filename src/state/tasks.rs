//! All tasks, arranged so that whoever looks at one service or one node touches nothing else.

use std::sync::Arc;

use imbl::OrdMap;

use super::Task;
use crate::spec::{NodeId, ServiceId, TaskId};

/// The tasks of one service. Small enough to lie close together, so that a look at a service costs
/// no search in a table of a million.
type OfService = OrdMap<TaskId, Arc<Task>>;

/// The table of tasks with its indexes, which cannot get out of step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tasks {
    by_service: OrdMap<ServiceId, OfService>,
    /// Where to find a task of which only the id is known.
    services: OrdMap<TaskId, ServiceId>,
    /// Tasks that were given to a node, ended ones included.
    by_node: OrdMap<NodeId, OrdMap<TaskId, ServiceId>>,
    /// How many tasks of a service no node has been chosen for; services without any are not in it.
    unplaced: OrdMap<ServiceId, u64>,
}

impl Tasks {
    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Arc<Task>> {
        let service = self.services.get(&id)?;
        self.by_service.get(service)?.get(&id)
    }

    /// All tasks, by service and id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.by_service.values().flat_map(OrdMap::values)
    }

    /// The tasks of one service, by id.
    pub(super) fn of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.by_service
            .get(&service)
            .into_iter()
            .flat_map(OrdMap::values)
    }

    /// The tasks that were given to one node, by id.
    pub(super) fn on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.by_node
            .get(&node)
            .into_iter()
            .flatten()
            .filter_map(|(task, service)| self.by_service.get(service)?.get(task))
    }

    /// Services that have tasks.
    pub(super) fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.by_service.keys().copied()
    }

    /// Services that have tasks without a node.
    pub(super) fn services_waiting(&self) -> impl Iterator<Item = ServiceId> {
        self.unplaced.keys().copied()
    }

    /// A new task. One of the same id must not be there.
    pub(super) fn insert(&mut self, task: Arc<Task>) {
        self.services.insert(task.id, task.service);
        if let Some(node) = task.node {
            self.put_on(node, task.id, task.service);
        }
        self.count_unplaced(task.service, 0, u64::from(task.is_unplaced()));
        self.by_service
            .entry(task.service)
            .or_default()
            .insert(task.id, task);
    }

    /// Changes a task. Which service it is of never changes; a node is given once and stays.
    pub(super) fn change<R>(
        &mut self,
        id: TaskId,
        change: impl FnOnce(&mut Task) -> R,
    ) -> Option<(R, &Arc<Task>)> {
        let service = *self.services.get(&id)?;
        let task = self.by_service.get_mut(&service)?.get_mut(&id)?;
        let (was_unplaced, had_node) = (task.is_unplaced(), task.node.is_some());
        let result = change(Arc::make_mut(task));
        let (is_unplaced, node) = (task.is_unplaced(), task.node);
        self.count_unplaced(service, u64::from(was_unplaced), u64::from(is_unplaced));
        if let Some(node) = node.filter(|_| !had_node) {
            self.put_on(node, id, service);
        }
        let task = self.by_service.get(&service)?.get(&id)?;
        Some((result, task))
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let service = self.services.remove(&id)?;
        let siblings = self.by_service.get_mut(&service)?;
        let task = siblings.remove(&id)?;
        if siblings.is_empty() {
            self.by_service.remove(&service);
        }
        if let Some(node) = task.node
            && let Some(there) = self.by_node.get_mut(&node)
        {
            there.remove(&id);
            if there.is_empty() {
                self.by_node.remove(&node);
            }
        }
        self.count_unplaced(service, u64::from(task.is_unplaced()), 0);
        Some(task)
    }

    fn put_on(&mut self, node: NodeId, task: TaskId, service: ServiceId) {
        self.by_node.entry(node).or_default().insert(task, service);
    }

    fn count_unplaced(&mut self, service: ServiceId, before: u64, after: u64) {
        if before == after {
            return;
        }
        let count = self.unplaced.entry(service).or_default();
        *count = (*count + after).saturating_sub(before);
        if *count == 0 {
            self.unplaced.remove(&service);
        }
    }
}

impl FromIterator<Arc<Task>> for Tasks {
    fn from_iter<I: IntoIterator<Item = Arc<Task>>>(tasks: I) -> Self {
        let mut all = Self::default();
        for task in tasks {
            all.insert(task);
        }
        all
    }
}
