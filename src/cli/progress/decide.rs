//! What a waiting command shows and when it is done. Pure: no clock, no I/O.

mod tasks;

use std::collections::BTreeMap;
use std::time::Duration;

use tasks::{is_ordinary_wait, newest_by_slot, position, position_of_running, progress};

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

#[cfg(test)]
mod tests;
