//! New tasks that do not come to run: after the progress deadline their slots count as failed, so
//! that no rollout waits for ever.

use super::desk::Desk;
use super::judge::Reason;
use super::{flight, rollout};
use crate::spec::{Nanos, Timestamp, UpdatePolicy};
use crate::state::Task;
use crate::state::service::Rollout;
use crate::state::task::TaskState;

/// Counts the slots whose time is over since the last look, and remembers them: they are not in
/// flight any more. A rollout that does not go on has no deadline.
pub(super) fn count_overdue(
    desk: &mut Desk<'_>,
    record: &mut Rollout,
    policy: &UpdatePolicy,
) -> Option<Reason> {
    let allowed = policy.progress_deadline?;
    if !record.state.is_active() {
        return None;
    }
    let waited_for: Vec<_> = desk
        .tasks()
        .filter(|task| task.is_wanted() && flight::is_in_flight(task))
        // What an earlier rollout made and this one has not come to holds nothing up.
        .filter(|task| desk.is_clean(task) || !rollout::is_open(desk, task.slot))
        .filter(|task| !record.overdue.contains(&task.slot))
        .map(|task| (task.slot, ends_at(task, record, allowed), task.clone()))
        .collect();
    let mut reason = None;
    for (slot, ends_at, task) in waited_for {
        if ends_at > desk.now {
            desk.wake(ends_at);
        } else if record.overdue.insert(slot) {
            record.failures += 1;
            let because = format!(
                "because task {} did not run within {allowed}: {}",
                task.id,
                lacks(desk, &task)
            );
            reason = Some(Reason::deadline(task.id, because));
        }
    }
    reason
}

/// A task that an earlier rollout made has its whole time again.
fn ends_at(task: &Task, rollout: &Rollout, allowed: Nanos) -> Timestamp {
    let since = flight::taken_at(task)
        .max(rollout.started_at)
        .max(rollout.resumed_at.unwrap_or(rollout.started_at));
    since + allowed
}

/// What a task waits for.
fn lacks(desk: &Desk<'_>, task: &Task) -> String {
    if let Some(waiting) = &task.waiting {
        return waiting.to_string();
    }
    let err = &task.status.err;
    // Its node knows better.
    if !err.is_empty() && (TaskState::Preparing..=TaskState::Starting).contains(&task.status.state)
    {
        return err.to_string();
    }
    let has_check = desk
        .spec_of(task)
        .task_template
        .container_spec
        .healthcheck
        .is_some();
    let what = match task.status.state {
        TaskState::New | TaskState::Pending => "waiting for a node",
        TaskState::Assigned | TaskState::Accepted => "waiting for its node to take it up",
        TaskState::Preparing => "still pulling its image or joining its networks",
        TaskState::Ready => "waiting to be started",
        TaskState::Starting if has_check => "its health check has not passed",
        _ => "it has not come up",
    };
    let detail = if err.is_empty() {
        String::new()
    } else {
        format!(" ({err})")
    };
    format!("{what}{detail}")
}
