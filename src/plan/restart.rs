//! What becomes of a slot whose task has ended or lost its node: another attempt, now or after a
//! delay, or none.

use std::sync::Arc;

use super::desk::{Desk, Successor};
use super::flight;
use crate::spec::policy::RestartCondition;
use crate::spec::{Nanos, RestartPolicy, TaskId, Timestamp};
use crate::state::Task;
use crate::state::rare::Rare;
use crate::state::task::{DesiredState, Gate, Restarts, Slot, TaskState};

/// Gives ended and lost tasks of these slots their successors.
pub(super) fn repair(desk: &mut Desk<'_>, slots: &[Slot]) {
    for slot in desk.restless(slots) {
        repair_slot(desk, slot);
    }
}

fn repair_slot(desk: &mut Desk<'_>, slot: Slot) {
    let wanted = desk.wanted(slot);
    let heir = heir(desk, &wanted);
    for task in &wanted {
        let successor = if task.has_ended() {
            restarted(desk, task)
        } else if has_lost_node(desk, task) {
            moved(desk, task)
        } else {
            continue;
        };
        if heir == Some(task.id) && !has_stand_in(desk, &wanted, task) {
            desk.replace(task, DesiredState::Shutdown, successor);
        } else {
            desk.set_desired(task.id, DesiredState::Shutdown);
        }
    }
}

/// Which of a slot's tasks that have ended or lost their nodes has a successor: of those whose policy
/// allows it the newest, or, while a rollout is paused, what was there before it.
fn heir(desk: &Desk<'_>, wanted: &[Arc<Task>]) -> Option<TaskId> {
    let mut due = wanted.iter().filter(|task| {
        let policy = desk.restart_policy_of(task);
        if task.has_ended() {
            allows_another(task, &policy)
        } else {
            has_lost_node(desk, task) && moves(task, &policy)
        }
    });
    let newest = due.clone().next_back()?;
    let former = due.find(|task| is_paused(desk) && !desk.is_clean(task));
    Some(former.unwrap_or(newest).id)
}

fn is_paused(desk: &Desk<'_>) -> bool {
    let rollout = desk.rollout.as_ref();
    rollout.is_some_and(|rollout| rollout.state.is_paused())
}

/// Whether a slot has neither a task nor one that ended for good, so that a new one is due.
pub(super) fn is_vacant(desk: &Desk<'_>, slot: Slot) -> bool {
    desk.in_slot(slot).all(|task| !task.is_wanted()) && !is_finished(desk, slot)
}

/// Whether a slot's last task ended, and by the restart policy there is not to be another.
pub(super) fn is_finished(desk: &Desk<'_>, slot: Slot) -> bool {
    desk.in_slot(slot).next_back().is_some_and(|newest| {
        let policy = desk.restart_policy_of(newest);
        let stopped_since = desk
            .service
            .started_at
            .is_some_and(|started_at| newest.meta.created_at < started_at);
        newest.desired == DesiredState::Shutdown
            && !stopped_since
            && if newest.has_ended() {
                !allows_another(newest, &policy)
            } else {
                !moves(newest, &policy)
            }
    })
}

/// A new task for a vacant slot. It waits for what still stops there, unless the slot itself was
/// given up. A slot that never had one gets that version.
pub(super) fn fill(desk: &mut Desk<'_>, slot: Slot, newcomer_version: u64) {
    let newest = desk.in_slot(slot).next_back();
    let spec_version = newest.map_or(newcomer_version, |newest| desk.successor_version(newest));
    let after = newest.and_then(|newest| desk.still_stopping(newest));
    let gate = Gate {
        not_before: None,
        after,
        dependencies: false,
    };
    desk.create(slot, spec_version, gate);
}

/// Whether a task cannot stay on its node for another moment: that is gone or silent, or the time is
/// over that it had to leave. A global service's tasks do not move, so they are not lost in this
/// sense.
pub(super) fn has_lost_node(desk: &Desk<'_>, task: &Task) -> bool {
    let (None, Some(node)) = (task.slot.node(), task.node) else {
        return false;
    };
    desk.state
        .node(node)
        .is_none_or(|node| !node.keeps_tasks(desk.now))
}

