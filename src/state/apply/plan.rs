//! Applying what the planner decided. Each change is checked against the state it lands on and
//! skipped when that has moved on; the planner looks again, for what moved was touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdSet;

use super::outfit::{Outfit, Refused, put_on};
use crate::spec::{NodeId, ServiceId, TaskId, Timestamp};
use crate::state::command::{Change, NewTask, Reply};
use crate::state::object::Meta;
use crate::state::service::{Rollout, RolloutState};
use crate::state::task::{DesiredState, TaskState, TaskStatus, Waiting};
use crate::state::text::Text;
use crate::state::usage::{Reserved, Share};
use crate::state::{State, Task};

impl State {
    pub(super) fn apply_plan(&mut self, index: u64, at: Timestamp, changes: Vec<Change>) -> Reply {
        let (mut taken, mut skipped) = (0, 0);
        let mut outfit = None;
        for change in changes {
            if self.apply_change(index, at, change, &mut outfit) {
                taken += 1;
            } else {
                skipped += 1;
            }
        }
        Reply::Planned { taken, skipped }
    }

    /// Whether the change was taken.
    fn apply_change(
        &mut self,
        index: u64,
        at: Timestamp,
        change: Change,
        outfit: &mut Option<Outfit>,
    ) -> bool {
        match &change {
            Change::CreateTask(new) | Change::ReplaceTask { new, .. } => {
                self.fit_out(outfit, new.service, new.spec_version);
            }
            Change::Assign { task, .. } => {
                if let Some(task) = self.tasks.get(*task) {
                    self.fit_out(outfit, task.service, task.spec_version);
                }
            }
            // What it is made of may change.
            _ => *outfit = None,
        }
        match change {
            Change::CreateTask(new) => self.create_task(index, at, new, outfit.as_ref()),
            Change::ReplaceTask {
                old,
                old_desired,
                new,
            } => {
                self.tasks.get(old).is_some()
                    && self.create_task(index, at, new, outfit.as_ref())
                    && self.change_task(index, at, old, |task| {
                        task.desired = task.desired.max(old_desired)
                    })
            }
            Change::Assign { task, node } => self.assign(index, at, task, node, outfit.as_ref()),
            Change::SetDesired { task, desired } => self.change_task(index, at, task, |task| {
                task.desired = task.desired.max(desired)
            }),
            Change::SetState {
                task,
                state,
                message,
                err,
            } => self.change_task(index, at, task, |task| {
                if state > task.status.state {
                    task.status.state = state;
                    task.status.at = at;
                    task.status.applied_at = at;
                    task.status.message = message.into();
                    task.status.err = err.into();
                }
            }),
            Change::SetWaiting { task, waiting } => {
                self.change_task(index, at, task, |task| task.waiting = waiting)
            }
            Change::DeleteTask { task } => self.delete_task(index, task),
            Change::SetRollout {
                service,
                spec_version,
                rollout,
            } => self.set_rollout(index, at, service, spec_version, *rollout),
            Change::SetJob {
                service,
                revision,
                job,
            } => self.set_job(index, at, service, revision, *job),
            Change::EndRebalance { service } => {
                self.set_rebalance(index, at, service, false).is_ok()
            }
            Change::RollBack {
                service,
                spec_version,
                message,
            } => {
                let current = self
                    .services
                    .get(&service)
                    .is_some_and(|service| service.spec_version == spec_version);
                current && self.roll_back_or_pause(index, at, service, &message)
            }
        }
    }

