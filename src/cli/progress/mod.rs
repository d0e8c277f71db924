//! Waits until a service is what it should be, and shows how it gets there.
//!
//! `decide` is pure: snapshots and the time in, lines and a verdict out. This file polls the
//! daemon and `draw` paints.

mod decide;
mod draw;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::context::{Context, filters};
use super::failure::{Exit, Failure};
use super::output::word;
use crate::api::wire::service::{HoldWord, UpdateStatus};
use crate::api::wire::{Node, Service, Task};
use crate::spec::{Mode, Nanos, Schedule, parse};
pub(crate) use decide::Line;
pub(crate) use draw::Painter;

use decide::{Goal, RunView, Snapshot, TaskView, Tracker, Update, Verdict};

const POLL_PERIOD: Duration = Duration::from_millis(200);
/// For how long reads may fail in a row: a new leader is found in far less.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProgressFlags {
    /// Return at once, without waiting until the service is what it should be
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    detach: Option<bool>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// Wait for so long at most
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait_timeout: Option<Nanos>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// A rollback is what was asked for.
    wants_rollback: bool,
    /// When the update began that was there before.
    before: Option<String>,
    /// The run of a job; its newest where none is named.
    run: Option<u64>,
}

impl Operation {
    pub(crate) const fn create() -> Self {
        Self {
            wants_rollback: false,
            before: None,
            run: None,
        }
    }

    /// One run of a job.
    pub(crate) const fn run(number: u64) -> Self {
        Self {
            wants_rollback: false,
            before: None,
            run: Some(number),
        }
    }

    /// `before` is the update status from before the change: it says nothing of this one.
    pub(crate) fn update(before: Option<UpdateStatus>) -> Self {
        Self {
            wants_rollback: false,
            before: before.as_ref().map(began),
            run: None,
        }
    }

    pub(crate) fn rollback(before: Option<UpdateStatus>) -> Self {
        Self {
            wants_rollback: true,
            ..Self::update(before)
        }
    }
}

/// Tells one update from another.
fn began(update: &UpdateStatus) -> String {
    update
        .started_at
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// Waits until the service has converged and stayed so for its monitor time.
pub(crate) async fn wait(
    context: &Context,
    service: &str,
    operation: Operation,
    flags: &ProgressFlags,
) -> Result<(), Failure> {
    if flags.detach == Some(true) {
        return Ok(());
    }
    let mut follower = Follower {
        context,
        service,
        tracker: Tracker::new(operation.wants_rollback),
        operation,
        painter: Painter::new(flags.quiet),
        started: Instant::now(),
        answered: Instant::now(),
    };
    let deadline = flags
        .wait_timeout
        .map(|length| Instant::now() + length.to_std());
    // From here on an interrupt is told of, not died of.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::error(format!("cannot listen for signals: {error}")))?;
    loop {
        if let Some(outcome) = follower.step().await? {
            return outcome;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(follower.ran_out_of_time());
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_PERIOD) => {}
            _ = interrupt.recv() => return Err(interrupted(service)),
        }
    }
}

fn interrupted(service: &str) -> Failure {
    Failure::new(
        Exit::Interrupted,
        "interrupted: the operation goes on in the background",
    )
    .next(format!(
        "Use \"swarmr service ps {service}\" to see how far it is."
    ))
}

struct Follower<'a> {
    context: &'a Context,
    service: &'a str,
    operation: Operation,
    tracker: Tracker,
    painter: Painter,
    started: Instant,
    /// When the daemon answered last.
    answered: Instant,
}