/// Whether another task of the slot makes a successor needless: one of the wanted spec, or any if
/// this one is not of it. While a rollout is paused, what still serves is enough.
fn has_stand_in(desk: &Desk<'_>, wanted: &[Arc<Task>], task: &Task) -> bool {
    let paused = is_paused(desk);
    let clean = desk.is_clean(task);
    wanted
        .iter()
        .filter(|other| other.id != task.id && !other.has_ended())
        .filter(|other| !has_lost_node(desk, other))
        .any(|other| paused || !clean || desk.is_clean(other))
}

/// Whether a task that lost its node goes on elsewhere. One that must not be restarted and has run
/// does not.
fn moves(task: &Task, policy: &RestartPolicy) -> bool {
    policy.condition() != RestartCondition::None || task.status.state < TaskState::Starting
}

/// Whether the restart policy allows an ended task another attempt. Depends on the task alone and
/// not on the time, so that the answer stays what it was.
fn allows_another(task: &Task, policy: &RestartPolicy) -> bool {
    let status = &task.status;
    match policy.condition() {
        // Nothing was attempted where there was no node.
        RestartCondition::None => return task.node.is_none(),
        RestartCondition::OnFailure if status.state == TaskState::Complete => return false,
        RestartCondition::OnFailure | RestartCondition::Any => {}
    }
    let counted = |_: &u64| task.ended_by_itself();
    let Some(limit) = policy.max_attempts().filter(counted) else {
        return true;
    };
    match policy.window() {
        None => task.restarts.count < limit,
        Some(window) => {
            let recent = recent(&task.restarts, status.applied_at, window).count();
            u64::try_from(recent).unwrap_or(u64::MAX) < limit
        }
    }
}

fn recent(
    restarts: &Restarts,
    at: Timestamp,
    window: Nanos,
) -> impl Iterator<Item = Timestamp> + '_ {
    restarts
        .recent
        .iter()
        .copied()
        .filter(move |restart| at - *restart < window)
}

/// Another attempt after the delay of the restart policy.
fn restarted(desk: &Desk<'_>, task: &Task) -> Successor {
    let policy = desk.restart_policy_of(task);
    let ended_at = task.status.applied_at;
    let spec_version = desk.successor_version(task);
    let backoff = desk.spec_of(task).backoff();
    let was_well = task
        .running_since
        .is_some_and(|since| backoff.resets_after(ended_at - since));
    let streak = if was_well { 0 } else { task.restarts.streak };
    let not_before = Some(ended_at + backoff.delay(streak)).filter(|start| *start > desk.now);
    let restarts = if keeps_count(desk, task, spec_version) {
        Rare::from(Restarts {
            streak: streak + 1,
            ..counted(&task.restarts, ended_at, &policy)
        })
    } else {
        Rare::default()
    };
    Successor {
        spec_version,
        gate: Gate {
            not_before,
            after: desk.still_stopping(task),
            dependencies: task.waits_for_dependencies(),
        },
        in_rollout: false,
        in_move: false,
        taken_at: None,
        restarts,
    }
}

/// Attempts count for the same spec only; one that means the same is the same.
fn keeps_count(desk: &Desk<'_>, task: &Task, spec_version: u64) -> bool {
    spec_version == task.spec_version || desk.is_clean(task)
}

fn counted(restarts: &Restarts, at: Timestamp, policy: &RestartPolicy) -> Restarts {
    let recent = match (policy.max_attempts(), policy.window()) {
        (Some(_), Some(window)) => recent(restarts, at, window)
            .chain(std::iter::once(at))
            .collect(),
        _ => Vec::new(),
    };
    Restarts {
        count: restarts.count + 1,
        recent,
        streak: restarts.streak,
    }
}

/// The same attempt on another node: it is nobody's failure, so nothing is counted and no delay
/// applies, and what was in flight still is.
pub(super) fn moved(desk: &Desk<'_>, task: &Task) -> Successor {
    let spec_version = desk.successor_version(task);
    let restarts = if keeps_count(desk, task, spec_version) {
        task.restarts.clone()
    } else {
        Rare::default()
    };
    Successor {
        spec_version,
        gate: Gate {
            not_before: task.gate.not_before.filter(|start| *start > desk.now),
            // A node that is back in time stops the former one first.
            after: desk.still_stopping(task).or(Some(task.id)),
            dependencies: task.waits_for_dependencies(),
        },
        in_rollout: task.in_rollout && task.running_since.is_none(),
        in_move: task.in_move && task.running_since.is_none(),
        taken_at: Some(flight::taken_at(task)).filter(|_| task.in_rollout || task.in_move),
        restarts,
    }
}
