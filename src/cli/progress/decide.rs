//! What a waiting command shows and when it is done. Pure: no clock, no I/O.

use std::collections::BTreeMap;
use std::time::Duration;

/// Above this many tasks there is one line for all of them.
const MAX_TASK_LINES: u64 = 20;

/// One look at a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) goal: Goal,
    /// The update that our change began, if it began one.
    pub(super) update: Option<Update>,
    /// How long it must stay converged.
    pub(super) monitor: Duration,
    /// The run of a job that is waited for, as far as the daemon tells of it.
    pub(super) run: Option<RunView>,
    /// Tasks of the newest spec that are on nodes that answer, or on none yet.
    pub(super) tasks: Vec<TaskView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Replicas(u64),
    /// One task for each node that the planner chose.
    EveryNode,
    Completions(u64),
    CompletionOnEveryNode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// As the API spells it: `updating`, `rollback_completed`, …
    pub(super) state: String,
    /// A step of it is done, and the next waits for a promotion.
    pub(super) awaits_promotion: bool,
    pub(super) message: String,
}

/// A job's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunView {
    pub(super) number: u64,
    /// As the API spells it: `running`, `completed`, …
    pub(super) state: String,
    /// Tasks that are not tried again.
    pub(super) failed: u64,
    /// How one of them failed.
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskView {
    /// The number of the replica, or the id of the node.
    pub(super) slot: String,
    pub(super) desired: String,
    pub(super) state: String,
    pub(super) error: String,
}

/// What to show, and whether to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) lines: Vec<Line>,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Lines of the same id replace each other.
    pub(crate) id: String,
    pub(crate) text: String,
    /// How far, of how much.
    pub(crate) bar: Option<(u64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Waiting,
    Converged,
    /// Each with the daemon's reason.
    AwaitsPromotion(String),
    Paused(String),
    RolledBack(String),
    RollbackPaused(String),
    /// A job's run ended, but not as it should have.
    RunEnded(String),
}

/// What is remembered from look to look.
#[derive(Debug)]
pub(super) struct Tracker {
    wants_rollback: bool,
    /// Since when the goal is reached, on the caller's clock.
    converged_since: Option<Duration>,
    detected_failure: bool,
    /// The place of each slot among the lines, in the order in which they were seen.
    places: BTreeMap<String, usize>,
    unplaced: Option<String>,
}

impl Tracker {
    pub(super) const fn new(wants_rollback: bool) -> Self {
        Self {
            wants_rollback,
            converged_since: None,
            detected_failure: false,
            places: BTreeMap::new(),
            unplaced: None,
        }
    }

    /// Why tasks wait for a node, as of the last look.
    pub(super) fn unplaced(&self) -> Option<&str> {
        self.unplaced.as_deref()
    }

