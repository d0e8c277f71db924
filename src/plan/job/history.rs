//! Forgetting the tasks of runs that are over.

use std::collections::BTreeSet;

use crate::plan::desk::Desk;
use crate::spec::TaskId;

/// Keeps the ended tasks of as many ended runs as the cluster keeps ended tasks of a slot. The
/// tasks of the run that a job without a schedule has are what tells that it is done.
pub(in crate::plan) fn forget(desk: &mut Desk<'_>) {
    let Some(job) = &desk.job else { return };
    let limit = desk
        .state
        .cluster()
        .and_then(|cluster| cluster.spec.task_history_limit())
        .unwrap_or(usize::MAX);
    let standing = job.standing_run().map(|run| run.number);
    let kept: BTreeSet<u64> = job
        .live_runs()
        .map(|run| run.number)
        .chain(standing)
        .chain(
            job.runs()
                .rev()
                .filter(|run| run.end.is_some() && Some(run.number) != standing)
                .map(|run| run.number)
                .take(limit),
        )
        .collect();
    let forgotten: Vec<TaskId> = desk
        .tasks()
        .filter(|task| task.has_ended())
        .filter(|task| task.slot.run().is_some_and(|run| !kept.contains(&run)))
        .map(|task| task.id)
        .collect();
    for task in forgotten {
        desk.delete(task);
    }
}
