//! Letting prepared tasks start: after the restart delay, once the task whose place they take has
//! stopped, and once the services are far enough that theirs depends on.

use super::depends;
use super::desk::Desk;
use crate::spec::{Nanos, Timestamp};
use crate::state::Task;
use crate::state::task::{CrashLoop, DesiredState, Waiting};

/// How long a task waits for another to stop at most.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// Characters of a task's error that others repeat.
const LONGEST_REASON: usize = 120;

/// Promotes the tasks whose gates are open; says of the others what they wait for.
pub(super) fn open(desk: &mut Desk<'_>) {
    let ready: Vec<_> = desk
        .tasks()
        .filter(|task| task.desired == DesiredState::Ready && !task.has_ended())
        .cloned()
        .collect();
    for task in ready {
        if task.is_unplaced() && former_may_return(desk, &task) {
            continue;
        }
        match closed(desk, &task) {
            None => desk.set_desired(task.id, DesiredState::Running),
            Some((waiting, until)) => {
                desk.hold(task.id, waiting);
                if let Some(until) = until {
                    desk.wake(until);
                }
            }
        }
    }
}

/// Whether a silent node may still run what this task takes the place of. As long as it has no node of
/// its own it starts nowhere, and that node may be back by the time that it has one.
fn former_may_return(desk: &Desk<'_>, task: &Task) -> bool {
    task.gate.after.is_some()
        && desk
            .in_slot(task.slot)
            .any(|other| other.id != task.id && other.occupies_node() && desk.is_lost(other))
}

/// What keeps a gate closed, and until when at the latest.
fn closed(desk: &Desk<'_>, task: &Task) -> Option<(Waiting, Option<Timestamp>)> {
    if let Some(start) = task.gate.not_before.filter(|start| *start > desk.now) {
        return Some((restart_delay(desk, task, start), Some(start)));
    }
    if let Some(predecessor) = predecessor(desk, task) {
        // A node that is back could not be told to stop it before.
        let since = task.meta.created_at.max(desk.node_since(predecessor));
        let until = since + PATIENCE;
        if until > desk.now {
            return Some((Waiting::Predecessor(predecessor.id), Some(until)));
        }
    }
    let unmet = Some(task)
        .filter(|task| task.gate.dependencies)
        .and_then(|_| depends::unmet(desk, false))?;
    Some((Waiting::Dependency(Box::new(unmet)), None))
}

fn restart_delay(desk: &Desk<'_>, task: &Task, until: Timestamp) -> Waiting {
    if task.restarts.streak < 2 {
        return Waiting::RestartDelay(until);
    }
    let last = desk
        .in_slot(task.slot)
        .rev()
        .find(|other| other.has_ended() && other.id != task.id)
        .map(|ended| &ended.status);
    let last = last.map_or_else(String::new, |status| {
        let text = if status.err.is_empty() {
            &status.message
        } else {
            &status.err
        };
        text.chars().take(LONGEST_REASON).collect()
    });
    Waiting::CrashLoop(Box::new(CrashLoop {
        until,
        restart: task.restarts.streak,
        last,
    }))
}

/// The oldest task of the slot that is still to stop. Not only the direct predecessor: that may
/// itself have waited for another.
fn predecessor<'a>(desk: &'a Desk<'_>, task: &Task) -> Option<&'a Task> {
    task.gate.after?;
    desk.in_slot(task.slot)
        .take_while(|other| other.id != task.id)
        .find(|other| !other.is_wanted() && !other.has_ended() && !desk.is_lost(other))
        .map(AsRef::as_ref)
}
