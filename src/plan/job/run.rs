//! One run: which of its slots are done, which get a task now, and whether it is over.

use std::collections::BTreeSet;

use super::has_completed;
use crate::plan::board::Board;
use crate::plan::desk::Desk;
use crate::plan::filters::Needs;
use crate::plan::{moves, replicas, restart};
use crate::spec::{Mode, NodeId};
use crate::state::Node;
use crate::state::job::{End, Outcome, Run};
use crate::state::task::{DesiredState, Gate, Slot};

/// New tasks that one look makes at most; the rest are made in the next passes.
const TASKS_AT_ONCE: u64 = 10_000;

/// What a slot of a run has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A task of it has completed.
    Done,
    /// There is no further attempt, by the restart policy.
    GivenUp,
    /// Has a task that runs, or will.
    Live,
    /// Wants a task.
    Vacant,
}

/// How many slots of a run stand where.
#[derive(Debug, Default)]
struct Counts {
    done: u64,
    given_up: u64,
    live: u64,
}

/// Mends what failed and makes what is missing; says how the run ended if nothing is left to do.
/// New tasks are made only if it `may_begin`.
pub(super) fn settle(
    desk: &mut Desk<'_>,
    board: &mut Board<'_>,
    run: &Run,
    may_begin: bool,
) -> Option<End> {
    let (slots, left) = match &desk.service.spec.mode {
        Mode::ReplicatedJob(job) => {
            let (most, total) = (job.max_concurrent(), job.total_completions());
            let slots = slots_below(desk, run, total);
            let counts = mend(desk, &slots);
            moves::step_job(desk, board, &slots);
            let missing = total
                .saturating_sub(counts.done)
                .saturating_sub(counts.given_up)
                .saturating_sub(counts.live);
            let room = most.saturating_sub(counts.live).min(missing);
            if may_begin {
                fill_lowest(desk, run, total, room.min(TASKS_AT_ONCE));
            }
            (slots, counts.live + missing)
        }
        Mode::GlobalJob(_) => {
            let nodes = nodes(desk, run);
            let slots: Vec<Slot> = nodes
                .iter()
                .map(|node| Slot::RunOnNode {
                    run: run.number,
                    node: *node,
                })
                .collect();
            let counts = mend(desk, &slots);
            let vacant = vacant_on_open_nodes(desk, &slots);
            for slot in vacant.iter().filter(|_| may_begin) {
                fill(desk, run, *slot);
            }
            (slots, counts.live + vacant.len() as u64)
        }
        Mode::Replicated(_) | Mode::Global(_) => return None,
    };
    (left == 0).then(|| end(desk, &slots))
}

/// Whether two ends say the same, whenever they were written.
pub(super) fn same_end(one: &End, other: &End) -> bool {
    (one.outcome, one.completed, one.failed) == (other.outcome, other.completed, other.failed)
}

/// The slots of a run that have tasks, without those beyond the total, which are given up.
fn slots_below(desk: &mut Desk<'_>, run: &Run, total: u64) -> Vec<Slot> {
    let (slots, surplus): (Vec<Slot>, Vec<Slot>) = desk
        .slots()
        .into_iter()
        .filter(|slot| slot.run() == Some(run.number))
        .partition(|slot| slot.number().is_some_and(|number| number < total));
    for slot in surplus {
        replicas::remove(desk, slot);
    }
    slots
}

/// The nodes that a run is for: those that suit, and those where it has completed. What runs
/// elsewhere is stopped.
fn nodes(desk: &mut Desk<'_>, run: &Run) -> BTreeSet<NodeId> {
    let spec = desk.service.spec_at(run.spec_version);
    let needs = Needs::of(spec.unwrap_or(&desk.service.spec));
    let now = desk.now;
    let qualifies =
        |node: &Node| node.keeps_tasks(now) && !node.is_draining(now) && needs.suits(node);
    let slots: Vec<Slot> = desk
        .slots()
        .into_iter()
        .filter(|slot| slot.run() == Some(run.number))
        .collect();
    let mut nodes: BTreeSet<NodeId> = desk
        .state
        .nodes()
        .filter(|node| qualifies(node))
        .map(|node| node.id)
        .collect();
    for slot in slots {
        let Some(id) = slot.node().filter(|node| !nodes.contains(node)) else {
            continue;
        };
        if desk.in_slot(slot).any(|task| has_completed(task)) {
            nodes.insert(id);
        } else if desk.state.node(id).is_none() {
            replicas::remove(desk, slot);
        } else {
            for task in desk.wanted(slot) {
                desk.set_desired(task.id, DesiredState::Shutdown);
            }
        }
    }
    nodes
}

