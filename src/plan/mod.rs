//! What should change now: `State` and the time go in, a list of `Change`s comes out. Layer: pure.
//!
//! The leader loop calls [`Agenda::pass`] whenever the state has moved or a wake time has come,
//! proposes the changes as one command, waits until that is applied, and calls again until a pass
//! finds nothing to do. Nothing is remembered between passes but which services to look at: all
//! memory of restarts and rollouts is in the state, so a new leader goes on where the last one
//! stopped, with the same decisions.

mod agenda;
mod board;
mod deadline;
mod demand;
mod depends;
mod desk;
mod enforce;
mod explain;
mod field;
mod filters;
mod flight;
mod gate;
mod global;
mod job;
mod judge;
mod kinship;
mod moves;
mod neighbours;
mod obstacles;
mod place;
mod plugins;
mod reap;
mod rebalance;
mod rehearse;
mod remedy;
mod replicas;
mod restart;
mod rollout;
mod room;
mod roster;
mod spread;
mod steps;
mod stopped;
mod view;
mod wait;

pub use agenda::{Agenda, Plan};
pub use explain::{Explanation, WaitingTasks, explain};
pub use obstacles::{Obstacle, Verdict};
pub use rehearse::{Rehearsal, Step, rehearse};
pub use remedy::{Fix, Remedy};
pub use wait::{Stage, Wait};

use crate::spec::{Mode, ServiceId, Timestamp};
use crate::state::{Change, State};
use board::Board;
use desk::Desk;
use judge::Judgement;

/// What a service's rollout waits for, or a job's next run; empty when there is none under way.
/// Any manager can tell, for it is read off the state. What a task waits for is in its `Task::waiting`.
pub fn waits(state: &State, service: ServiceId, now: Timestamp) -> Vec<Wait> {
    let now = now.max(state.clock());
    look(state, service, now, &mut Board::new(state)).waits
}

/// What one look at one service found.
#[derive(Debug, Default)]
struct Look {
    changes: Vec<Change>,
    /// When to look again although nothing has happened.
    wake_at: Option<Timestamp>,
    waits: Vec<Wait>,
}

/// Looks at one service: the steps, in the order in which each sees what those before it changed.
fn look(state: &State, service: ServiceId, now: Timestamp, board: &mut Board<'_>) -> Look {
    let Some(mut desk) = Desk::of(state, service, now) else {
        return reap::remains(state, service, now);
    };
    if desk.service.stopped {
        stopped::settle(&mut desk);
        return desk.close();
    }
    enforce::reject_misplaced(&mut desk, board);
    if judge::count_failures(&mut desk) == Judgement::RollBack {
        // All that follows would be for a spec that is on its way out.
        return desk.close();
    }
    let slots = match &desk.service.spec.mode {
        Mode::Replicated(_) => Some(replicas::settle(&mut desk)),
        Mode::Global(_) => Some(global::settle(&mut desk)),
        Mode::ReplicatedJob(_) | Mode::GlobalJob(_) => None,
    };
    match slots {
        Some(slots) => {
            moves::settle(&mut desk, &slots);
            rollout::step(&mut desk, &slots);
            moves::step(&mut desk, board, &slots);
            rebalance::step(&mut desk, board, &slots);
            restart::repair(&mut desk, &slots);
        }
        None => job::step(&mut desk, board),
    }
    place::place(&mut desk, board);
    gate::open(&mut desk);
    desk.say_what_tasks_wait_for();
    reap::forget(&mut desk);
    job::forget(&mut desk);
    desk.close()
}