impl Follower<'_> {
    /// Looks once; `Some` when there is nothing more to wait for.
    async fn step(&mut self) -> Result<Option<Result<(), Failure>>, Failure> {
        let (service, snapshot) = match self.snapshot().await {
            Ok(seen) => seen,
            // A leader may just be elected: this only reads, so it may be done again.
            Err(failure) if self.may_recover(&failure) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        self.answered = Instant::now();
        if let Some(schedule) = service.spec.schedule()
            && self.operation.run.is_none()
        {
            // Nothing runs before its time.
            self.context.say(&next_run(schedule, &service));
            return Ok(Some(Ok(())));
        }
        let view = self.tracker.look(&snapshot, self.started.elapsed());
        self.painter.paint(&view.lines);
        Ok(match view.verdict {
            Verdict::Waiting => None,
            Verdict::Converged => Some(Ok(())),
            // What was asked for so far is done; the rest is somebody's decision.
            Verdict::AwaitsPromotion(message) => {
                self.context.say(&format!("service {message}"));
                Some(Ok(()))
            }
            Verdict::Paused(message) => Some(Err(Failure::new(
                Exit::RolledBack,
                format!("service update paused: {message}"),
            )
            .next(format!(
                "\"swarmr service ps {service}\" shows why. Go on with \"swarmr service update \
                 {service}\" and what mends it, or go back with \"swarmr service rollback \
                 {service}\".",
                service = self.service
            )))),
            Verdict::RollbackPaused(message) => Some(Err(Failure::new(
                Exit::RolledBack,
                format!("service rollback paused: {message}"),
            ))),
            Verdict::RunEnded(message) => Some(Err(Failure::new(Exit::JobFailed, message).next(
                format!(
                    "\"swarmr service ps {service}\" shows which tasks, \"swarmr service logs \
                     {service}\" what they said. \"swarmr service run-now {service}\" runs it again.",
                    service = self.service
                ),
            ))),
            Verdict::RolledBack(message) => Some(Err(Failure::new(
                Exit::RolledBack,
                format!("service rolled back: {message}"),
            )
            .next(format!(
                "The service runs what it ran before. \"swarmr service ps {}\" shows what failed.",
                self.service
            )))),
        })
    }

    fn may_recover(&self, failure: &Failure) -> bool {
        matches!(failure.exit, Exit::Unreachable | Exit::TimedOut)
            && self.answered.elapsed() < PATIENCE
    }

    async fn snapshot(&self) -> Result<(Service, Snapshot), Failure> {
        let service: Service = self.context.get(&["services", self.service], &[]).await?;
        let wanted = [
            ("service".to_owned(), service.id.to_string()),
            ("_up-to-date".to_owned(), "true".to_owned()),
        ];
        let filters = filters(&wanted).unwrap_or_default();
        let tasks: Vec<Task> = self
            .context
            .get(&["tasks"], &[("filters", &filters)])
            .await?;
        let nodes: Vec<Node> = self.context.get(&["nodes"], &[]).await?;
        let snapshot = snapshot(&service, &tasks, &nodes, &self.operation);
        Ok((service, snapshot))
    }

    fn ran_out_of_time(&self) -> Failure {
        match self.tracker.unplaced() {
            Some(reason) => Failure::new(
                Exit::CannotBePlaced,
                format!("tasks cannot be placed: {reason}"),
            ),
            None => Failure::new(
                Exit::TimedOut,
                "timed out: the service has not converged; the operation goes on in the background",
            ),
        }
        .next(format!(
            "\"swarmr service ps {}\" shows how far it is.",
            self.service
        ))
    }
}

/// When a schedule starts its next run.
fn next_run(schedule: &Schedule, service: &Service) -> String {
    let next = service.job_status.as_ref().and_then(|it| it.next_execution);
    match (schedule.clock(), next) {
        _ if schedule.suspended => "the schedule is suspended: no run is due".to_owned(),
        (Ok(clock), Some(next)) => format!("next run at {}", clock.show(next)),
        _ => "no run is due within eight years".to_owned(),
    }
}

/// The run of a job that is waited for.
fn run_view(service: &Service, number: Option<u64>) -> Option<RunView> {
    let status = service.job_status.as_ref()?;
    let number = number.unwrap_or(status.job_iteration.index);
    let run = status.runs.iter().find(|run| run.run == Some(number))?;
    Some(RunView {
        number,
        state: word(&run.state),
        failed: run.failed_tasks,
        message: run.message.clone(),
    })
}