    fn create_task(
        &mut self,
        index: u64,
        at: Timestamp,
        new: NewTask,
        outfit: Option<&Outfit>,
    ) -> bool {
        let Some(outfit) = outfit else {
            return false;
        };
        let run_is_over = new.slot.run().is_some_and(|run| {
            let job = outfit.service.job.as_ref();
            job.is_none_or(|job| !job.is_live(run))
        });
        let wanted = new.desired <= DesiredState::Running;
        if run_is_over || !wanted || !self.tasks.may_be_called(new.id, new.service) {
            return false;
        }
        let node = new.node;
        let mut task = Task::new(new, Meta::new(index, at));
        if let Some(node) = node
            && let Ok(given) = self.give(task.id, node, outfit)
        {
            put_on(&mut task, at, given);
        }
        self.touched.service(task.service, index);
        if let Some(node) = task.node {
            self.touched.load(node, index);
        }
        self.tasks.insert(Arc::new(task));
        true
    }

    fn assign(
        &mut self,
        index: u64,
        at: Timestamp,
        id: TaskId,
        node: NodeId,
        outfit: Option<&Outfit>,
    ) -> bool {
        let task = self.tasks.get(id).filter(|task| task.is_unplaced());
        let (Some(task), Some(outfit)) = (task, outfit) else {
            return false;
        };
        let had = task.waiting.clone();
        match self.give(id, node, outfit) {
            Ok(given) => self.change_task(index, at, id, |task| put_on(task, at, given)),
            Err(Refused::AddressesExhausted(network)) => {
                let waiting = Some(Box::new(Waiting::AddressesExhausted(network)));
                had != waiting && self.change_task(index, at, id, |task| task.waiting = waiting)
            }
            Err(Refused::NoRoom) => false,
        }
    }

    /// A rollback that cannot be done (its networks are gone, its ports taken) leaves the update
    /// paused, and says why.
    fn roll_back_or_pause(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        message: &str,
    ) -> bool {
        let Err(why) = self.start_rollback(index, at, id, message) else {
            return true;
        };
        let Some(service) = self.services.get_mut(&id) else {
            return false;
        };
        let service = Arc::make_mut(service);
        let Some(rollout) = &mut service.rollout else {
            return false;
        };
        rollout.state = RolloutState::Paused;
        rollout.hold = None;
        rollout.message = format!("update paused, it cannot be rolled back: {why}");
        service.meta.write(index, at);
        self.touched.service(id, index);
        true
    }

    fn set_rollout(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ServiceId,
        spec_version: u64,
        rollout: Rollout,
    ) -> bool {
        let Some(service) = self.services.get_mut(&id) else {
            return false;
        };
        if service.spec_version != spec_version {
            return false;
        }
        let service = Arc::make_mut(service);
        service.rollout = Some(rollout);
        service.meta.write(index, at);
        self.touched.service(id, index);
        true
    }

    /// Changes a task and everything that follows from it. `false` when there is no such task.
    pub(in crate::state) fn change_task(
        &mut self,
        index: u64,
        at: Timestamp,
        id: TaskId,
        change: impl FnOnce(&mut Task),
    ) -> bool {
        let changed = self.tasks.change(id, |task| {
            let had_ended = task.has_ended();
            change(task);
            settle(task, at);
            task.meta.write(index, at);
            task.has_ended() && !had_ended
        });
        let Some(changed) = changed else {
            return false;
        };
        self.touched.service(changed.task.service, index);
        if changed.had != changed.has
            && let Some(share) = changed.has.or(changed.had)
        {
            // A task never changes its node.
            self.touched.load(share.node, index);
        }
        if changed.result {
            let task = changed.task.clone();
            self.release_task(index, &task);
        }
        true
    }

    /// Gives back what a task held, and lets those look again who wait for room.
    fn release_task(&mut self, index: u64, task: &Task) {
        self.release_addresses(task);
        self.touch_waiting(index);
    }

    /// Lets the services look again that have tasks without a node, or on one that they are to leave.
    pub(in crate::state) fn touch_waiting(&mut self, index: u64) {
        // Who comes to wait by the same command is touched by that.
        if !self.touched.begins_to_tell(index) {
            return;
        }
        let waiting: Vec<ServiceId> = self
            .services_waiting_for_nodes()
            .chain(self.services_leaving_nodes())
            .chain(self.balanced.iter().copied())
            .collect();
        for service in waiting {
            self.touched.service(service, index);
        }
    }

