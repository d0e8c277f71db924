//! What a job has done: its runs, and the times at which it did not run. Pure data and its rules;
//! commands and the planner both change it by these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Task;
use super::task::{Slot, TaskState};
use crate::spec::{RequestId, Schedule, ServiceSpec, Timestamp};

/// A job's memory. All of it is here, so that a new leader starts nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Job {
    /// Counted up with each write: what was decided upon an older one is not taken.
    pub revision: u64,
    /// The number of the newest run: Docker's `JobIteration`.
    pub iteration: u64,
    /// When that run started: Docker's `LastExecution`.
    pub last_started_at: Option<Timestamp>,
    /// Times of the schedule up to here have had their run, or will have none.
    pub decided_until: Timestamp,
    /// Oldest first, as many as are to be remembered.
    pub records: Vec<Record>,
    /// The newest request for a run: when it comes again, it is the same one.
    pub last_request: Option<RequestId>,
}

/// One thing to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Run(Run),
    Omission(Omission),
}

/// One run of a job: Docker's "iteration".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub number: u64,
    pub cause: Cause,
    pub started_at: Timestamp,
    /// The spec that its tasks run.
    pub spec_version: u64,
    /// Of a job without a schedule: it goes on when there is more to do, be it for a node that
    /// comes later or because the job was scaled.
    pub standing: bool,
    /// `None` while it goes on.
    pub end: Option<End>,
}

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Created,
    Updated,
    /// Its time came, which was then.
    Due(Timestamp),
    Requested(RequestId),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub outcome: Outcome,
    /// Tasks that completed.
    pub completed: u64,
    /// Slots that are given up: by the restart policy there is no further attempt.
    pub failed: u64,
    /// How one of them failed; empty when none did.
    pub err: String,
    pub exit_code: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Completed,
    Failed,
    /// Stopped, for a newer run took its place.
    Replaced,
}

/// Times of the schedule that passed without a run, one after the other for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub why: Why,
}

/// Why a time passed without a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// That run went on, and two are not to.
    Overlap { run: u64 },
    /// As many runs as can be went on.
    TooMany { runs: u64 },
    /// No manager led until it was too late.
    Missed,
}

impl Job {
    /// The memory of a job that has just been made. Without a schedule it runs at once.
    pub(super) fn created(spec: &ServiceSpec, spec_version: u64, at: Timestamp) -> Option<Self> {
        spec.mode.is_job().then_some(())?;
        let mut job = Self {
            decided_until: at,
            ..Self::default()
        };
        if spec.schedule().is_none() {
            job.last_started_at = Some(at);
            job.records.push(Record::Run(Run {
                number: 0,
                cause: Cause::Created,
                started_at: at,
                spec_version,
                standing: true,
                end: None,
            }));
        }
        Some(job)
    }

