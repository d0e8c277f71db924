//! Jobs: tasks that are there to end. A run wants so many of them to complete, or one on each node;
//! it is started by the service's creation or update, by its schedule, or by its user.

mod due;
mod history;
mod run;

use super::board::Board;
use super::desk::Desk;
use super::wait::Wait;
use crate::spec::Nanos;
use crate::state::Task;
use crate::state::job::Run;
use crate::state::task::DesiredState;

/// How long a run's tasks wait at most for those of runs that were stopped.
const PATIENCE: Nanos = Nanos::from_secs(60);

pub(super) use history::forget;

/// Sees to the runs that go on, and starts those that are due.
pub(super) fn step(desk: &mut Desk<'_>, board: &mut Board<'_>) {
    settle_runs(desk, board);
    if due::start(desk) {
        settle_runs(desk, board);
    }
}

fn settle_runs(desk: &mut Desk<'_>, board: &mut Board<'_>) {
    stop_ended_runs(desk);
    let Some(job) = &desk.job else { return };
    let mut runs: Vec<Run> = job.live_runs().cloned().collect();
    // The newest run of a job without a schedule has ended only as long as nothing is left to do.
    runs.extend(job.standing_run().filter(|run| run.end.is_some()).cloned());
    for run in runs {
        let may_begin = may_begin(desk, &run);
        let end = run::settle(desk, board, &run, may_begin);
        let news = match (&run.end, &end) {
            (Some(before), Some(now)) => !run::same_end(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        if let Some(job) = desk.job.as_mut().filter(|_| news) {
            job.set_end(run.number, end);
        }
    }
}

/// Stops what still runs of runs that are over: a newer one took their place.
fn stop_ended_runs(desk: &mut Desk<'_>) {
    let Some(job) = &desk.job else { return };
    let standing = job.standing_run().map(|run| run.number);
    let leftovers: Vec<_> = desk
        .tasks()
        .filter(|task| task.is_wanted() && !has_completed(task))
        .filter_map(|task| {
            let run = task.slot.run()?;
            let over = !job.is_live(run) && Some(run) != standing;
            // A schedule's runs are remembered, and so is what they wrote.
            let kept = job.run(run).is_some_and(|run| !run.standing);
            let desired = if kept {
                DesiredState::Shutdown
            } else {
                DesiredState::Remove
            };
            over.then_some((task.id, desired))
        })
        .collect();
    for (task, desired) in leftovers {
        desk.set_desired(task, desired);
    }
}

pub(super) fn has_completed(task: &Task) -> bool {
    task.status.state == crate::state::task::TaskState::Complete
}

/// Whether tasks of a run may be made: not as long as those of runs that were stopped for it go on,
/// but for a minute at most.
fn may_begin(desk: &mut Desk<'_>, run: &Run) -> bool {
    let until = run.started_at + PATIENCE;
    if until <= desk.now {
        return true;
    }
    let stopping: Vec<_> = desk
        .tasks()
        .filter(|task| !task.is_wanted() && task.occupies_node() && !desk.is_lost(task))
        .filter(|task| {
            let number = task.slot.run();
            let job = desk.job.as_ref();
            number.is_some_and(|number| {
                number < run.number && job.is_some_and(|job| !job.is_live(number))
            })
        })
        .map(|task| task.id)
        .collect();
    if stopping.is_empty() {
        return true;
    }
    desk.wake(until);
    desk.wait(Wait::RunsStopping(stopping));
    false
}
