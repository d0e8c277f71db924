//! Counting the failures of a rollout's new tasks, and what follows when there are too many.

use super::desk::Desk;
use super::{deadline, rollout};
use crate::spec::policy::RestartCondition;
use crate::spec::{FailureAction, TaskId, UpdatePolicy};
use crate::state::Task;
use crate::state::service::{Hold, Rollout, RolloutState};
use crate::state::task::TaskState;

/// Whether the rollout goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As it is, or paused.
    Go,
    /// The service is about to return to its previous spec.
    RollBack,
}

/// What was one too many.
#[derive(Debug)]
pub(super) struct Reason {
    hold: Hold,
    because: String,
}

/// Counts what failed since the last look and acts by the policy's failure action. While somebody
/// has paused it, failures are counted all the same; what follows, follows when it goes on.
pub(super) fn count_failures(desk: &mut Desk<'_>) -> Judgement {
    let Some(mut rollout) = desk
        .rollout
        .clone()
        .filter(|it| it.state.is_active() || it.hold == Some(Hold::User))
    else {
        return Judgement::Go;
    };
    let policy = rollout::policy(desk);
    let ended = count_ended(desk, &mut rollout, &policy);
    let overdue = deadline::count_overdue(desk, &mut rollout, &policy);
    let reason = ended.or(overdue);
    let has_failed = rollout.failures > 0;
    if !has_failed || !rollout.state.is_active() || !too_many(&rollout, &policy) {
        desk.rollout = Some(rollout);
        return Judgement::Go;
    }
    let reason = reason.unwrap_or_else(|| Reason {
        hold: Hold::Failure(None),
        because: format!(
            "because {} of {} tasks failed",
            rollout.failures, rollout.slots
        ),
    });
    act(desk, rollout, &policy, reason)
}

fn act(
    desk: &mut Desk<'_>,
    mut rollout: Rollout,
    policy: &UpdatePolicy,
    reason: Reason,
) -> Judgement {
    let (because, noun) = (reason.because, rollout.noun());
    // There is nothing to return to from a restart: the spec stayed what it was.
    let updating = rollout.state == RolloutState::Updating && !rollout.restart;
    match policy.failure_action {
        FailureAction::Rollback if updating => {
            desk.roll_back(format!("update rolled back {because}"));
            return Judgement::RollBack;
        }
        FailureAction::Pause | FailureAction::Rollback => {
            rollout.state = if rollout.state.is_rollback() {
                RolloutState::RollbackPaused
            } else {
                RolloutState::Paused
            };
            rollout.message = format!("{noun} paused {because}");
            rollout.hold = Some(reason.hold);
        }
        FailureAction::Continue => {}
    }
    desk.rollout = Some(rollout);
    Judgement::Go
}

fn too_many(rollout: &Rollout, policy: &UpdatePolicy) -> bool {
    // Ratios are shares of slots; their precision is not the point.
    let ratio = rollout.failures as f64 / rollout.slots.max(1) as f64;
    ratio > f64::from(policy.max_failure_ratio)
}

/// Counts the new tasks that ended.
fn count_ended(desk: &Desk<'_>, rollout: &mut Rollout, policy: &UpdatePolicy) -> Option<Reason> {
    let mut failed: Vec<_> = desk
        .tasks()
        .filter(|task| is_failure(desk, task, rollout, policy))
        .map(|task| (task.status.applied_at, task.id))
        .collect();
    failed.sort();
    let (latest, task) = failed.last().copied()?;
    rollout.failures += failed.len() as u64;
    rollout.counted_until = latest;
    Some(Reason::failure(task))
}

impl Reason {
    fn failure(task: TaskId) -> Self {
        Self {
            hold: Hold::Failure(Some(task)),
            because: format!("due to failure or early termination of task {task}"),
        }
    }

    pub(super) fn deadline(task: TaskId, because: String) -> Self {
        Self {
            hold: Hold::Deadline(task),
            because,
        }
    }
}

/// Whether a task is the first attempt of the rollout's own spec in its slot, and ended, unasked,
/// before it had run for the monitor time. Later attempts say nothing new of the spec, and neither
/// does a slot that was given up already.
fn is_failure(desk: &Desk<'_>, task: &Task, rollout: &Rollout, policy: &UpdatePolicy) -> bool {
    let of_rollout = task.spec_version == rollout.target
        && task.meta.created_at > rollout.started_at
        && task.restarts.count == 0
        && !rollout.overdue.contains(&task.slot);
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