/// What matters of three answers. An update that began before ours is left out.
fn snapshot(service: &Service, tasks: &[Task], nodes: &[Node], operation: &Operation) -> Snapshot {
    let before = operation.before.as_deref();
    let spec = &service.spec;
    let active: BTreeSet<String> = nodes
        .iter()
        .filter(|node| word(&node.status.state) != "down")
        .map(|node| node.id.to_string())
        .collect();
    Snapshot {
        name: spec.name.clone(),
        goal: match &spec.mode {
            _ if service.swarmr.stopped => Goal::Replicas(0),
            Mode::Replicated(_) => Goal::Replicas(spec.replicas().unwrap_or(1)),
            Mode::Global(_) => Goal::EveryNode,
            Mode::ReplicatedJob(job) => Goal::Completions(job.total_completions()),
            Mode::GlobalJob(_) => Goal::CompletionOnEveryNode,
        },
        update: service
            .update_status
            .as_ref()
            .filter(|update| before != Some(began(update).as_str()))
            .filter(|_| !service.swarmr.stopped)
            .map(|update| Update {
                state: word(&update.state),
                awaits_promotion: service.swarmr.hold == Some(HoldWord::Promotion),
                message: update.message.clone(),
            }),
        run: run_view(service, operation.run),
        monitor: if spec.mode.is_job() {
            Duration::ZERO
        } else {
            spec.update_policy().monitor.to_std()
        },
        tasks: tasks
            .iter()
            .filter(|task| {
                task.node_id
                    .is_none_or(|node| active.contains(&node.to_string()))
            })
            .map(|task| TaskView {
                slot: match (task.slot, task.node_id) {
                    (Some(slot), _) => slot.to_string(),
                    (None, node) => node.map(|node| node.to_string()).unwrap_or_default(),
                },
                desired: word(&task.desired_state),
                state: word(&task.status.state),
                error: task.status.err.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_leaves_out_what_is_down_and_what_is_over() {
        let id = |letter: char| letter.to_string().repeat(25);
        let service: Service = serde_json::from_value(json!({
            "ID": id('c'), "Version": {"Index": 1},
            "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
            "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 2}},
                "UpdateConfig": {"Parallelism": 1, "Monitor": 2_000_000_000_i64}},
            "Endpoint": {"Spec": {}},
            "UpdateStatus": {"State": "rollback_completed", "StartedAt": "2026-11-23T02:30:00Z",
                "Message": "rollback completed"}
        }))
        .unwrap();
        let node = |letter, state: &str| -> Node {
            serde_json::from_value(json!({
                "ID": id(letter), "Version": {"Index": 1},
                "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
                "Spec": {"Role": "worker", "Availability": "active"}, "Status": {"State": state}
            }))
            .unwrap()
        };
        let task = |letter, slot: u64, node| -> Task {
            serde_json::from_value(json!({
                "ID": id(letter), "Version": {"Index": 1},
                "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
                "ServiceID": id('c'), "Slot": slot, "NodeID": node,
                "Status": {"Timestamp": "2026-11-23T02:29:50Z", "State": "running"},
                "DesiredState": "running"
            }))
            .unwrap()
        };
        let nodes = [node('a', "ready"), node('b', "down")];
        let tasks = [task('d', 1, id('a')), task('e', 2, id('b'))];
        let fresh = snapshot(&service, &tasks, &nodes, &Operation::create());
        assert_eq!(fresh.tasks.len(), 1);
        assert_eq!(fresh.goal, Goal::Replicas(2));
        assert_eq!(fresh.monitor, Duration::from_secs(2));
        assert_eq!(fresh.update.unwrap().state, "rollback_completed");
        let old = {
            let operation = Operation::update(service.update_status.clone());
            snapshot(&service, &tasks, &nodes, &operation)
        };
        assert_eq!(old.update, None);
    }
}
