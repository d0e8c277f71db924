//! Updates and rollbacks: replacing the tasks of older specs, as many slots at a time as the
//! policy allows.
//!
//! What is in flight is read off the tasks themselves, so that a new leader sees what the old one
//! saw. A task that took a place in a rollout names its predecessor in its gate, is its slot's
//! first attempt, and is younger than the rollout.

use std::sync::Arc;

use super::desk::{Desk, Successor};
use super::wait::Wait;
use crate::spec::{Nanos, TaskId, Timestamp, UpdateOrder, UpdatePolicy};
use crate::state::Task;
use crate::state::service::{Rollout, RolloutState};
use crate::state::task::{DesiredState, Gate, Restarts, Slot, TaskState};

/// The policy by which the service's tasks are replaced now.
pub(super) fn policy(desk: &Desk<'_>) -> UpdatePolicy {
    let rolling_back = desk
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_rollback());
    if rolling_back {
        desk.service.spec.rollback_policy()
    } else {
        desk.service.spec.update_policy()
    }
}

/// Where one slot stands in a rollout.
#[derive(Debug)]
enum Standing {
    /// Has the wanted spec, or has tried it.
    Done,
    /// Its new task does not run yet.
    InFlight(TaskId),
    /// Its new task runs; the delay before the next step goes on until then.
    Delay(Timestamp),
    /// Still has a task of another spec.
    Dirty(Arc<Task>),
}