    pub(in crate::state) fn delete_task(&mut self, index: u64, id: TaskId) -> bool {
        let Some(task) = self.tasks.remove(id) else {
            return false;
        };
        if let Some(share) = Share::of(&task) {
            self.touched.load(share.node, index);
        }
        if !task.has_ended() {
            self.release_task(index, &task);
        }
        if let Some(service) = self.services.get(&task.service) {
            let current = service.spec_version == task.spec_version;
            let last_of_version = !current
                && self
                    .tasks_of(task.service)
                    .all(|other| other.spec_version != task.spec_version);
            if last_of_version {
                self.drop_unused_specs(task.service);
            }
            self.touched.service(task.service, index);
        } else if self.tasks_of(task.service).next().is_none() {
            self.departed.remove(&task.service);
            self.touched.forget(task.service, index);
        }
        true
    }

    /// Fills the indexes from the tables, as after reading a snapshot.
    pub(in crate::state) fn rebuild_indexes(&mut self) {
        let index = self.index;
        self.tasks = self.tasks.iter().cloned().collect();
        (self.drained, self.down) = (OrdSet::new(), OrdSet::new());
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.index_node(node);
        }
        self.keeping_near = self
            .services
            .values()
            .filter(|service| service.keeps_near())
            .map(|service| service.id)
            .collect();
        self.keeping_apart = self
            .services
            .values()
            .filter(|service| service.keeps_apart())
            .map(|service| service.id)
            .collect();
        self.service_names = self
            .services
            .values()
            .map(|service| (service.spec.name.clone(), service.id))
            .collect();
        self.dependents = OrdSet::new();
        self.balanced = OrdSet::new();
        let all: Vec<ServiceId> = self.services.keys().copied().collect();
        for service in all {
            self.index_dependencies(service, None);
            self.index_balance(service);
        }
        self.network_names = self
            .networks
            .values()
            .map(|network| (network.spec.name.clone(), network.id))
            .collect();
        self.config_names = self
            .configs
            .values()
            .map(|config| (config.spec.name.clone(), config.id))
            .collect();
        let services: BTreeSet<ServiceId> = self
            .services
            .keys()
            .copied()
            .chain(self.tasks.services())
            .collect();
        for service in services {
            self.touched.service(service, index);
        }
        self.touched.everything(index);
        self.touched.begin(index);
    }
}

/// What follows for a task from what it has become.
fn settle(task: &mut Task, at: Timestamp) {
    if task.node.is_none() && !task.is_wanted() && !task.has_ended() {
        // No node will ever report the end of what no node was given.
        task.status.state = TaskState::Shutdown;
        task.status.at = at;
        task.status.applied_at = at;
        task.status.message = "shut down before it was placed".into();
    }
    if !task.is_wanted() || task.has_ended() {
        task.waiting = None;
    }
}

impl Task {
    /// A task as it begins: without a node, waiting for one.
    pub fn new(new: NewTask, meta: Meta) -> Self {
        let at = meta.created_at;
        Self {
            id: new.id,
            meta,
            service: new.service,
            slot: new.slot,
            spec_version: new.spec_version,
            node: None,
            desired: new.desired,
            status: TaskStatus {
                state: TaskState::Pending,
                at,
                applied_at: at,
                message: "pending task scheduling".into(),
                err: Text::default(),
                container: None,
            },
            attachments: Box::default(),
            reserved: Reserved::default(),
            claims: None,
            running_since: None,
            gate: new.gate,
            in_rollout: new.in_rollout,
            in_move: new.in_move,
            taken_at: new.taken_at,
            restarts: new.restarts,
            waiting: None,
        }
    }

    /// Whether nothing keeps a task that is to be removed: it has stopped, or never had a node.
    pub fn may_be_forgotten(&self) -> bool {
        self.desired == DesiredState::Remove && (self.has_ended() || self.node.is_none())
    }
}
