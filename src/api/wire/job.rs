//! A job's status. `JobIteration` and `LastExecution` are Docker's, the rest is ours: clients that do
//! not know it pass over it.

use serde::{Deserialize, Serialize};

use crate::spec::nullable::{is_default, nullable};
use crate::spec::{ServiceSpec, Timestamp};
use crate::state;
use crate::state::job::{Cause, Job, Outcome, Record, Run, Why};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobStatus {
    pub job_iteration: JobIteration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_execution: Option<Timestamp>,
    /// When the schedule starts the next run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_execution: Option<Timestamp>,
    /// What is remembered, oldest first; not in lists.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub runs: Vec<JobRun>,
}

/// `{}` for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct JobIteration {
    #[serde(skip_serializing_if = "is_default")]
    pub index: u64,
}

/// One run, or times of the schedule that had none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobRun {
    /// Its iteration; absent where there was no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    pub state: RunState,
    pub cause: RunCause,
    /// When the schedule wanted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub completed_tasks: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed_tasks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// How a task failed, or why there was no run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: String,
    /// How many times had no run, if several; the first is `DueAt`, the last `LastDueAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_due_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Completed,
    Failed,
    Replaced,
    /// An earlier run went on.
    Skipped,
    /// No manager led in time.
    Missed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCause {
    Created,
    Updated,
    Schedule,
    Request,
}

/// What `POST /services/{id}/run` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunStarted {
    /// Absent when it has ended and is forgotten already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
}

/// A job's status, without its runs.
pub fn render(service: &state::Service) -> Option<JobStatus> {
    let job = service.job.as_ref()?;
    Some(JobStatus {
        job_iteration: JobIteration {
            index: job.iteration,
        },
        last_execution: job.last_started_at,
        next_execution: next(&service.spec, job.decided_until),
        runs: Vec::new(),
    })
}

/// What is remembered of a job's runs, oldest first.
pub fn runs(job: &Job) -> Vec<JobRun> {
    let records = job.records.iter();
    records
        .map(|record| match record {
            Record::Run(run) => run_of(run),
            Record::Omission(omission) => {
                let (state, message) = match omission.why {
                    Why::Overlap { run } => (RunState::Skipped, format!("run {run} went on")),
                    Why::TooMany { runs } => (RunState::Skipped, format!("{runs} runs went on")),
                    Why::Missed => (
                        RunState::Missed,
                        "no manager led until it was too late".to_owned(),
                    ),
                };
                let several = omission.count > 1;
                JobRun {
                    run: None,
                    state,
                    cause: RunCause::Schedule,
                    due_at: Some(omission.first),
                    started_at: None,
                    ended_at: None,
                    completed_tasks: 0,
                    failed_tasks: 0,
                    exit_code: None,
                    message,
                    times: several.then_some(omission.count),
                    last_due_at: several.then_some(omission.last),
                }
            }
        })
        .collect()
}

fn run_of(run: &Run) -> JobRun {
    let (cause, due_at) = match run.cause {
        Cause::Created => (RunCause::Created, None),
        Cause::Updated => (RunCause::Updated, None),
        Cause::Due(at) => (RunCause::Schedule, Some(at)),
        Cause::Requested(_) => (RunCause::Request, None),
    };
    let end = run.end.as_ref();
    JobRun {
        run: Some(run.number),
        state: match end.map(|end| end.outcome) {
            None => RunState::Running,
            Some(Outcome::Completed) => RunState::Completed,
            Some(Outcome::Failed) => RunState::Failed,
            Some(Outcome::Replaced) => RunState::Replaced,
        },
        cause,
        due_at,
        started_at: Some(run.started_at),
        ended_at: end.map(|end| end.at),
        completed_tasks: end.map_or(0, |end| end.completed),
        failed_tasks: end.map_or(0, |end| end.failed),
        exit_code: end.and_then(|end| end.exit_code),
        message: end.map_or_else(String::new, |end| end.err.clone()),
        times: None,
        last_due_at: None,
    }
}

/// The time after those that have been dealt with; none while nothing is due.
fn next(spec: &ServiceSpec, decided_until: Timestamp) -> Option<Timestamp> {
    let schedule = spec.schedule().filter(|schedule| !schedule.suspended)?;
    schedule.clock().ok()?.after(decided_until)
}
