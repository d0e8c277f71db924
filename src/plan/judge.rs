//! Counting the failures of a rollout's new tasks, and what follows when there are too many.

use super::desk::Desk;
use crate::spec::policy::RestartCondition;
use crate::spec::{FailureAction, UpdatePolicy};
use crate::state::Task;
use crate::state::service::{Rollout, RolloutState};
use crate::state::task::TaskState;

/// Whether the rollout goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As it is, or paused.
    Go,
    /// The service is about to return to its previous spec.
    RollBack,
}

/// Counts what failed since the last look and acts by the policy's failure action.
pub(super) fn count_failures(desk: &mut Desk<'_>) -> Judgement {
    let Some(mut rollout) = desk
        .rollout
        .clone()
        .filter(|rollout| rollout.state.is_active())
    else {
        return Judgement::Go;
    };
    let policy = super::rollout::policy(desk);
    let mut failed: Vec<_> = desk
        .tasks()
        .filter(|task| is_failure(desk, task, &rollout, &policy))
        .map(|task| (task.status.applied_at, task.id))
        .collect();
    failed.sort();
    let Some((latest, task)) = failed.last().copied() else {
        return Judgement::Go;
    };
    rollout.failures += failed.len() as u64;
    rollout.counted_until = latest;
    // Ratios are shares of slots; their precision is not the point.
    let ratio = rollout.failures as f64 / rollout.slots.max(1) as f64;
    let too_many = ratio > f64::from(policy.max_failure_ratio);
    let updating = rollout.state == RolloutState::Updating;
    let what = if updating { "update" } else { "rollback" };
    let because = format!("due to failure or early termination of task {task}");
    match policy.failure_action {
        FailureAction::Rollback if too_many && updating => {
            desk.roll_back(format!("update rolled back {because}"));
            return Judgement::RollBack;
        }
        FailureAction::Pause | FailureAction::Rollback if too_many => {
            rollout.state = if updating {
                RolloutState::Paused
            } else {
                RolloutState::RollbackPaused
            };
            rollout.message = format!("{what} paused {because}");
        }
        FailureAction::Pause | FailureAction::Rollback | FailureAction::Continue => {}
    }
    desk.rollout = Some(rollout);
    Judgement::Go
}

/// Whether a task is the first attempt of the rollout's own spec in its slot, and ended, unasked,
/// before it had run for the monitor time. Later attempts say nothing new of the spec.
fn is_failure(desk: &Desk<'_>, task: &Task, rollout: &Rollout, policy: &UpdatePolicy) -> bool {
    let of_rollout = task.spec_version == rollout.target
        && task.meta.created_at > rollout.started_at
        && task.restarts.count == 0;
    let uncounted = task.status.applied_at > rollout.counted_until;
    let early = task
        .running_since
        .is_none_or(|since| task.status.applied_at - since <= policy.monitor);
    of_rollout && uncounted && early && task.is_wanted() && ended_badly(desk, task)
}

fn ended_badly(desk: &Desk<'_>, task: &Task) -> bool {
    match task.status.state {
        TaskState::Failed | TaskState::Rejected => true,
        // The end is as good as any where the policy does not restart it.
        TaskState::Complete => desk.restart_policy_of(task).condition() == RestartCondition::Any,
        _ => false,
    }
}