    /// Judges one look, `now` after the wait began.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Duration) -> View {
        let state = snapshot.update.as_ref().map_or("", |update| &update.state);
        let message = || {
            snapshot
                .update
                .as_ref()
                .map(|update| update.message.clone())
                .unwrap_or_default()
        };
        let rolls_back = state.starts_with("rollback_");
        let tasks = newest_by_slot(&snapshot.tasks);
        self.unplaced = tasks
            .values()
            .find(|task| task.state == "pending" && task.error.contains("no suitable node"))
            .map(|task| task.error.clone());
        let (reached, wanted) = progress(snapshot.goal, &tasks);
        let mut lines = vec![overall(snapshot.goal, reached, wanted, rolls_back)];
        lines.extend(self.task_lines(&tasks, wanted, rolls_back));
        if rolls_back && !self.wants_rollback {
            lines.push(Line::plain("rollback", message()));
        }
        if let Some(run) = &snapshot.run {
            let verdict = judge_run(run, snapshot.goal, reached, &mut lines);
            return View { lines, verdict };
        }
        let awaits_promotion = snapshot
            .update
            .as_ref()
            .is_some_and(|update| update.awaits_promotion);
        let verdict = match state {
            "paused" if awaits_promotion => Verdict::AwaitsPromotion(message()),
            "paused" => Verdict::Paused(message()),
            "rollback_paused" => Verdict::RollbackPaused(message()),
            _ => {
                let stable = self.judge_convergence(snapshot, reached, wanted, now, &mut lines);
                match stable {
                    false => Verdict::Waiting,
                    true if state == "rollback_completed" && !self.wants_rollback => {
                        Verdict::RolledBack(message())
                    }
                    // The tasks are as they should be, but the daemon has not finished watching.
                    true if matches!(state, "updating" | "rollback_started") => Verdict::Waiting,
                    true => Verdict::Converged,
                }
            }
        };
        View { lines, verdict }
    }

    /// Whether the goal is reached and has been for the monitor time; says so in a line.
    fn judge_convergence(
        &mut self,
        snapshot: &Snapshot,
        reached: u64,
        wanted: Option<u64>,
        now: Duration,
        lines: &mut Vec<Line>,
    ) -> bool {
        if wanted != Some(reached) {
            self.detected_failure |= self.converged_since.is_some();
            self.converged_since = None;
            if self.detected_failure {
                lines.push(Line::plain("verify", "Detected task failure".to_owned()));
            }
            return false;
        }
        let since = *self.converged_since.get_or_insert(now);
        let held = now.saturating_sub(since);
        let text = if held >= snapshot.monitor {
            format!("Service {} converged", snapshot.name)
        } else {
            let left = (snapshot.monitor - held).as_millis().div_ceil(1000);
            format!("Waiting {left} seconds to verify that tasks are stable...")
        };
        lines.push(Line::plain("verify", text));
        held >= snapshot.monitor
    }

    fn task_lines(
        &mut self,
        tasks: &BTreeMap<&str, &TaskView>,
        wanted: Option<u64>,
        rolls_back: bool,
    ) -> Vec<Line> {
        let Some(wanted) = wanted.filter(|wanted| *wanted <= MAX_TASK_LINES) else {
            // Too many to show each, so only what goes wrong.
            let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
            for task in tasks
                .values()
                .filter(|task| !task.error.is_empty() && !is_ordinary_wait(&task.error))
            {
                *reasons.entry(&task.error).or_default() += 1;
            }
            return reasons
                .into_iter()
                .map(|(reason, count)| Line::plain(reason, format!("{count} tasks")))
                .collect();
        };
        for slot in tasks.keys() {
            let next = self.places.len() + 1;
            self.places.entry((*slot).to_owned()).or_insert(next);
        }
        let mut places: Vec<(usize, Option<&TaskView>)> = self
            .places
            .iter()
            .map(|(slot, place)| (*place, tasks.get(slot.as_str()).copied()))
            .collect();
        // Slots that no task was seen for yet have their line already.
        for place in self.places.len() + 1..=usize::try_from(wanted).unwrap_or(0) {
            places.push((place, None));
        }
        places.sort_by_key(|(place, _)| *place);
        places
            .into_iter()
            .filter(|(place, _)| *place as u64 <= wanted)
            .map(|(place, task)| task_line(&format!("{place}/{wanted}"), task, rolls_back))
            .collect()
    }
}

impl Line {
    pub(crate) fn plain(id: &str, text: String) -> Self {
        Self {
            id: id.to_owned(),
            text,
            bar: None,
        }
    }
}

/// Whether a run has ended, and how.
fn judge_run(run: &RunView, goal: Goal, reached: u64, lines: &mut Vec<Line>) -> Verdict {
    let number = run.number;
    let verdict = match run.state.as_str() {
        // A job that has just been scaled has ended only when that is done too.
        "completed" => match goal {
            Goal::Completions(total) if reached < total => Verdict::Waiting,
            _ => Verdict::Converged,
        },
        "failed" => {
            let tasks = if run.failed == 1 { "1 task" } else { "tasks" };
            let count = if run.failed == 1 {
                String::new()
            } else {
                format!("{} ", run.failed)
            };
            Verdict::RunEnded(format!(
                "run {number} failed: {count}{tasks} ended badly and will not be tried again: {}",
                run.message
            ))
        }
        "replaced" => Verdict::RunEnded(format!("run {number} was stopped for a newer one")),
        _ => Verdict::Waiting,
    };
    if verdict == Verdict::Converged {
        lines.push(Line::plain("verify", format!("run {number} completed")));
    }
    verdict
}

