//! All tasks, arranged so that whoever looks at one service or one node touches nothing else.

use std::sync::Arc;

use imbl::OrdMap;

use super::usage::{self, Share};
use super::{Task, Usage};
use crate::spec::id::Family;
use crate::spec::{NodeId, ServiceId, TaskId};

/// The tasks of one service. Small enough to lie close together, so that a look at a service costs
/// no search in a table of a million.
type OfService = OrdMap<TaskId, Arc<Task>>;

/// The table of tasks with its indexes, which cannot get out of step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tasks {
    /// By what the ids of each service's tasks end with, so that a task is found of which only the
    /// id is known. No service without tasks is in it.
    by_service: OrdMap<Family, OfService>,
    count: usize,
    /// Nodes that tasks were given to.
    by_node: OrdMap<NodeId, Arc<OnNode>>,
    /// How many tasks of a service no node has been chosen for; services without any are not in it.
    unplaced: OrdMap<ServiceId, u64>,
}

/// What one node was given.
#[derive(Debug, Clone, Default)]
struct OnNode {
    /// In no order, which makes it quick to add one. Ended ones included.
    tasks: Vec<TaskId>,
    /// What they take up.
    usage: Usage,
}

impl OnNode {
    fn sorted(&self) -> Vec<TaskId> {
        let mut tasks = self.tasks.clone();
        tasks.sort_unstable();
        tasks
    }
}

impl PartialEq for OnNode {
    fn eq(&self, other: &Self) -> bool {
        self.usage == other.usage && self.sorted() == other.sorted()
    }
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
        self.count
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.by_service.get(&id.family())?.get(&id)
    }

    /// All tasks, those of each service together and by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.by_service.values().flat_map(OrdMap::values)
    }

    /// The tasks of one service, by id.
    pub(super) fn of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        self.by_service
            .get(&service.family())
            .into_iter()
            .flat_map(OrdMap::values)
    }

    /// The tasks that were given to one node, by id.
    pub(super) fn on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.by_node
            .get(&node)
            .into_iter()
            .flat_map(|on| on.sorted())
            .filter_map(|task| self.get(task))
    }

    /// What tasks take up of a node.
    pub(super) fn usage(&self, node: NodeId) -> &Usage {
        self.by_node.get(&node).map_or(&usage::NONE, |on| &on.usage)
    }

    /// Services that have tasks.
    pub(super) fn services(&self) -> impl Iterator<Item = ServiceId> {
        let first = |tasks: &OfService| tasks.get_min().map(|(_, task)| task.service);
        self.by_service.values().filter_map(first)
    }

    /// Services that have tasks without a node.
    pub(super) fn services_waiting(&self) -> impl Iterator<Item = ServiceId> {
        self.unplaced.keys().copied()
    }

    /// Whether a new task of a service may have that id.
    pub(super) fn may_be_called(&self, id: TaskId, service: ServiceId) -> bool {
        // Another service whose id ends alike is as good as impossible, and refused all the same.
        let fits = |siblings: &OfService| {
            let other = siblings.get_min();
            other.is_none_or(|(_, other)| other.service == service) && !siblings.contains_key(&id)
        };
        id.family() == service.family() && self.by_service.get(&id.family()).is_none_or(fits)
    }

    /// A new task, which may be called as it is.
    pub(super) fn insert(&mut self, task: Arc<Task>) {
        if let Some(node) = task.node {
            self.put_on(node, &task);
        }
        self.count_unplaced(task.service, 0, u64::from(task.is_unplaced()));
        let family = task.id.family();
        let before = match self.by_service.get_mut(&family) {
            Some(siblings) => siblings.insert(task.id, task),
            None => {
                let siblings = OfService::unit(task.id, task);
                self.by_service.insert(family, siblings);
                None
            }
        };
        self.count += usize::from(before.is_none());
    }

    /// Changes a task. Which service it is of never changes; a node is given once and stays.
    pub(super) fn change<R>(
        &mut self,
        id: TaskId,
        change: impl FnOnce(&mut Task) -> R,
    ) -> Option<Changed<'_, R>> {
        let task = self.by_service.get_mut(&id.family())?.get_mut(&id)?;
        let service = task.service;
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
            task: self.get(id)?,
            had,
            has,
        })
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let siblings = self.by_service.get_mut(&id.family())?;
        let task = siblings.remove(&id)?;
        if siblings.is_empty() {
            self.by_service.remove(&id.family());
        }
        self.count -= 1;
        if let Some(node) = task.node {
            self.take_from(node, &task);
        }
        self.count_unplaced(task.service, u64::from(task.is_unplaced()), 0);
        Some(task)
    }

    fn put_on(&mut self, node: NodeId, task: &Task) {
        let on = match self.by_node.get_mut(&node) {
            Some(on) => on,
            None => self.by_node.entry(node).or_default(),
        };
        let on = Arc::make_mut(on);
        on.tasks.push(task.id);
        if let Some(share) = Share::of(task) {
            let claims = task.claims.as_deref();
            on.usage.add(&task.reserved, claims, share.active);
        }
    }

    fn take_from(&mut self, node: NodeId, task: &Task) {
        let Some(on) = self.by_node.get_mut(&node).map(Arc::make_mut) else {
            return;
        };
        if let Some(place) = on.tasks.iter().position(|id| *id == task.id) {
            on.tasks.swap_remove(place);
        }
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
            all.insert(task);
        }
        all
    }
}
