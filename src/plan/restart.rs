//! What becomes of a slot whose task has ended or lost its node: another attempt, now or after a
//! delay, or none.

use std::sync::Arc;

use super::desk::{Desk, Successor};
use crate::spec::policy::RestartCondition;
use crate::spec::{Availability, Nanos, RestartPolicy, Timestamp};
use crate::state::Task;
use crate::state::task::{DesiredState, Gate, Restarts, Slot, TaskState};

/// Gives ended and lost tasks of these slots their successors.
pub(super) fn repair(desk: &mut Desk<'_>, slots: &[Slot]) {
    for slot in slots {
        repair_slot(desk, *slot);
    }
}

fn repair_slot(desk: &mut Desk<'_>, slot: Slot) {
    let wanted = desk.wanted(slot);
    for task in &wanted {
        let ended = task.has_ended();
        let loss = loss(desk, task).filter(|_| !ended);
        if !ended && loss.is_none() {
            continue;
        }
        let again = match loss {
            Some(_) => moves(task, &desk.restart_policy_of(task)),
            None => allows_another(task, &desk.restart_policy_of(task)),
        };
        if !again || has_stand_in(desk, &wanted, task) {
            desk.set_desired(task.id, DesiredState::Shutdown);
            continue;
        }
        let successor = match loss {
            Some(loss) => moved(desk, task, loss),
            None => restarted(desk, task),
        };
        desk.replace(task, DesiredState::Shutdown, successor);
    }
}

/// Whether a slot has neither a task nor one that ended for good, so that a new one is due.
pub(super) fn is_vacant(desk: &Desk<'_>, slot: Slot) -> bool {
    desk.in_slot(slot).all(|task| !task.is_wanted()) && !is_finished(desk, slot)
}

/// Whether a slot's last task ended, and by the restart policy there is not to be another.
pub(super) fn is_finished(desk: &Desk<'_>, slot: Slot) -> bool {
    desk.in_slot(slot).next_back().is_some_and(|newest| {
        let policy = desk.restart_policy_of(newest);
        newest.desired == DesiredState::Shutdown
            && if newest.has_ended() {
                !allows_another(newest, &policy)
            } else {
                !moves(newest, &policy)
            }
    })
}

/// A new task for a vacant slot. It waits for what still stops there, unless the slot itself was
/// given up.
pub(super) fn fill(desk: &mut Desk<'_>, slot: Slot) {
    let newest = desk.in_slot(slot).next_back();
    let spec_version = newest.map_or(desk.service.spec_version, |newest| {
        desk.successor_version(newest)
    });
    let stopping = desk.in_slot(slot).rev().find(|task| {
        !task.has_ended() && task.desired == DesiredState::Shutdown && !desk.is_lost(task)
    });
    let gate = Gate {
        not_before: None,
        after: stopping.map(|task| task.id),
    };
    desk.create(slot, spec_version, gate);
}

/// How a running task lost its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The node is gone or silent: there is nothing to wait for.
    Node,
    /// The node is being drained: the task stops in good order.
    Drain,
}

/// A global service's tasks do not move, so they are not lost in this sense.
fn loss(desk: &Desk<'_>, task: &Task) -> Option<Loss> {
    let (Slot::Replica(_), Some(node)) = (task.slot, task.node) else {
        return None;
    };
    match desk.state.node(node) {
        None => Some(Loss::Node),
        Some(node) if node.is_down() => Some(Loss::Node),
        Some(node) if node.spec.availability == Availability::Drain => Some(Loss::Drain),
        Some(_) => None,
    }
}

/// Whether another task of the slot makes a successor needless: one of the wanted spec, or any if
/// this one is not of it. While a rollout is paused, what still serves is enough.
fn has_stand_in(desk: &Desk<'_>, wanted: &[Arc<Task>], task: &Task) -> bool {
    let paused = desk
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_paused());
    let clean = desk.is_clean(task);
    wanted
        .iter()
        .filter(|other| other.id != task.id && !other.has_ended())
        .filter(|other| loss(desk, other).is_none())
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
    let counts = matches!(
        status.state,
        TaskState::Complete | TaskState::Failed | TaskState::Rejected
    );
    let Some(limit) = policy.max_attempts().filter(|_| counts) else {
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
    let not_before = Some(ended_at + policy.delay()).filter(|start| *start > desk.now);
    // The task that this one waited for may still be there.
    let after = task.gate.after.filter(|after| still_there(desk, *after));
    let restarts = if spec_version == task.spec_version {
        counted(&task.restarts, ended_at, &policy)
    } else {
        Restarts::default()
    };
    successor(spec_version, Gate { not_before, after }, restarts)
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
    }
}

/// The same attempt on another node: it is nobody's failure, so nothing is counted and no delay
/// applies. What waited for another task's place goes on waiting for it.
fn moved(desk: &Desk<'_>, task: &Task, loss: Loss) -> Successor {
    let spec_version = desk.successor_version(task);
    let restarts = if spec_version == task.spec_version {
        task.restarts.clone()
    } else {
        Restarts::default()
    };
    let after = match loss {
        Loss::Drain => Some(task.id),
        Loss::Node => task.gate.after.filter(|_| task.running_since.is_none()),
    };
    let not_before = task.gate.not_before.filter(|start| *start > desk.now);
    successor(spec_version, Gate { not_before, after }, restarts)
}

fn successor(spec_version: u64, gate: Gate, restarts: Restarts) -> Successor {
    let desired = if gate == Gate::default() {
        DesiredState::Running
    } else {
        DesiredState::Ready
    };
    Successor {
        spec_version,
        desired,
        gate,
        restarts,
    }
}

fn still_there(desk: &Desk<'_>, id: crate::spec::TaskId) -> bool {
    desk.task(id)
        .is_some_and(|task| !task.is_wanted() && !task.has_ended() && !desk.is_lost(task))
}