fn overall(goal: Goal, reached: u64, wanted: Option<u64>, rolls_back: bool) -> Line {
    let text = match (goal, wanted) {
        (_, None) => "waiting for new tasks".to_owned(),
        (Goal::Completions(_) | Goal::CompletionOnEveryNode, Some(wanted)) => {
            format!("{reached} out of {wanted} complete")
        }
        (_, Some(wanted)) => format!("{reached} out of {wanted} tasks"),
    };
    let text = if rolls_back {
        format!("rolling back update: {text}")
    } else {
        text
    };
    Line::plain(
        if matches!(goal, Goal::Completions(_) | Goal::CompletionOnEveryNode) {
            "job progress"
        } else {
            "overall progress"
        },
        text,
    )
}

fn task_line(id: &str, task: Option<&TaskView>, rolls_back: bool) -> Line {
    let Some(task) = task else {
        return Line::plain(id, String::new());
    };
    if !task.error.is_empty() && !is_ordinary_wait(&task.error) {
        return Line::plain(id, task.error.clone());
    }
    let position = position(&task.state);
    let full = position_of_running();
    Line {
        id: id.to_owned(),
        text: task.state.clone(),
        bar: Some((
            if rolls_back {
                full.saturating_sub(position.min(full))
            } else {
                position.min(full)
            },
            full,
        )),
    }
}

/// How much of the goal is reached, and of how much; `None` while that is not known.
fn progress(goal: Goal, tasks: &BTreeMap<&str, &TaskView>) -> (u64, Option<u64>) {
    let count = |state: &str| {
        let tasks = tasks.values();
        tasks
            .filter(|task| task.state == state && (state == "complete" || is_wanted(task)))
            .count() as u64
    };
    let nodes = Some(tasks.len() as u64).filter(|nodes| *nodes > 0);
    match goal {
        Goal::Replicas(replicas) => (count("running"), Some(replicas)),
        Goal::EveryNode => (count("running"), nodes),
        Goal::Completions(total) => (count("complete"), Some(total)),
        Goal::CompletionOnEveryNode => (count("complete"), nodes),
    }
}

fn is_wanted(task: &TaskView) -> bool {
    position(&task.desired) <= position_of_running()
}

/// The task of each slot that tells most: the one that is wanted, and of several the one that has
/// got least far.
fn newest_by_slot(tasks: &[TaskView]) -> BTreeMap<&str, &TaskView> {
    let mut chosen: BTreeMap<&str, &TaskView> = BTreeMap::new();
    for task in tasks {
        let rank = |task: &TaskView| (position(&task.desired), position(&task.state));
        let best = chosen.entry(&task.slot).or_insert(task);
        if rank(task) < rank(best) {
            *best = task;
        }
    }
    chosen
}

const STATES: [&str; 15] = [
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
    "running",
    "complete",
    "shutdown",
    "failed",
    "rejected",
    "remove",
    "orphaned",
];

/// Where a state stands in Docker's order, from 1.
fn position(state: &str) -> u64 {
    STATES
        .iter()
        .position(|known| *known == state)
        .map_or(0, |place| place as u64 + 1)
}

/// Waits that belong to every update and end by themselves.
fn is_ordinary_wait(reason: &str) -> bool {
    [
        "waiting for task",
        "waiting for its health check",
        "restart delay",
    ]
    .iter()
    .any(|ordinary| reason.starts_with(ordinary))
}