/// Slots that want a task and whose nodes take some. A paused node keeps what it has.
fn vacant_on_open_nodes(desk: &Desk<'_>, slots: &[Slot]) -> Vec<Slot> {
    slots
        .iter()
        .copied()
        .filter(|slot| stand(desk, *slot) == Standing::Vacant)
        .filter(|slot| {
            let node = slot.node().and_then(|node| desk.state.node(node));
            node.is_some_and(|node| node.takes_tasks())
        })
        .collect()
}

/// Gives failed and lost tasks their successors, stops what is needless; counts what there is then.
fn mend(desk: &mut Desk<'_>, slots: &[Slot]) -> Counts {
    let (done, open): (Vec<Slot>, Vec<Slot>) = slots
        .iter()
        .copied()
        .partition(|slot| stand(desk, *slot) == Standing::Done);
    for slot in done {
        for task in desk.wanted(slot) {
            if !has_completed(&task) {
                // Its node was taken for lost, and was not.
                desk.set_desired(task.id, DesiredState::Shutdown);
            }
        }
    }
    restart::repair(desk, &open);
    let mut counts = Counts::default();
    for slot in slots {
        match stand(desk, *slot) {
            Standing::Done => counts.done += 1,
            Standing::GivenUp => counts.given_up += 1,
            Standing::Live => counts.live += 1,
            Standing::Vacant => {}
        }
    }
    counts
}

fn stand(desk: &Desk<'_>, slot: Slot) -> Standing {
    if desk.in_slot(slot).any(|task| has_completed(task)) {
        Standing::Done
    } else if desk.in_slot(slot).any(|task| task.is_wanted()) {
        Standing::Live
    } else if restart::is_finished(desk, slot) {
        Standing::GivenUp
    } else {
        Standing::Vacant
    }
}

/// Fills the lowest numbers that want a task.
fn fill_lowest(desk: &mut Desk<'_>, run: &Run, total: u64, count: u64) {
    if count == 0 {
        return;
    }
    let vacant: Vec<Slot> = (0..total)
        .map(|number| Slot::Completion {
            run: run.number,
            number,
        })
        .filter(|slot| stand(desk, *slot) == Standing::Vacant)
        .take(usize::try_from(count).unwrap_or(0))
        .collect();
    for slot in vacant {
        fill(desk, run, slot);
    }
}

/// A task for a vacant slot. It waits for what still stops there.
fn fill(desk: &mut Desk<'_>, run: &Run, slot: Slot) {
    let after = desk
        .in_slot(slot)
        .next_back()
        .filter(|newest| newest.desired != DesiredState::Remove)
        .and_then(|newest| desk.still_stopping(newest));
    let gate = Gate {
        not_before: None,
        after,
        dependencies: false,
    };
    let known = desk.service.spec_at(run.spec_version).is_some();
    let spec_version = if known {
        run.spec_version
    } else {
        desk.service.spec_version
    };
    desk.create(slot, spec_version, gate);
}

/// How a run ended of which no slot is left to do.
fn end(desk: &Desk<'_>, slots: &[Slot]) -> End {
    let count = |standing| {
        let slots = slots.iter();
        slots.filter(|slot| stand(desk, **slot) == standing).count() as u64
    };
    let failed = slots
        .iter()
        .filter(|slot| stand(desk, **slot) == Standing::GivenUp)
        .filter_map(|slot| desk.in_slot(*slot).next_back())
        .find(|task| !task.status.err.is_empty());
    let given_up = count(Standing::GivenUp);
    End {
        at: desk.now,
        outcome: if given_up == 0 {
            Outcome::Completed
        } else {
            Outcome::Failed
        },
        completed: count(Standing::Done),
        failed: given_up,
        err: failed.map_or_else(String::new, |task| task.status.err.to_string()),
        exit_code: failed
            .filter(|task| task.has_failed())
            .and_then(|task| task.status.container.as_ref())
            .map(|container| container.exit_code),
    }
}
