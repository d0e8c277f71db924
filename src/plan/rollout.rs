//! Updates and rollbacks: replacing the tasks of older specs, as many slots at a time as the
//! policy allows.
//!
//! Which slots are in flight is `flight`'s; here is which slots are to be replaced, and the record.

use std::sync::Arc;

use super::desk::Desk;
use super::flight::{self, Flight, Progress};
use super::moves;
use super::wait::Wait;
use crate::spec::{Nanos, Timestamp, UpdateOrder, UpdatePolicy};
use crate::state::Task;
use crate::state::service::{Rollout, RolloutState};
use crate::state::task::{DesiredState, Slot, TaskState};

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
    /// Has a task of the wanted spec, or has tried it.
    Clean(Progress),
    /// Still has a task of another spec.
    Dirty(Arc<Task>),
}

/// Takes the steps that are due in `slots` and keeps the rollout's record.
pub(super) fn step(desk: &mut Desk<'_>, slots: &[Slot]) {
    let policy = policy(desk);
    let mut dirty = Vec::new();
    let mut flight = Flight::new(policy.parallelism);
    for slot in slots {
        match stand(desk, *slot, &policy) {
            Standing::Clean(progress) => flight.note(desk, progress),
            Standing::Dirty(task) if is_open(desk, *slot) => dirty.push(task),
            // Its turn comes when its node takes tasks again.
            Standing::Dirty(task) if flight::is_in_flight(&task) => {
                flight.note(desk, Progress::InFlight(task.id));
            }
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
    let settled = dirty.is_empty() && flight.has_landed();
    let waits = flight.waits();
    take(desk, dirty, flight, policy.order);
    if desk.rollout.as_ref().is_some_and(|it| it.state.is_active()) {
        for wait in waits {
            desk.wait(wait);
        }
        record(desk, settled, policy.monitor);
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
    if let Some(moving) = moves::pair(desk, slot) {
        return Standing::Clean(Progress::InFlight(moving.new.id));
    }
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
    Standing::Clean(flight::progress(desk, best, policy.delay))
}

/// A slot with no task of the wanted spec: of several, the one that serves is kept until its turn.
fn stand_dirty(desk: &mut Desk<'_>, slot: Slot, wanted: &[Arc<Task>]) -> Standing {
    let serving = wanted
        .iter()
        .find(|task| task.status.state == TaskState::Running && !desk.is_lost(task));
    let Some(old) = serving.or(wanted.last()) else {
        return match desk.in_slot(slot).next_back() {
            Some(ended) if !desk.is_clean(ended) => Standing::Dirty(ended.clone()),
            _ => Standing::Clean(Progress::Landed),
        };
    };
    for other in wanted.iter().filter(|other| other.id != old.id) {
        desk.set_desired(other.id, DesiredState::Shutdown);
    }
    Standing::Dirty(old.clone())
}

/// Replaces the tasks of as many dirty slots as may be in flight. Those that do not run go first:
/// replacing them takes nothing away.
fn take(desk: &mut Desk<'_>, mut dirty: Vec<Arc<Task>>, mut flight: Flight, order: UpdateOrder) {
    dirty.sort_by_key(|task| (task.status.state == TaskState::Running, task.slot));
    // A former rollout took some of these slots; they stay in flight.
    let (taken, dirty): (Vec<_>, Vec<_>) =
        dirty.into_iter().partition(|old| flight::is_in_flight(old));
    for old in taken {
        flight.note(desk, Progress::InFlight(old.id));
        flight::replace(desk, &old, order, true);
    }
    for old in dirty {
        // What has no node, and took no place from another, costs nobody anything.
        let free = old.node.is_none() && !old.in_rollout;
        if free || flight.take_off() {
            flight::replace(desk, &old, order, !free);
        }
    }
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
