//! One service laid out for a look: its tasks by slot as they will be once the changes decided so
//! far are applied, and those changes. Every step reads and writes here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::demand::Demand;
use super::filters::Needs;
use super::kinship::Kinship;
use super::roster::Roster;
use super::wait::Wait;
use super::{Look, board::Board, rollout};
use crate::spec::id::Ids;
use crate::spec::policy::RestartCondition;
use crate::spec::{Nanos, NodeId, RestartPolicy, ServiceId, ServiceSpec, TaskId, Timestamp};
use crate::state::command::NewTask;
use crate::state::object::Meta;
use crate::state::rare::Rare;
use crate::state::service::Rollout;
use crate::state::task::{DesiredState, Gate, Restarts, Slot, TaskState, Waiting};
use crate::state::{Change, Job, Service, State, Task};

#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) state: &'a State,
    pub(super) service: &'a Service,
    pub(super) now: Timestamp,
    /// What the wanted spec asks of a node, where that decides whether a task is as it should be.
    needs: Option<Needs<'a>>,
    /// As it will be; written back when it has changed.
    pub(super) rollout: Option<Rollout>,
    /// As it will be; written back when it has changed.
    pub(super) job: Option<Job>,
    ids: Ids,
    roster: Roster<'a>,
    /// Slots of which more is to be said than that their one task runs as it should.
    restless: BTreeSet<Slot>,
    /// What tasks of each spec version ask for.
    demands: BTreeMap<u64, Arc<Demand<'a>>>,
    /// How each spec version that tasks carry relates to the wanted one.
    kinships: BTreeMap<u64, Kinship>,
    /// What tasks are found to wait for.
    holds: BTreeMap<TaskId, Waiting>,
    changes: Vec<Change>,
    waits: Vec<Wait>,
    wake_at: Option<Timestamp>,
}

impl<'a> Desk<'a> {
    /// `None` when there is no such service (any more).
    pub(super) fn of(state: &'a State, id: ServiceId, now: Timestamp) -> Option<Self> {
        let service = state.service(id)?;
        let kinships: BTreeMap<u64, Kinship> = service
            .specs
            .iter()
            .filter(|(version, _)| **version != service.spec_version)
            .map(|(version, spec)| {
                let kinship = if *version < service.renewed {
                    Kinship::Different
                } else {
                    Kinship::between(spec, &service.spec)
                };
                (*version, kinship)
            })
            .collect();
        let moved = kinships.values().any(|it| *it == Kinship::Moved);
        let mut desk = Self {
            state,
            service,
            now,
            needs: moved.then(|| Needs::of(&service.spec)),
            rollout: service.rollout.clone(),
            job: service.job.clone(),
            ids: ids(state, id),
            roster: Roster::of(state.tasks_of(id)),
            restless: BTreeSet::new(),
            demands: BTreeMap::new(),
            kinships,
            holds: BTreeMap::new(),
            changes: Vec::new(),
            waits: Vec::new(),
            wake_at: None,
        };
        let delay = rollout::policy(&desk).delay;
        let limit = state.cluster().and_then(|it| it.spec.task_history_limit());
        let most = limit.unwrap_or(usize::MAX).max(1);
        let restless = desk.roster.only(most).filter(|(_, only)| {
            let quiet = only.is_some_and(|task| desk.is_quiet(task, delay));
            !quiet
        });
        desk.restless = restless.map(|(slot, _)| slot).collect();
        Some(desk)
    }

    /// Whether there is nothing to decide for the one task of a slot: it runs or is about
    /// to, is what is wanted, may stay where it is, and whatever brought it there is over. `delay`
    /// is the one after each step of a rollout.
    fn is_quiet(&self, task: &Task, delay: Nanos) -> bool {
        let over = match task.running_since {
            Some(since) => !task.came_by_a_step() || since + delay <= self.now,
            None => !task.came_by_a_step() && task.restarts.count == 0,
        };
        over && task.desired == DesiredState::Running
            && !task.has_ended()
            && self.is_clean(task)
            && task.node.is_some_and(|node| self.state.is_steady(node))
    }

    /// Those of the slots that something may have to be decided for.
    pub(super) fn restless(&self, slots: &[Slot]) -> Vec<Slot> {
        if self.restless.is_empty() {
            return Vec::new();
        }
        let restless = |slot: &&Slot| self.is_restless(**slot);
        slots.iter().filter(restless).copied().collect()
    }