    /// The runs that are remembered, oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.records.iter().filter_map(|record| match record {
            Record::Run(run) => Some(run),
            Record::Omission(_) => None,
        })
    }

    /// The runs that go on, oldest first.
    pub fn live_runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs().filter(|run| run.end.is_none())
    }

    pub fn run(&self, number: u64) -> Option<&Run> {
        self.runs().find(|run| run.number == number)
    }

    /// Whether a run goes on.
    pub fn is_live(&self, number: u64) -> bool {
        self.run(number).is_some_and(|run| run.end.is_none())
    }

    /// The run that begins again when there is more to do: the newest of a job without a schedule.
    pub fn standing_run(&self) -> Option<&Run> {
        self.run(self.iteration).filter(|run| run.standing)
    }

    /// Starts a run; its number.
    pub fn start(&mut self, cause: Cause, spec_version: u64, standing: bool, at: Timestamp) -> u64 {
        self.iteration += 1;
        self.last_started_at = Some(at);
        if let Cause::Requested(request) = cause {
            self.last_request = Some(request);
        }
        self.records.push(Record::Run(Run {
            number: self.iteration,
            cause,
            started_at: at,
            spec_version,
            standing,
            end: None,
        }));
        self.iteration
    }

    /// Says how a run ended, or that it goes on again.
    pub fn set_end(&mut self, number: u64, end: Option<End>) {
        for record in &mut self.records {
            if let Record::Run(run) = record
                && run.number == number
            {
                run.end = end;
                return;
            }
        }
    }

    /// Ends all runs that go on, for a newer one takes their place. `completed` are the tasks that
    /// each run has to show.
    pub fn replace_live_runs(&mut self, at: Timestamp, completed: &BTreeMap<u64, u64>) {
        for record in &mut self.records {
            if let Record::Run(run) = record {
                let completed = completed.get(&run.number).copied().unwrap_or(0);
                run.end.get_or_insert_with(|| End::replaced(at, completed));
            }
        }
    }

    /// No run is one that begins again any more.
    pub fn close_standing_runs(&mut self) {
        for record in &mut self.records {
            if let Record::Run(run) = record {
                run.standing = false;
            }
        }
    }

    /// Remembers times that passed without a run; with those before, if they did for the same
    /// reason.
    pub fn omit(&mut self, first: Timestamp, last: Timestamp, count: u64, why: Why) {
        if let Some(Record::Omission(before)) = self.records.last_mut()
            && before.why == why
        {
            before.last = last;
            before.count = before.count.saturating_add(count);
            return;
        }
        self.records.push(Record::Omission(Omission {
            first,
            last,
            count,
            why,
        }));
    }

    /// Forgets the oldest records beyond a number; never the newest run, nor one that goes on,
    /// which does not count.
    pub fn trim(&mut self, keep: u64) {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let live = self.live_runs().count();
        let mut surplus = self.records.len().saturating_sub(live + keep);
        let newest = self.iteration;
        self.records.retain(|record| {
            let stays = match record {
                Record::Run(run) => run.end.is_none() || run.number == newest,
                Record::Omission(_) => false,
            };
            let goes = surplus > 0 && !stays;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl End {
    pub const fn replaced(at: Timestamp, completed: u64) -> Self {
        Self {
            at,
            outcome: Outcome::Replaced,
            completed,
            failed: 0,
            err: String::new(),
            exit_code: None,
        }
    }
}

/// How many slots of each run have a task that completed.
pub fn completed_by_run<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> BTreeMap<u64, u64> {
    let slots: BTreeSet<(u64, Slot)> = tasks
        .filter(|task| task.status.state == TaskState::Complete)
        .filter_map(|task| Some((task.slot.run()?, task.slot)))
        .collect();
    let mut counts = BTreeMap::new();
    for (run, _) in slots {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

/// How many records a job of that spec keeps.
pub fn records_kept(spec: &ServiceSpec) -> u64 {
    spec.schedule()
        .map_or(Schedule::HISTORY_RUNS, Schedule::history_runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(ends: &[bool]) -> Job {
        let mut job = Job::default();
        for (number, ended) in (1..).zip(ends) {
            job.start(Cause::Due(Timestamp(number)), 1, false, Timestamp(number));
            if *ended {
                job.set_end(
                    number.unsigned_abs(),
                    Some(End::replaced(Timestamp(number), 0)),
                );
            }
        }
        job
    }

    #[test]
    fn what_goes_on_and_the_newest_run_are_never_forgotten() {
        let mut job = job(&[true, false, true, true]);
        job.trim(2);
        let numbers: Vec<u64> = job.runs().map(|run| run.number).collect();
        assert_eq!(numbers, [2, 3, 4]);
        job.trim(0);
        let numbers: Vec<u64> = job.runs().map(|run| run.number).collect();
        assert_eq!(numbers, [2, 4]);
    }

    #[test]
    fn times_that_pass_for_one_reason_are_one_record() {
        let mut job = job(&[false]);
        for time in 1..=3 {
            let why = Why::Overlap { run: 1 };
            job.omit(Timestamp(time), Timestamp(time), 1, why);
        }
        job.omit(Timestamp(4), Timestamp(9), 5, Why::Missed);
        let omissions: Vec<(i64, i64, u64)> = job
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Omission(it) => Some((it.first.0, it.last.0, it.count)),
                Record::Run(_) => None,
            })
            .collect();
        assert_eq!(omissions, [(1, 3, 3), (4, 9, 5)]);
    }
}
