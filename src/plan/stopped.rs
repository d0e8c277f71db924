//! Services that somebody stopped: no task, and everything else as it was.

use super::desk::Desk;
use super::reap;
use super::wait::Wait;
use crate::state::service::Rollout;
use crate::state::task::DesiredState;

/// Stops what is left. The slots stay, and a rollout waits: once the service is started, both go
/// on from where they were.
pub(super) fn settle(desk: &mut Desk<'_>) {
    let wanted: Vec<_> = desk
        .tasks()
        .filter(|task| task.is_wanted())
        .map(|task| task.id)
        .collect();
    for task in wanted {
        desk.set_desired(task, DesiredState::Shutdown);
    }
    if desk.rollout.as_ref().is_some_and(Rollout::is_unfinished) {
        desk.wait(Wait::Stopped);
    }
    reap::forget(desk);
}
