//! What must hold of jobs, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use swarmr::spec::schedule::Concurrency;
use swarmr::spec::{Mode, Nanos, Schedule, ServiceId, TaskId, Timestamp};
use swarmr::state::job::{Cause, Outcome};
use swarmr::state::task::{DesiredState, Slot, TaskState};
use swarmr::state::{Job, Service, Task};

use super::world::World;

/// How long a run waits at most for the tasks of those that it replaced.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// Follows the runs of all jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Which run each due time had.
    runs: BTreeMap<(ServiceId, Timestamp), u64>,
    /// Slots of runs in which a task has completed: none is ever tried again.
    done: BTreeSet<(ServiceId, Slot)>,
    /// Tasks on nodes that were silent, or that the managers have given up.
    exempt: BTreeSet<TaskId>,
}

impl Jobs {
    pub(super) fn check(&mut self, world: &World) {
        for task in world.state.tasks() {
            let node = task.node.and_then(|node| world.state.node(node));
            if task.has_ended() || node.is_none_or(|node| node.is_down()) {
                self.exempt.insert(task.id);
            }
        }
        for service in world.state.services() {
            let Some(job) = &service.job else { continue };
            self.one_run_for_each_time(service.id, job);
            self.nothing_is_done_twice(world, service);
            records_are_bounded(service, job);
            runs_side_by_side(service, job);
            no_more_at_once_than_allowed(world, service);
            self.stopped_runs_end_first(world, service, job);
        }
    }

    fn one_run_for_each_time(&mut self, service: ServiceId, job: &Job) {
        for run in job.runs() {
            if let Cause::Due(at) = run.cause {
                let number = *self.runs.entry((service, at)).or_insert(run.number);
                assert_eq!(number, run.number, "{at} had two runs");
                assert!(at <= run.started_at, "run {number} began before its time");
            }
        }
    }

    fn nothing_is_done_twice(&mut self, world: &World, service: &Service) {
        if let Mode::ReplicatedJob(job) = &service.spec.mode {
            // Beyond the total, even if it is there again the next time.
            let total = job.total_completions();
            let given_up = |slot: &Slot| slot.number().is_some_and(|number| number >= total);
            self.done
                .retain(|(id, slot)| *id != service.id || !given_up(slot));
        }
        for task in world.state.tasks_of(service.id) {
            // A slot that was given up, as when a job is scaled down, begins anew.
            if task.desired == DesiredState::Remove {
                self.done.remove(&(service.id, task.slot));
            }
        }
        for task in world.state.tasks_of(service.id) {
            if task.status.state == TaskState::Complete && task.desired != DesiredState::Remove {
                self.done.insert((service.id, task.slot));
            }
        }
        for task in living(world, service) {
            let again = self.done.contains(&(service.id, task.slot));
            assert!(!again, "done already: {task:#?}");
        }
    }

    /// Containers of two runs are never there together unless the schedule allows it.
    fn stopped_runs_end_first(&self, world: &World, service: &Service, job: &Job) {
        let schedule = service.spec.schedule();
        if schedule.is_some_and(|schedule| schedule.concurrency == Concurrency::Allow) {
            return;
        }
        let mut running: BTreeSet<u64> = BTreeSet::new();
        for task in world.state.tasks_of(service.id) {
            let counts = world.agents.runs(task.id) && !self.exempt.contains(&task.id);
            running.extend(task.slot.run().filter(|_| counts));
        }
        let newest = job.run(job.iteration);
        let patient = newest.is_none_or(|run| world.now - run.started_at < PATIENCE);
        assert!(running.len() <= 1 || !patient, "runs {running:?} at once");
    }
}

fn living<'a>(world: &'a World, service: &Service) -> impl Iterator<Item = &'a Task> {
    world
        .state
        .tasks_of(service.id)
        .map(|task| task.as_ref())
        .filter(|task| task.is_wanted() && !task.has_ended())
}

fn records_are_bounded(service: &Service, job: &Job) {
    let kept = service
        .spec
        .schedule()
        .map_or(Schedule::HISTORY_RUNS, Schedule::history_runs);
    let live = job.live_runs().count() as u64;
    let count = job.records.len() as u64;
    let most = kept.max(1) + live;
    assert!(count <= most, "{count} records, {kept} kept, {live} live");
}

fn runs_side_by_side(service: &Service, job: &Job) {
    let live: Vec<u64> = job.live_runs().map(|run| run.number).collect();
    let schedule = service.spec.schedule();
    let most = match schedule.map(|schedule| schedule.concurrency) {
        Some(Concurrency::Allow) => 10,
        Some(Concurrency::Forbid | Concurrency::Replace) | None => 1,
    };
    assert!(live.len() <= most, "runs {live:?} go on at once");
}

/// No random event changes how many tasks may run at once, so what was made under it must keep it.
fn no_more_at_once_than_allowed(world: &World, service: &Service) {
    let Mode::ReplicatedJob(job) = &service.spec.mode else {
        return;
    };
    let mut slots: BTreeMap<u64, BTreeSet<Slot>> = BTreeMap::new();
    for task in living(world, service) {
        let run = task.slot.run().expect("a job's tasks belong to runs");
        slots.entry(run).or_default().insert(task.slot);
        let number = task.slot.number().expect("slots have numbers");
        assert!(
            number < job.total_completions(),
            "beyond the total: {task:#?}"
        );
    }
    for (run, slots) in slots {
        let count = slots.len() as u64;
        assert!(
            count <= job.max_concurrent(),
            "{count} at once in run {run}"
        );
    }
}

/// With everything well again: nothing is left of runs that are over, and each run that goes on
/// has as many tasks as it may.
pub(super) fn rest(world: &World, service: &Service) {
    let Some(job) = &service.job else { return };
    for task in living(world, service) {
        let run = task.slot.run().expect("a job's tasks belong to runs");
        assert!(job.is_live(run), "of a run that is over: {task:#?}");
    }
    for run in job.runs() {
        let slots_with = |wanted: &dyn Fn(&Task) -> bool| -> u64 {
            let tasks = world.state.tasks_of(service.id);
            let slots: BTreeSet<Slot> = tasks
                .filter(|task| task.slot.run() == Some(run.number) && wanted(task))
                .map(|task| task.slot)
                .collect();
            slots.len() as u64
        };
        let done = slots_with(&|task| {
            task.status.state == TaskState::Complete && task.desired != DesiredState::Remove
        });
        let live = slots_with(&|task| task.is_wanted() && !task.has_ended());
        if let Some(end) = &run.end {
            let standing = Some(run.number) == job.standing_run().map(|run| run.number);
            if standing {
                assert_eq!(end.completed, done, "{run:#?}");
            }
            assert_eq!(end.failed > 0, end.outcome == Outcome::Failed, "{run:#?}");
            continue;
        }
        assert!(live > 0, "goes on with nothing to do: {run:#?}");
        if let Mode::ReplicatedJob(mode) = &service.spec.mode {
            let left = mode.total_completions() - done;
            // Those that are given up are at most what is missing then.
            assert!(live <= left, "{live} of {left}");
        }
    }
}
