//! Forgetting tasks: those that were to be removed and have stopped, and history beyond its limit.

use super::Look;
use super::desk::Desk;
use super::job;
use super::restart;
use crate::spec::{Nanos, ServiceId, TaskId, Timestamp};
use crate::state::task::{DesiredState, Slot, TaskState};
use crate::state::{Change, State, Task};

/// How long a task of a silent node may still be running there; after that it is given up.
const ORPHANED_AFTER: Nanos = Nanos::from_secs(24 * 60 * 60);
const ORPHANED: &str = "its node has been down for a day";

/// What is left of a service that is gone.
pub(super) fn remains(state: &State, service: ServiceId, now: Timestamp) -> Look {
    let mut look = Look::default();
    for task in state.tasks_of(service) {
        match given_up_at(state, task) {
            _ if task.may_be_forgotten() => {
                look.changes.push(Change::DeleteTask { task: task.id });
            }
            Some(at) if at <= now => look.changes.push(Change::SetState {
                task: task.id,
                state: TaskState::Orphaned,
                message: ORPHANED.to_owned(),
                err: ORPHANED.to_owned(),
            }),
            Some(at) => look.wake_at = Some(look.wake_at.map_or(at, |wake| wake.min(at))),
            None => {}
        }
    }
    look
}

/// Forgets what of a service's tasks need not be remembered.
pub(super) fn forget(desk: &mut Desk<'_>) {
    give_up(desk);
    let limit = desk
        .state
        .cluster()
        .and_then(|cluster| cluster.spec.task_history_limit());
    for slot in desk.restless(&desk.slots()) {
        let removed: Vec<TaskId> = desk
            .in_slot(slot)
            .filter(|task| task.may_be_forgotten())
            .map(|task| task.id)
            .collect();
        for task in removed {
            desk.delete(task);
        }
        if let Some(limit) = limit {
            trim(desk, slot, limit);
        }
    }
}

/// Ends the tasks of which nothing has been heard for a day.
fn give_up(desk: &mut Desk<'_>) {
    let stopping: Vec<_> = desk
        .tasks()
        .filter(|task| !task.is_wanted())
        .filter_map(|task| Some((task.id, given_up_at(desk.state, task)?)))
        .collect();
    for (task, at) in stopping {
        if at <= desk.now {
            desk.end(task, TaskState::Orphaned, ORPHANED);
        } else {
            desk.wake(at);
        }
    }
}

fn given_up_at(state: &State, task: &Task) -> Option<Timestamp> {
    let node = state.node(task.node?)?;
    (!task.has_ended() && node.is_down()).then(|| node.status.since + ORPHANED_AFTER)
}

/// Forgets the oldest ended tasks of a slot beyond the limit, which counts its living tasks too.
/// As many stay as the restart policy counts, and the last one where it is all that tells that the
/// slot has had its attempts.
fn trim(desk: &mut Desk<'_>, slot: Slot, limit: usize) {
    let Some(newest) = desk.in_slot(slot).next_back() else {
        return;
    };
    let attempts = desk.restart_policy_of(newest).max_attempts();
    let counted = attempts.map_or(0, |attempts| {
        usize::try_from(attempts)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    });
    // A move that failed is not tried again at once; only its task tells of it.
    let tells = restart::is_finished(desk, slot) || newest.in_move;
    let kept = tells.then_some(newest.id);
    let surplus = desk
        .in_slot(slot)
        .count()
        .saturating_sub(limit.max(counted));
    let oldest: Vec<TaskId> = desk
        .in_slot(slot)
        .filter(|task| task.has_ended() && task.desired >= DesiredState::Shutdown)
        // It tells that its slot of a job's run is done.
        .filter(|task| !(task.slot.run().is_some() && job::has_completed(task)))
        .map(|task| task.id)
        .filter(|task| Some(*task) != kept)
        .take(surplus)
        .collect();
    for task in oldest {
        desk.delete(task);
    }
}