    pub(super) fn is_restless(&self, slot: Slot) -> bool {
        self.restless.contains(&slot)
    }

    /// All slots that have tasks of any kind.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.roster.slots()
    }

    /// All tasks, in an order that is the same for the same state.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.roster.tasks()
    }

    /// All tasks, each with what the state has of it.
    pub(super) fn tasks_before(&self) -> impl Iterator<Item = (&Arc<Task>, Option<&Arc<Task>>)> {
        self.roster.tasks_before()
    }

    /// One task as it will be.
    pub(super) fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.roster.get(id)
    }

    /// The tasks of a slot, oldest first.
    pub(super) fn in_slot(&self, slot: Slot) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.roster.in_slot(slot)
    }

    /// The wanted tasks of a slot, ended ones included, oldest first.
    pub(super) fn wanted(&self, slot: Slot) -> Vec<Arc<Task>> {
        self.in_slot(slot)
            .filter(|task| task.is_wanted())
            .cloned()
            .collect()
    }

    /// The spec that a task runs.
    pub(super) fn spec_of(&self, task: &Task) -> &'a Arc<ServiceSpec> {
        self.service
            .spec_at(task.spec_version)
            .unwrap_or(&self.service.spec)
    }

    pub(super) fn restart_policy_of(&self, task: &Task) -> RestartPolicy {
        let spec = self.spec_of(task);
        let policy = &spec.task_template.restart_policy;
        let mut policy = policy.clone().unwrap_or_default();
        if spec.mode.is_job() && policy.condition() == RestartCondition::Any {
            // What has completed is never done again.
            policy.condition = Some(RestartCondition::OnFailure);
        }
        policy
    }

    /// Whether a task is what the service wants now, so that a rollout has nothing to do for it.
    pub(super) fn is_clean(&self, task: &Task) -> bool {
        if task.spec_version == self.service.spec_version {
            return true;
        }
        match self.kinships.get(&task.spec_version) {
            Some(Kinship::Same) => true,
            Some(Kinship::Moved) => task
                .node
                .and_then(|node| self.state.node(node))
                .zip(self.needs.as_ref())
                .is_some_and(|(node, needs)| needs.suits(node)),
            Some(Kinship::Different) | None => false,
        }
    }

    /// The spec that decides where a task may be.
    pub(super) fn placing_spec_of(&self, task: &Task) -> &'a Arc<ServiceSpec> {
        if self.is_clean(task) {
            &self.service.spec
        } else {
            self.spec_of(task)
        }
    }

    /// The version of a task that takes a task's place for another reason than a rollout. While
    /// one is under way or paused, only its own steps change versions.
    pub(super) fn successor_version(&self, task: &Task) -> u64 {
        let rolling = self.rollout.as_ref().is_some_and(Rollout::is_unfinished);
        let known = self.service.spec_at(task.spec_version).is_some();
        if known && task.slot.run().is_some() {
            // A run is of one spec from its beginning to its end.
            return task.spec_version;
        }
        if rolling && known && !self.is_clean(task) {
            task.spec_version
        } else {
            self.service.spec_version
        }
    }

    /// The version of a task for a slot that is new. While an update still has steps before it,
    /// only they spread the new spec: the slot begins with what most others have.
    pub(super) fn newcomer_version(&self) -> u64 {
        if super::steps::next(self).is_none() {
            return self.service.spec_version;
        }
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for task in self.tasks() {
            let known = self.service.spec_at(task.spec_version).is_some();
            if known && task.is_wanted() && !self.is_clean(task) {
                *counts.entry(task.spec_version).or_default() += 1;
            }
        }
        let most = counts
            .into_iter()
            .max_by_key(|(version, count)| (*count, std::cmp::Reverse(*version)));
        most.map_or(self.service.spec_version, |(version, _)| version)
    }

    /// Whether a task's node cannot tell of it: it is gone or down.
    pub(super) fn is_lost(&self, task: &Task) -> bool {
        task.node
            .is_some_and(|node| self.state.node(node).is_none_or(|node| node.is_down()))
    }

    /// Since when a task's node is what it is.
    pub(super) fn node_since(&self, task: &Task) -> Timestamp {
        let node = task.node.and_then(|node| self.state.node(node));
        node.map(|node| node.status.since).unwrap_or_default()
    }

    /// Whether a task's node is being drained, so that it is to move in its turn.
    pub(super) fn is_leaving(&self, task: &Task) -> bool {
        task.node
            .and_then(|node| self.state.node(node))
            .is_some_and(|node| node.is_draining(self.now))
    }

    pub(super) fn set_desired(&mut self, id: TaskId, desired: DesiredState) {
        let task = self.task(id);
        let moves = task.is_some_and(|task| task.desired < desired);
        if moves {
            self.lower(id, desired);
            self.changes.push(Change::SetDesired { task: id, desired });
        }
    }

    /// The managers' own verdict that a task has ended.
    pub(super) fn end(&mut self, id: TaskId, state: TaskState, err: &str) {
        let now = self.now;
        let Some(task) = self.roster.change(id) else {
            return;
        };
        task.status.state = state;
        task.status.applied_at = now;
        self.restless.insert(task.slot);
        self.changes.push(Change::SetState {
            task: id,
            state,
            message: err.to_owned(),
            err: err.to_owned(),
        });
    }

    /// Makes room for that many tasks that are about to be made.
    pub(super) fn reserve(&mut self, more: usize) {
        self.roster.reserve(more);
        self.changes.reserve(more);
    }

    /// A task for a slot that has none.
    /// While none of the service's tasks was ever started, it waits for what the service depends on.
    pub(super) fn create(&mut self, slot: Slot, spec_version: u64, gate: Gate) {
        let depends = self
            .service
            .spec
            .swarmr
            .as_ref()
            .is_some_and(|extension| !extension.depends_on.is_empty());
        let gate = Gate {
            dependencies: depends && !self.has_started(),
            ..gate
        };
        let successor = Successor {
            spec_version,
            gate,
            in_rollout: false,
            in_move: false,
            taken_at: None,
            restarts: Rare::default(),
        };
        let new = self.new_task(slot, successor);
        self.changes.push(Change::CreateTask(new));
    }

    fn has_started(&self) -> bool {
        self.tasks().any(|task| {
            task.running_since.is_some()
                || (TaskState::Starting..=TaskState::Complete).contains(&task.status.state)
                || task.status.state == TaskState::Failed
        })
    }

    /// A task that takes another's place in its slot.
    pub(super) fn replace(
        &mut self,
        old: &Task,
        old_desired: DesiredState,
        new: Successor,
    ) -> TaskId {
        let new = self.new_task(old.slot, new);
        let id = new.id;
        self.lower(old.id, old_desired);
        self.changes.push(Change::ReplaceTask {
            old: old.id,
            old_desired: old.desired.max(old_desired),
            new,
        });
        id
    }

    /// What must have stopped before a task may start that takes this one's place: this one, if
    /// its node can still tell, or what it waited for itself.
    pub(super) fn still_stopping(&self, old: &Task) -> Option<TaskId> {
        let stops = |task: &Task| task.occupies_node() && !self.is_lost(task);
        if stops(old) {
            return Some(old.id);
        }
        self.in_slot(old.slot)
            .rev()
            .find(|task| !task.is_wanted() && stops(task))
            .map(|task| task.id)
    }

    pub(super) fn assign(&mut self, id: TaskId, node: NodeId, board: &mut Board<'_>) {
        let Some(version) = self.task(id).map(|task| task.spec_version) else {
            return;
        };
        let demand = self.demand(version);
        let claims = demand.claims_on(self.state, node, board);
        let Some(task) = self.roster.change(id) else {
            return;
        };
        task.node = Some(node);
        task.reserved = demand.reserved.clone();
        task.status.state = TaskState::Assigned;
        task.waiting = None;
        task.claims = claims;
        board.take(node, task, &demand.networks);
        // What is claimed by name is given in the order in which it was decided.
        let birth = self.roster.birth(id).filter(|_| demand.ask.is_empty());
        match birth.and_then(|birth| self.changes.get_mut(birth)) {
            Some(Change::CreateTask(new) | Change::ReplaceTask { new, .. }) => {
                new.node = Some(node);
            }
            _ => self.changes.push(Change::Assign { task: id, node }),
        }
    }

    /// What tasks of a spec version ask for.
    pub(super) fn demand(&mut self, version: u64) -> Arc<Demand<'a>> {
        let (state, service) = (self.state, self.service);
        let demand = self.demands.entry(version).or_insert_with(|| {
            let spec = service.spec_at(version).unwrap_or(&service.spec);
            Arc::new(Demand::of(state, spec))
        });
        demand.clone()
    }

    pub(super) fn delete(&mut self, id: TaskId) {
        if self.roster.remove(id) {
            self.changes.push(Change::DeleteTask { task: id });
        }
    }

    pub(super) fn roll_back(&mut self, message: String) {
        self.changes.push(Change::RollBack {
            service: self.service.id,
            spec_version: self.service.spec_version,
            message,
        });
    }

    /// Says what keeps a task. What keeps it off its node was said first, and stays.
    pub(super) fn hold(&mut self, task: TaskId, waiting: Waiting) {
        self.holds.entry(task).or_insert(waiting);
    }

    /// Decides what concerns the service and none of its tasks.
    pub(super) fn note(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Says what the rollout waits for.
    pub(super) fn wait(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    /// Asks to be looked at again at that time.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Writes down what tasks wait for, where that has changed.
    pub(super) fn say_what_tasks_wait_for(&mut self) {
        for task in self.roster.tasks() {
            if task.waiting.is_none() && self.holds.is_empty() {
                continue;
            }
            let waiting = self.holds.remove(&task.id);
            if task.is_wanted() && !task.has_ended() && task.waiting.as_deref() != waiting.as_ref()
            {
                self.changes.push(Change::SetWaiting {
                    task: task.id,
                    waiting: waiting.map(Box::new),
                });
            }
        }
    }

    /// What the look found.
    pub(super) fn close(mut self) -> Look {
        if let Some(rollout) = self
            .rollout
            .take_if(|rollout| self.service.rollout.as_ref() != Some(rollout))
        {
            self.changes.push(Change::SetRollout {
                service: self.service.id,
                spec_version: self.service.spec_version,
                rollout: Box::new(rollout),
            });
        }
        if let Some(job) = self
            .job
            .take_if(|job| self.service.job.as_ref() != Some(job))
        {
            let change = Change::SetJob {
                service: self.service.id,
                revision: job.revision,
                job: Box::new(job),
            };
            // A run's tasks are made after the run.
            self.changes.insert(0, change);
        }
        Look {
            changes: self.changes,
            wake_at: self.wake_at,
            waits: self.waits,
        }
    }

    fn new_task(&mut self, slot: Slot, successor: Successor) -> NewTask {
        let desired = if successor.gate == Gate::default() {
            DesiredState::Running
        } else {
            DesiredState::Ready
        };
        let new = NewTask {
            id: TaskId::of(self.service.id, self.ids.next_u64()),
            service: self.service.id,
            slot,
            spec_version: successor.spec_version,
            node: None,
            desired,
            gate: successor.gate.into(),
            in_rollout: successor.in_rollout,
            in_move: successor.in_move,
            taken_at: successor.taken_at,
            restarts: successor.restarts,
        };
        let meta = Meta::new(self.state.index(), self.now);
        // There is nothing more to decide for a task of the wanted spec in a slot of its own.
        if new.spec_version != self.service.spec_version || self.roster.has_slot(slot) {
            self.restless.insert(slot);
        }
        // It is made by the change that comes next.
        let birth = self.changes.len();
        self.roster.add(Task::new(new.clone(), meta), birth);
        new
    }

    fn lower(&mut self, id: TaskId, desired: DesiredState) {
        let Some(task) = self.roster.change(id) else {
            return;
        };
        self.restless.insert(task.slot);
        task.desired = task.desired.max(desired);
        if !task.is_wanted() && task.node.is_none() && !task.has_ended() {
            // As the state does for what was never placed.
            task.status.state = TaskState::Shutdown;
        }
    }
}

/// What a task is replaced by. It starts at once if its gate is open from the beginning.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) spec_version: u64,
    pub(super) gate: Gate,
    pub(super) in_rollout: bool,
    pub(super) in_move: bool,
    /// When its slot was taken, if that was before it is made.
    pub(super) taken_at: Option<Timestamp>,
    pub(super) restarts: Rare<Restarts>,
}

/// A sequence of ids of its own for each service and state, so that what a pass decides for one
/// service does not depend on which others it looks at.
fn ids(state: &State, service: ServiceId) -> Ids {
    let seed = state.cluster().map_or(0, |cluster| cluster.seed);
    let bits = service.bits();
    // The halves of the id are folded together; what is cut off is meant to be.
    let folded = (bits ^ (bits >> 64)) as u64;
    Ids::new(seed ^ folded, state.index())
}
