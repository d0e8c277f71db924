//! Start order: how far the services are that a service depends on.

use std::collections::BTreeSet;

use super::desk::Desk;
use crate::spec::Mode;
use crate::spec::extension::dependency::{Condition, Dependency};
use crate::state::dependency::{Standing, Unmet};
use crate::state::job::{Job, Outcome, completed_by_run};
use crate::state::task::{Slot, TaskState};
use crate::state::{Service, State, Task};

/// The first dependency that keeps tasks from starting; of those that concern updates alone, if
/// that is what is asked for.
pub(super) fn unmet(desk: &Desk<'_>, of_updates: bool) -> Option<Unmet> {
    let extension = desk.service.spec.swarmr.as_ref()?;
    extension
        .depends_on
        .iter()
        .filter(|dependency| dependency.on_update || !of_updates)
        .find_map(|dependency| lacks(desk.state, dependency, of_updates))
}

/// How far a dependency is; `None` once its condition holds.
fn lacks(state: &State, dependency: &Dependency, of_updates: bool) -> Option<Unmet> {
    let unmet = |standing| {
        Some(Unmet {
            service: dependency.service.clone(),
            condition: dependency.condition,
            standing,
        })
    };
    let Some(service) = state.find_service_named(&dependency.service) else {
        // What runs already goes on without it.
        return if of_updates {
            None
        } else {
            unmet(Standing::Missing)
        };
    };
    let rolls = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_active());
    if of_updates && rolls {
        return unmet(Standing::Updating);
    }
    match progress(state, service, dependency.condition) {
        (reached, wanted) if reached >= wanted => None,
        (reached, wanted) => unmet(Standing::Tasks { reached, wanted }),
    }
}

/// How many slots of a service are as far as the condition asks, and how many there are to be.
fn progress(state: &State, service: &Service, condition: Condition) -> (u64, u64) {
    if let (Some(job), Condition::Completed) = (&service.job, condition) {
        return job_progress(state, service, job);
    }
    let reached: BTreeSet<Slot> = state
        .tasks_of(service.id)
        .filter(|task| holds(task, condition))
        .map(|task| task.slot)
        .collect();
    let reached = reached.len() as u64;
    let wanted = match &service.spec.mode {
        Mode::Replicated(_) => service.spec.replicas().unwrap_or(1),
        Mode::ReplicatedJob(job) => job.total_completions.unwrap_or(1),
        Mode::Global(_) | Mode::GlobalJob(_) => {
            let slots: BTreeSet<Slot> = state
                .tasks_of(service.id)
                .filter(|task| task.is_wanted() || holds(task, condition))
                .map(|task| task.slot)
                .collect();
            // Before it has any task nothing can be said of it.
            (slots.len() as u64).max(1)
        }
    };
    (reached, wanted)
}

/// How far the newest run of a job is.
fn job_progress(state: &State, service: &Service, job: &Job) -> (u64, u64) {
    let completed = completed_by_run(state.tasks_of(service.id));
    let reached = completed.get(&job.iteration).copied().unwrap_or(0);
    let end = job.run(job.iteration).and_then(|run| run.end.as_ref());
    if let Some(end) = end.filter(|end| end.outcome == Outcome::Completed) {
        return (end.completed, end.completed);
    }
    let total = match &service.spec.mode {
        Mode::ReplicatedJob(job) => job.total_completions.unwrap_or(1),
        _ => 1,
    };
    // Not all of it, as long as the run has not ended well.
    (reached, total.max(reached + 1))
}

fn holds(task: &Task, condition: Condition) -> bool {
    let state = task.status.state;
    match condition {
        Condition::Started => task.is_wanted() && has_begun(task),
        Condition::Healthy => task.is_wanted() && state == TaskState::Running,
        Condition::Completed => state == TaskState::Complete,
    }
}

/// Whether its container was started. A task is said to be starting before its engine is asked, and
/// that may take long or fail; a process is proof.
fn has_begun(task: &Task) -> bool {
    let status = &task.status;
    match status.state {
        TaskState::Starting => status.container.as_ref().is_some_and(|it| it.pid > 0),
        state => (TaskState::Running..=TaskState::Complete).contains(&state),
    }
}