fn position_of_running() -> u64 {
    position("running")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONITOR: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn task(slot: u64, state: &str) -> TaskView {
        TaskView {
            slot: slot.to_string(),
            desired: "running".into(),
            state: state.into(),
            error: String::new(),
        }
    }

    fn replicas(wanted: u64, states: &[&str]) -> Snapshot {
        Snapshot {
            name: "web".into(),
            goal: Goal::Replicas(wanted),
            update: None,
            monitor: MONITOR,
            run: None,
            tasks: (1..)
                .zip(states)
                .map(|(slot, state)| task(slot, state))
                .collect(),
        }
    }

    fn with_update(snapshot: Snapshot, state: &str, message: &str) -> Snapshot {
        Snapshot {
            update: Some(Update {
                state: state.into(),
                awaits_promotion: false,
                message: message.into(),
            }),
            ..snapshot
        }
    }

    fn texts(view: &View) -> Vec<String> {
        view.lines
            .iter()
            .map(|line| format!("{}: {}", line.id, line.text))
            .collect()
    }

    #[test]
    fn a_service_must_stay_converged_for_its_monitor_time() {
        let mut tracker = Tracker::new(false);
        let view = tracker.look(&replicas(2, &["preparing"]), at(0));
        assert_eq!(view.verdict, Verdict::Waiting);
        assert_eq!(
            texts(&view),
            [
                "overall progress: 0 out of 2 tasks",
                "1/2: preparing",
                "2/2: "
            ]
        );
        assert_eq!(view.lines[1].bar, Some((6, 9)));
        let up = replicas(2, &["running", "running"]);
        let view = tracker.look(&up, at(1));
        assert_eq!(view.verdict, Verdict::Waiting);
        assert_eq!(
            texts(&view)[3],
            "verify: Waiting 5 seconds to verify that tasks are stable..."
        );
        assert_eq!(tracker.look(&up, at(5)).verdict, Verdict::Waiting);
        let view = tracker.look(&up, at(6));
        assert_eq!(view.verdict, Verdict::Converged);
        assert_eq!(texts(&view)[3], "verify: Service web converged");
    }

    #[test]
    fn a_failure_while_verifying_starts_the_wait_anew() {
        let mut tracker = Tracker::new(false);
        let up = replicas(1, &["running"]);
        tracker.look(&up, at(0));
        let view = tracker.look(&replicas(1, &["failed"]), at(4));
        assert_eq!(view.verdict, Verdict::Waiting);
        assert_eq!(texts(&view)[2], "verify: Detected task failure");
        assert_eq!(tracker.look(&up, at(6)).verdict, Verdict::Waiting);
        assert_eq!(tracker.look(&up, at(10)).verdict, Verdict::Waiting);
        assert_eq!(tracker.look(&up, at(11)).verdict, Verdict::Converged);
    }

    #[test]
    fn a_paused_update_ends_the_wait_at_once() {
        let mut tracker = Tracker::new(false);
        let view = tracker.look(
            &with_update(
                replicas(1, &["failed"]),
                "paused",
                "update paused due to failure",
            ),
            at(0),
        );
        assert_eq!(
            view.verdict,
            Verdict::Paused("update paused due to failure".into())
        );
        let view = tracker.look(
            &with_update(replicas(1, &[]), "rollback_paused", "m"),
            at(0),
        );
        assert_eq!(view.verdict, Verdict::RollbackPaused("m".into()));
    }

    #[test]
    fn a_step_that_waits_for_its_promotion_is_no_failure() {
        let mut at_step = with_update(
            replicas(1, &["running"]),
            "paused",
            "update waits for promotion after step 1 of 2",
        );
        at_step.update.as_mut().unwrap().awaits_promotion = true;
        let view = Tracker::new(false).look(&at_step, at(0));
        let message = "update waits for promotion after step 1 of 2";
        assert_eq!(view.verdict, Verdict::AwaitsPromotion(message.into()));
    }

    #[test]
    fn an_update_that_rolled_back_by_itself_is_no_success() {
        let mut tracker = Tracker::new(false);
        let back = with_update(
            replicas(1, &["running"]),
            "rollback_started",
            "update failed",
        );
        let view = tracker.look(&back, at(0));
        assert_eq!(
            texts(&view)[0],
            "overall progress: rolling back update: 1 out of 1 tasks"
        );
        assert!(texts(&view).contains(&"rollback: update failed".to_owned()));
        assert_eq!(tracker.look(&back, at(9)).verdict, Verdict::Waiting);
        let done = with_update(
            replicas(1, &["running"]),
            "rollback_completed",
            "rollback completed",
        );
        assert_eq!(
            tracker.look(&done, at(10)).verdict,
            Verdict::RolledBack("rollback completed".into())
        );
    }

    #[test]
    fn a_rollback_that_was_asked_for_is_a_success() {
        let mut tracker = Tracker::new(true);
        let done = with_update(replicas(1, &["running"]), "rollback_completed", "m");
        tracker.look(&done, at(0));
        assert_eq!(tracker.look(&done, at(5)).verdict, Verdict::Converged);
    }

    #[test]
    fn an_update_that_the_daemon_still_watches_is_not_over() {
        let mut tracker = Tracker::new(false);
        let updating = with_update(replicas(1, &["running"]), "updating", "update in progress");
        tracker.look(&updating, at(0));
        assert_eq!(tracker.look(&updating, at(6)).verdict, Verdict::Waiting);
        let done = with_update(replicas(1, &["running"]), "completed", "update completed");
        assert_eq!(tracker.look(&done, at(7)).verdict, Verdict::Converged);
    }

    #[test]
    fn a_task_that_waits_for_a_node_says_why() {
        let mut tracker = Tracker::new(false);
        let mut snapshot = replicas(2, &["running", "pending"]);
        snapshot.tasks[1].error = "no suitable node (insufficient resources on 3 nodes)".into();
        let view = tracker.look(&snapshot, at(0));
        assert_eq!(view.verdict, Verdict::Waiting);
        assert_eq!(
            texts(&view)[2],
            "2/2: no suitable node (insufficient resources on 3 nodes)"
        );
        assert!(tracker.unplaced().unwrap().starts_with("no suitable node"));
        tracker.look(&replicas(2, &["running", "running"]), at(1));
        assert_eq!(tracker.unplaced(), None);
    }

    #[test]
    fn of_several_tasks_in_a_slot_the_wanted_one_counts() {
        let mut tracker = Tracker::new(false);
        let mut snapshot = replicas(1, &["running"]);
        snapshot.tasks.push(TaskView {
            desired: "shutdown".into(),
            state: "failed".into(),
            error: "exit 1".into(),
            slot: "1".into(),
        });
        let view = tracker.look(&snapshot, at(0));
        assert_eq!(texts(&view)[0], "overall progress: 1 out of 1 tasks");
        assert_eq!(texts(&view)[1], "1/1: running");
    }

    #[test]
    fn many_tasks_share_a_line() {
        let states = vec!["running"; 60];
        let mut snapshot = replicas(60, &states);
        snapshot.tasks[3].error = "boom".into();
        snapshot.tasks[3].state = "failed".into();
        snapshot.tasks[4] = snapshot.tasks[3].clone();
        snapshot.tasks[4].slot = "5".into();
        let view = Tracker::new(false).look(&snapshot, at(0));
        assert_eq!(
            texts(&view),
            ["overall progress: 58 out of 60 tasks", "boom: 2 tasks"]
        );
    }

    #[test]
    fn a_job_is_done_when_its_run_is() {
        let job = |total, states: &[&str], state: &str, failed| Snapshot {
            goal: Goal::Completions(total),
            run: Some(RunView {
                number: 3,
                state: state.into(),
                failed,
                message: "exit 1".into(),
            }),
            ..replicas(0, states)
        };
        let verdict = |snapshot| Tracker::new(false).look(&snapshot, at(0)).verdict;
        assert_eq!(
            verdict(job(2, &["complete", "running"], "running", 0)),
            Verdict::Waiting
        );
        assert_eq!(
            verdict(job(1, &["complete"], "completed", 0)),
            Verdict::Converged
        );
        assert_eq!(
            verdict(job(2, &["complete"], "completed", 0)),
            Verdict::Waiting
        );
        assert_eq!(
            verdict(job(2, &["complete", "failed"], "failed", 1)),
            Verdict::RunEnded(
                "run 3 failed: 1 task ended badly and will not be tried again: exit 1".into()
            )
        );
        assert_eq!(
            verdict(job(2, &[], "replaced", 0)),
            Verdict::RunEnded("run 3 was stopped for a newer one".into())
        );
    }

    #[test]
    fn global_services_and_jobs_have_goals_of_their_own() {
        let with = |goal, states: &[&str]| Snapshot {
            goal,
            ..replicas(0, states)
        };
        let first = |goal, states: &[&str]| {
            let view = Tracker::new(false).look(&with(goal, states), at(0));
            texts(&view)[0].clone()
        };
        assert_eq!(
            first(Goal::EveryNode, &[]),
            "overall progress: waiting for new tasks"
        );
        assert_eq!(
            first(Goal::EveryNode, &["running", "starting"]),
            "overall progress: 1 out of 2 tasks"
        );
        assert_eq!(
            first(Goal::Completions(3), &["complete", "running"]),
            "job progress: 1 out of 3 complete"
        );
        let none = with(Goal::Replicas(0), &[]);
        let mut tracker = Tracker::new(false);
        tracker.look(&none, at(0));
        assert_eq!(tracker.look(&none, at(5)).verdict, Verdict::Converged);
    }
}
