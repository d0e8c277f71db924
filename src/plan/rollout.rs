//! Updates and rollbacks: replacing the tasks of older specs, as many slots at a time as the
//! policy allows.
//!
//! What is in flight is read off the tasks themselves, so that a new leader sees what the old one
//! saw: a task that took another's place in a step says so, and when it came to run.

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
        match stand(desk, *slot, &policy) {
            Standing::Done => {}
            Standing::InFlight(task) => in_flight.push(task),
            Standing::Delay(until) => {
                desk.wake(until);
                delays.push(until);
            }
            Standing::Dirty(task) if is_open(desk, *slot) => dirty.push(task),
            // Its turn comes when its node takes tasks again.
            Standing::Dirty(task) if is_in_flight(&task) => in_flight.push(task.id),
            Standing::Dirty(_) => {}
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

/// How far a slot's wanted task is, if it came with a rollout.
fn progress(desk: &Desk<'_>, task: &Task, delay: Nanos) -> Standing {
    if is_in_flight(task) {
        return Standing::InFlight(task.id);
    }
    let first = task.in_rollout && task.restarts.count == 0;
    let started_at = desk.rollout.as_ref().map(|rollout| rollout.started_at);
    if started_at.is_none_or(|started_at| task.meta.created_at <= started_at) {
        return Standing::Done;
    }
    let free_at = if first && task.has_ended() {
        task.status.applied_at + delay
    } else if first {
        task.running_since.unwrap_or(desk.now) + delay
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
    let (taken, dirty): (Vec<_>, Vec<_>) = dirty.into_iter().partition(|old| is_in_flight(old));
    let busy = (busy + taken.len()) as u64;
    let mut room = policy
        .parallelism
        .map_or(u64::MAX, |parallelism| parallelism.saturating_sub(busy));
    // A former rollout took these slots; they stay in flight.
    for old in taken {
        replace(desk, &old, policy.order, true);
    }
    for old in dirty {
        // What has no node, and took no place from another, costs nobody anything.
        let free = old.node.is_none() && !old.in_rollout;
        if free || room > 0 {
            replace(desk, &old, policy.order, !free);
            room = room.saturating_sub(u64::from(!free));
        }
    }
}

/// Whether a task took another's place in a rollout and has not come to run.
fn is_in_flight(task: &Task) -> bool {
    task.in_rollout && task.restarts.count == 0 && task.running_since.is_none() && !task.has_ended()
}

fn replace(desk: &mut Desk<'_>, old: &Task, order: UpdateOrder, in_rollout: bool) {
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
        },
        in_rollout,
        restarts: Restarts::default(),
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
