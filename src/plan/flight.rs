//! Slots in flight: their task was taken away on purpose, and the one that takes its place has not
//! come to run. How many there may be at once is what keeps a service up while its tasks are
//! replaced.
//!
//! All of it is read off the tasks themselves, so that a new leader sees what the old one saw: a
//! task that took another's place in a step says so, and when it came to run.

use super::desk::{Desk, Successor};
use super::wait::Wait;
use crate::spec::{Nanos, TaskId, Timestamp, UpdateOrder};
use crate::state::Task;
use crate::state::rare::Rare;
use crate::state::task::{DesiredState, Gate, Slot, TaskState};

/// The slots of one service that are in flight, and how many more may be.
#[derive(Debug)]
pub(super) struct Flight {
    /// `None` is no limit.
    limit: Option<u64>,
    /// Tasks that do not run yet.
    tasks: Vec<TaskId>,
    /// Slots whose task runs, while the delay before the next step goes on.
    delays: Vec<Timestamp>,
    /// Slots taken in this look.
    taken: u64,
}

/// How far a slot is whose task took another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its new task does not run yet.
    InFlight(TaskId),
    /// Its new task runs; the delay before the next step goes on until then.
    Delay(Timestamp),
    /// It takes nothing up, and perhaps never did.
    Landed,
}

impl Flight {
    pub(super) const fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            tasks: Vec::new(),
            delays: Vec::new(),
            taken: 0,
        }
    }

    /// Counts a slot by how far it is.
    pub(super) fn note(&mut self, desk: &mut Desk<'_>, progress: Progress) {
        match progress {
            Progress::InFlight(task) => self.tasks.push(task),
            Progress::Delay(until) => {
                desk.wake(until);
                self.delays.push(until);
            }
            Progress::Landed => {}
        }
    }

    /// Takes one more slot if there is room for it.
    pub(super) const fn take_off(&mut self) -> bool {
        let busy = self.tasks.len() as u64 + self.delays.len() as u64 + self.taken;
        let room = match self.limit {
            Some(limit) => busy < limit,
            None => true,
        };
        if room {
            self.taken += 1;
        }
        room
    }

    /// Whether every slot's task has come to run, or was given up.
    pub(super) const fn has_landed(&self) -> bool {
        self.tasks.is_empty() && self.taken == 0
    }

    /// Why no more slots are taken now.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let tasks = Some(self.tasks.clone()).filter(|tasks| !tasks.is_empty());
        let delay = self.delays.iter().min().copied();
        tasks
            .map(Wait::InFlight)
            .into_iter()
            .chain(delay.map(Wait::Delay))
            .collect()
    }
}

/// Whether a task took another's place in a step and has not come to run.
pub(super) fn is_in_flight(task: &Task) -> bool {
    task.came_by_a_step() && task.running_since.is_none() && !task.has_ended()
}

/// When the slot of a task in flight was taken. Losing a node on the way does not change that.
pub(super) fn taken_at(task: &Task) -> Timestamp {
    task.taken_at.unwrap_or(task.meta.created_at)
}

/// Whether a slot is not waited for any more: its task did not run in time.
pub(super) fn is_overdue(desk: &Desk<'_>, slot: Slot) -> bool {
    desk.rollout
        .as_ref()
        .is_some_and(|rollout| rollout.overdue.contains(&slot))
}

/// How far a slot is whose task is of the wanted spec. A slot counts with its first attempt only:
/// later ones say nothing new.
pub(super) fn progress(desk: &Desk<'_>, task: &Task, delay: Nanos) -> Progress {
    if is_overdue(desk, task.slot) {
        return Progress::Landed;
    }
    if is_in_flight(task) {
        return Progress::InFlight(task.id);
    }
    let first = task.came_by_a_step();
    let started_at = desk.rollout.as_ref().map(|rollout| rollout.started_at);
    if started_at.is_none_or(|started_at| task.meta.created_at <= started_at) {
        return Progress::Landed;
    }
    let free_at = if first && task.has_ended() {
        task.status.applied_at + delay
    } else if first {
        task.running_since.unwrap_or(desk.now) + delay
    } else if task.restarts.count == 1 && task.running_since.is_none() {
        // The first attempt failed when this one was made; the delay runs from there.
        task.meta.created_at + delay
    } else {
        return Progress::Landed;
    };
    if free_at > desk.now {
        Progress::Delay(free_at)
    } else {
        Progress::Landed
    }
}

/// Replaces a slot's task by one of the wanted spec: stop-first it waits until the old one has
/// stopped; start-first the old one goes on until the new one runs. `in_flight` says whether the
/// slot counts as in flight until then.
pub(super) fn replace(desk: &mut Desk<'_>, old: &Task, order: UpdateOrder, in_flight: bool) {
    let serves = old.is_wanted() && old.status.state == TaskState::Running;
    let start_first = order == UpdateOrder::StartFirst && serves && !desk.is_lost(old);
    let (old_desired, after) = if start_first {
        (old.desired, None)
    } else {
        (DesiredState::Shutdown, desk.still_stopping(old))
    };
    let successor = Successor {
        spec_version: desk.service.spec_version,
        gate: Gate {
            not_before: None,
            after,
            dependencies: old.waits_for_dependencies(),
        },
        in_rollout: in_flight,
        in_move: false,
        taken_at: None,
        restarts: Rare::default(),
    };
    desk.replace(old, old_desired, successor);
}