/// Takes the steps that are due in `slots` and keeps the rollout's record.
pub(super) fn step(desk: &mut Desk<'_>, slots: &[Slot]) {
    let policy = policy(desk);
    let (mut dirty, mut in_flight, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots {
        if !is_open(desk, *slot) {
            continue;
        }
        match stand(desk, *slot, &policy) {
            Standing::Done => {}
            Standing::InFlight(task) => in_flight.push(task),
            Standing::Delay(until) => {
                desk.wake(until);
                delays.push(until);
            }
            Standing::Dirty(task) => dirty.push(task),
        }
    }
    if let Some(rollout) = desk.rollout.as_mut()
        && rollout.state.is_active()
        && rollout.slots == 0
    {
        rollout.slots = dirty.len() as u64;
    }
    if let Some(paused) = desk.rollout.as_ref().filter(|it| it.state.is_paused()) {
        let why = paused.message.clone();
        return desk.wait(Wait::Paused(why));
    }
    let settled = dirty.is_empty() && in_flight.is_empty();
    if !dirty.is_empty() {
        take(desk, dirty, in_flight.len() + delays.len(), &policy);
    }
    if desk.rollout.as_ref().is_some_and(|it| it.state.is_active()) {
        say_why_not_faster(desk, in_flight, &delays);
        record(desk, settled, policy.monitor);
    }
}

fn say_why_not_faster(desk: &mut Desk<'_>, in_flight: Vec<TaskId>, delays: &[Timestamp]) {
    if !in_flight.is_empty() {
        desk.wait(Wait::InFlight(in_flight));
    }
    if let Some(until) = delays.iter().min() {
        desk.wait(Wait::Delay(*until));
    }
}

/// Whether a new task can come to run in a slot: not where its node takes none.
fn is_open(desk: &Desk<'_>, slot: Slot) -> bool {
    match slot {
        Slot::Replica(_) => true,
        Slot::Node(node) => desk.state.node(node).is_some_and(|node| node.takes_tasks()),
    }
}

/// Sees where a slot stands, and stops what is needless there.
fn stand(desk: &mut Desk<'_>, slot: Slot, policy: &UpdatePolicy) -> Standing {
    let wanted = desk.wanted(slot);
    let runs = |task: &Task| task.status.state == TaskState::Running;
    let best = wanted
        .iter()
        .filter(|task| desk.is_clean(task))
        .max_by_key(|task| (!task.has_ended(), !desk.is_lost(task), runs(task)));
    let Some(best) = best else {
        return stand_dirty(desk, slot, &wanted);
    };
    if !best.has_ended() && !desk.is_lost(best) {
        for other in wanted.iter().filter(|other| other.id != best.id) {
            let goes_on = policy.order == UpdateOrder::StartFirst
                && !runs(best)
                && runs(other)
                && !desk.is_clean(other);
            if !goes_on {
                desk.set_desired(other.id, DesiredState::Shutdown);
            }
        }
    }
    progress(desk, best, policy.delay)
}

/// A slot with no task of the wanted spec: of several, the one that serves is kept until its turn.
fn stand_dirty(desk: &mut Desk<'_>, slot: Slot, wanted: &[Arc<Task>]) -> Standing {
    let serving = wanted
        .iter()
        .find(|task| task.status.state == TaskState::Running && !desk.is_lost(task));
    let Some(old) = serving.or(wanted.last()) else {
        return match desk.in_slot(slot).next_back() {
            Some(ended) if !desk.is_clean(ended) => Standing::Dirty(ended.clone()),
            _ => Standing::Done,
        };
    };
    for other in wanted.iter().filter(|other| other.id != old.id) {
        desk.set_desired(other.id, DesiredState::Shutdown);
    }
    Standing::Dirty(old.clone())
}

/// How far a slot's wanted task is, if it came with this rollout.
fn progress(desk: &Desk<'_>, task: &Task, delay: Nanos) -> Standing {
    let started_at = desk.rollout.as_ref().map(|rollout| rollout.started_at);
    if started_at.is_none_or(|started_at| task.meta.created_at <= started_at) {
        return Standing::Done;
    }
    let first = task.restarts.count == 0 && task.gate.after.is_some();
    let free_at = if first && task.has_ended() {
        task.status.applied_at + delay
    } else if first {
        match task.running_since {
            Some(since) => since + delay,
            None => return Standing::InFlight(task.id),
        }
    } else if task.restarts.count == 1 && task.running_since.is_none() {
        // The first attempt failed when this one was made; the delay runs from there.
        task.meta.created_at + delay
    } else {
        return Standing::Done;
    };
    if free_at > desk.now {
        Standing::Delay(free_at)
    } else {
        Standing::Done
    }
}

/// Replaces the tasks of as many dirty slots as may be in flight. Those that do not run go first:
/// replacing them takes nothing away.
fn take(desk: &mut Desk<'_>, mut dirty: Vec<Arc<Task>>, busy: usize, policy: &UpdatePolicy) {
    dirty.sort_by_key(|task| (task.status.state == TaskState::Running, task.slot));
    let mut room = policy.parallelism.map_or(u64::MAX, |parallelism| {
        parallelism.saturating_sub(busy as u64)
    });
    for old in dirty {
        // One that has no node and took no place from another costs nobody anything.
        let free = old.node.is_none() && old.gate.after.is_none();
        if free || room > 0 {
            replace(desk, &old, policy.order);
            room = room.saturating_sub(u64::from(!free));
        }
    }
}

fn replace(desk: &mut Desk<'_>, old: &Task, order: UpdateOrder) {
    let spec_version = desk.service.spec_version;
    let start_first = order == UpdateOrder::StartFirst && old.status.state == TaskState::Running;
    let in_place = old.node.is_some() || old.gate.after.is_some();
    let successor = Successor {
        spec_version,
        desired: if start_first || !in_place {
            DesiredState::Running
        } else {
            DesiredState::Ready
        },
        gate: Gate {
            not_before: None,
            after: in_place.then_some(old.id),
        },
        restarts: Restarts::default(),
    };
    let old_desired = if start_first && old.is_wanted() {
        old.desired
    } else {
        DesiredState::Shutdown
    };
    desk.replace(old, old_desired, successor);
}

/// Ends the rollout once all slots have been settled for the monitor time.
fn record(desk: &mut Desk<'_>, settled: bool, monitor: Nanos) {
    let now = desk.now;
    let Some(mut rollout) = desk.rollout.clone().filter(|it| it.state.is_active()) else {
        return;
    };
    if !settled {
        rollout.settled_at = None;
    } else if rollout.slots == 0 {
        complete(&mut rollout, now);
    } else {
        let since = *rollout.settled_at.get_or_insert(now);
        let until = since + monitor;
        if until <= now {
            complete(&mut rollout, now);
        } else {
            desk.wake(until);
            desk.wait(Wait::Monitor(until));
        }
    }
    desk.rollout = Some(rollout);
}

fn complete(rollout: &mut Rollout, now: Timestamp) {
    let (state, message) = if rollout.state.is_rollback() {
        (RolloutState::RollbackCompleted, "rollback completed")
    } else {
        (RolloutState::Completed, "update completed")
    };
    rollout.state = state;
    rollout.message = message.to_owned();
    rollout.completed_at = Some(now);
}
