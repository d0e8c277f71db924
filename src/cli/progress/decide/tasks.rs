//! How far tasks are, by Docker's order of states.

use std::collections::BTreeMap;

use super::{Goal, TaskView};

/// How much of the goal is reached, and of how much; `None` while that is not known.
pub(super) fn progress(goal: Goal, tasks: &BTreeMap<&str, &TaskView>) -> (u64, Option<u64>) {
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
pub(super) fn newest_by_slot(tasks: &[TaskView]) -> BTreeMap<&str, &TaskView> {
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
pub(super) fn position(state: &str) -> u64 {
    STATES
        .iter()
        .position(|known| *known == state)
        .map_or(0, |place| place as u64 + 1)
}

/// Waits that belong to every update and end by themselves.
pub(super) fn is_ordinary_wait(reason: &str) -> bool {
    [
        "waiting for task",
        "waiting for its health check",
        "restart delay",
    ]
    .iter()
    .any(|ordinary| reason.starts_with(ordinary))
}

pub(super) fn position_of_running() -> u64 {
    position("running")
}
