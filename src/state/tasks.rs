//! All tasks, arranged so that whoever looks at one service or one node touches nothing else.

use std::sync::Arc;

use imbl::OrdMap;

use super::usage::{self, Share};
use super::{Task, Usage};
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
    /// Nodes that tasks were given to.
    by_node: OrdMap<NodeId, Arc<OnNode>>,
    /// How many tasks of a service no node has been chosen for; services without any are not in it.
    unplaced: OrdMap<ServiceId, u64>,
}

/// What one node was given.
#[derive(Debug, Clone, Default, PartialEq)]
struct OnNode {
    /// Ended ones included.
    tasks: OrdMap<TaskId, ServiceId>,
    /// What they take up.
    usage: Usage,
}

/// What became of a task.
#[derive(Debug)]
pub(super) struct Changed<'a, R> {
    /// What the change said.
    pub(super) result: R,
    pub(super) task: &'a Arc<Task>,
    /// Its part in its node's usage, before and after.
    pub(super) had: Option<Share>,
    pub(super) has: Option<Share>,
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
            .flat_map(|on| &on.tasks)
            .filter_map(|(task, service)| self.by_service.get(service)?.get(task))
    }

    /// What tasks take up of a node.
    pub(super) fn usage(&self, node: NodeId) -> &Usage {
        self.by_node.get(&node).map_or(&usage::NONE, |on| &on.usage)
    }

    /// Services that have tasks.
    pub(super) fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.by_service.keys().copied()
    }

    /// Services that have tasks without a node.
    pub(super) fn services_waiting(&self) -> impl Iterator<Item = ServiceId> {
        self.unplaced.keys().copied()
    }

    /// Takes an id for a task of a service that is about to come; `false` where it is taken.
    pub(super) fn claim(&mut self, id: TaskId, service: ServiceId) -> bool {
        let Some(before) = self.services.insert(id, service) else {
            return true;
        };
        self.services.insert(id, before);
        false
    }

    /// A new task, whose id was claimed.
    pub(super) fn insert(&mut self, task: Arc<Task>) {
        if let Some(node) = task.node {
            self.put_on(node, &task);
        }
        self.count_unplaced(task.service, 0, u64::from(task.is_unplaced()));
        match self.by_service.get_mut(&task.service) {
            Some(siblings) => {
                siblings.insert(task.id, task);
            }
            None => {
                let service = task.service;
                let siblings = OfService::unit(task.id, task);
                self.by_service.insert(service, siblings);
            }
        }
    }

    /// Changes a task. Which service it is of never changes; a node is given once and stays.
    pub(super) fn change<R>(
        &mut self,
        id: TaskId,
        change: impl FnOnce(&mut Task) -> R,
    ) -> Option<Changed<'_, R>> {
        let service = *self.services.get(&id)?;
        let task = self.by_service.get_mut(&service)?.get_mut(&id)?;
        let (was_unplaced, had_node) = (task.is_unplaced(), task.node.is_some());
        let had = Share::of(task);
        let result = change(Arc::make_mut(task));
        let has = Share::of(task);
        let is_unplaced = task.is_unplaced();
        if had != has || task.node.is_some() != had_node {
            let task = task.clone();
            if let Some(share) = had {
                self.change_usage(share.node, |usage| {
                    usage.remove(&task.reserved, task.claims.as_deref(), share.active);
                });
            }
            match task.node.filter(|_| !had_node) {
                Some(node) => self.put_on(node, &task),
                None => {
                    if let Some(share) = has {
                        self.change_usage(share.node, |usage| {
                            usage.add(&task.reserved, task.claims.as_deref(), share.active);
                        });
                    }
                }
            }
        }
        self.count_unplaced(service, u64::from(was_unplaced), u64::from(is_unplaced));
        Some(Changed {
            result,
            task: self.by_service.get(&service)?.get(&id)?,
            had,
            has,
        })
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let service = self.services.remove(&id)?;
        let siblings = self.by_service.get_mut(&service)?;
        let task = siblings.remove(&id)?;
        if siblings.is_empty() {
            self.by_service.remove(&service);
        }
        if let Some(node) = task.node {
            self.take_from(node, &task);
        }
        self.count_unplaced(service, u64::from(task.is_unplaced()), 0);
        Some(task)
    }

    fn put_on(&mut self, node: NodeId, task: &Task) {
        let on = match self.by_node.get_mut(&node) {
            Some(on) => on,
            None => self.by_node.entry(node).or_default(),
        };
        let on = Arc::make_mut(on);
        on.tasks.insert(task.id, task.service);
        if let Some(share) = Share::of(task) {
            let claims = task.claims.as_deref();
            on.usage.add(&task.reserved, claims, share.active);
        }
    }

    fn take_from(&mut self, node: NodeId, task: &Task) {
        let Some(on) = self.by_node.get_mut(&node).map(Arc::make_mut) else {
            return;
        };
        on.tasks.remove(&task.id);
        if let Some(share) = Share::of(task) {
            let claims = task.claims.as_deref();
            on.usage.remove(&task.reserved, claims, share.active);
        }
        if on.tasks.is_empty() {
            self.by_node.remove(&node);
        }
    }

    fn change_usage(&mut self, node: NodeId, change: impl FnOnce(&mut Usage)) {
        if let Some(on) = self.by_node.get_mut(&node) {
            change(&mut Arc::make_mut(on).usage);
        }
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
            all.claim(task.id, task.service);
            all.insert(task);
        }
        all
    }
}
