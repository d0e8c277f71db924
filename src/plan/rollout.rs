//! Updates and rollbacks: replacing the tasks of older specs, as many slots at a time as the
//! policy allows.
//!
//! Which slots are in flight is `flight`'s; here is which slots are to be replaced, and the record.

use std::cmp::Reverse;
use std::sync::Arc;

use super::depends;
use super::desk::Desk;
use super::flight::{self, Flight, Progress};
use super::wait::{Stage, Wait};
use super::{moves, steps};
use crate::spec::{Nanos, TaskId, Timestamp, UpdateOrder, UpdatePolicy};
use crate::state::Task;
use crate::state::service::{Hold, Rollout, RolloutState};
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

/// Whether a rollout is about to replace what is not of the wanted spec. One that waits for a
/// promotion is not, however long that takes.
pub(super) fn advances(desk: &Desk<'_>) -> bool {
    desk.rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_active() && rollout.hold.is_none())
}

/// Where one slot stands in a rollout.
#[derive(Debug)]
enum Standing {
    /// Has a task of the wanted spec, or has tried it.
    Clean(Progress),
    /// Still has a task of another spec.
    Dirty(Arc<Task>),
    /// The same, but it is on its way to another node, which ends first.
    Moving(TaskId),
}

/// Takes the steps that are due in `slots` and keeps the rollout's record.
pub(super) fn step(desk: &mut Desk<'_>, slots: &[Slot]) {
    let policy = policy(desk);
    let (mut dirty, mut closed, mut moving) = (Vec::new(), 0, 0);
    let mut flight = Flight::new(policy.parallelism);
    for slot in desk.restless(slots) {
        match stand(desk, slot, &policy) {
            Standing::Clean(progress) => flight.note(desk, progress),
            Standing::Moving(task) => {
                moving += 1;
                flight.note(desk, Progress::InFlight(task));
            }
            Standing::Dirty(task) if is_open(desk, slot) => dirty.push(task),
            // Its turn comes when its node takes tasks again.
            Standing::Dirty(task) => {
                closed += 1;
                if flight::is_in_flight(&task) && !flight::is_overdue(desk, slot) {
                    flight.note(desk, Progress::InFlight(task.id));
                }
            }
        }
    }
    if let Some(rollout) = desk.rollout.as_mut()
        && rollout.state.is_active()
        && rollout.slots == 0
    {
        rollout.slots = dirty.len() as u64;
    }
    if let Some(paused) = desk.rollout.as_ref().filter(|it| it.state.is_paused()) {
        let wait = match paused.hold {
            Some(Hold::User) => Wait::PausedByUser,
            _ => Wait::Paused(paused.message.clone()),
        };
        return desk.wait(wait);
    }
    let total = slots.len() as u64;
    let clean = total - dirty.len() as u64 - closed - moving;
    let stage = steps::next(desk).map(|step| step.stage(total));
    let mut room = stage.map_or(u64::MAX, |stage| stage.slots.saturating_sub(clean));
    let unfinished = !dirty.is_empty() || moving > 0;
    let rests = !unfinished || room == 0;
    let settled = rests && flight.has_landed();
    let mut waits = flight.waits();
    let held = desk
        .rollout
        .as_ref()
        .is_some_and(|it| it.state == RolloutState::Updating);
    match depends::unmet(desk, true).filter(|_| held && !dirty.is_empty()) {
        Some(unmet) => waits.push(Wait::Dependency(unmet)),
        None => take(desk, dirty, flight, policy.order, &mut room),
    }
    if desk.rollout.as_ref().is_some_and(|it| it.state.is_active()) {
        for wait in waits {
            desk.wait(wait);
        }
        if !rests {
            steps::go_on(desk);
        }
        let stage = stage.filter(|_| unfinished);
        record(desk, settled, policy.monitor, stage);
    }
}

/// Whether a new task can come to run in a slot: not where its node takes none.
pub(super) fn is_open(desk: &Desk<'_>, slot: Slot) -> bool {
    slot.node().is_none_or(|node| {
        let node = desk.state.node(node);
        node.is_some_and(|node| node.takes_tasks())
    })
}

/// Sees where a slot stands, and stops what is needless there.
fn stand(desk: &mut Desk<'_>, slot: Slot, policy: &UpdatePolicy) -> Standing {
    if let Some(moving) = moves::pair(desk, slot) {
        return if flight::is_overdue(desk, slot) {
            Standing::Clean(Progress::Landed)
        } else if desk.is_clean(&moving.new) {
            Standing::Clean(Progress::InFlight(moving.new.id))
        } else {
            Standing::Moving(moving.new.id)
        };
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

/// Replaces the tasks of as many dirty slots as may be in flight, and as the step has `room` for.
/// Those that do not run go first: replacing them takes nothing away. Where there are steps, the
/// newest of the other specs goes next: it is what the last steps tried.
fn take(
    desk: &mut Desk<'_>,
    mut dirty: Vec<Arc<Task>>,
    mut flight: Flight,
    order: UpdateOrder,
    room: &mut u64,
) {
    let stepped = *room < u64::MAX;
    let age = |task: &Task| Reverse(if stepped { task.spec_version } else { 0 });
    dirty.sort_by_key(|task| {
        let runs = task.status.state == TaskState::Running;
        (runs, age(task), task.slot)
    });
    // A former rollout took some of these slots; they stay in flight.
    let (taken, dirty): (Vec<_>, Vec<_>) = dirty
        .into_iter()
        .partition(|old| flight::is_in_flight(old) && !flight::is_overdue(desk, old.slot));
    for old in &taken {
        flight.note(desk, Progress::InFlight(old.id));
    }
    for old in taken.iter().take_while(|_| spend(room)) {
        flight::replace(desk, old, order, true);
    }
    for old in dirty {
        // What has no node, and took no place from another, costs nobody anything. A step waits
        // for it all the same.
        let free = old.node.is_none() && !old.in_rollout && !stepped;
        if *room > 0 && (free || flight.take_off()) {
            spend(room);
            flight::replace(desk, &old, order, !free);
            // Its time begins anew.
            if let Some(rollout) = desk.rollout.as_mut() {
                rollout.overdue.remove(&old.slot);
            }
        }
    }
}

/// Takes one of what is left, if there is any.
const fn spend(room: &mut u64) -> bool {
    let some = *room > 0;
    *room = room.saturating_sub(1);
    some
}

/// Ends the rollout, or its step, once all slots have been settled for the monitor time.
fn record(desk: &mut Desk<'_>, settled: bool, monitor: Nanos, stage: Option<Stage>) {
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
        if until > now {
            desk.wake(until);
            desk.wait(Wait::Monitor(until));
        } else if let Some(stage) = stage {
            steps::rest(desk, &mut rollout, stage, since);
        } else {
            complete(&mut rollout, now);
        }
    }
    desk.rollout = Some(rollout);
}

fn complete(rollout: &mut Rollout, now: Timestamp) {
    rollout.message = format!("{} completed", rollout.noun());
    rollout.hold = None;
    rollout.state = if rollout.state.is_rollback() {
        RolloutState::RollbackCompleted
    } else {
        RolloutState::Completed
    };
    rollout.completed_at = Some(now);
}
