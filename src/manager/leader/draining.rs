//! Which stopping tasks are out of every node's tables, so that they may be signalled.
//!
//! A task that is to stop leaves the backends of all assignments first. Only when every node that
//! answers has confirmed tables made after that does its own node hear "stop": no new connection
//! can reach a task that was told to end. Confirmations are waited for, not slept for; a node that
//! stays silent is not waited for beyond [`PATIENCE`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::sessions::Sessions;
use crate::spec::TaskId;
use crate::state::State;
use crate::state::assignment::Stamp;
use crate::state::node::NodeState;
use crate::state::task::{DesiredState, TaskState};

/// How long one silent node can hold up a stop.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Draining {
    tasks: BTreeMap<TaskId, Drain>,
    /// The index up to which tasks were looked at.
    looked_at: u64,
}

#[derive(Debug, Clone, Copy)]
struct Drain {
    /// Tables made at this stamp or later do not name it.
    since: Stamp,
    deadline: Instant,
    done: bool,
}

impl Draining {
    /// Takes note of the tasks that stop in this state; assignments stamped `stamp` or later leave
    /// them out.
    pub(super) fn note(&mut self, state: &State, stamp: Stamp) {
        let mut touched: BTreeSet<TaskId> = self.tasks.keys().copied().collect();
        for service in state.touched().services_since(self.looked_at) {
            touched.extend(state.tasks_of(service).map(|task| task.id));
        }
        self.looked_at = state.index();
        for id in touched {
            let stopping = state.task(id).filter(|task| {
                task.desired >= DesiredState::Shutdown && !task.has_ended() && task.node.is_some()
            });
            let Some(task) = stopping else {
                self.tasks.remove(&id);
                continue;
            };
            self.tasks.entry(id).or_insert_with(|| Drain {
                since: stamp,
                deadline: Instant::now() + PATIENCE,
                // One that never served is in nobody's tables.
                done: task.status.state < TaskState::Running,
            });
        }
    }

    /// The tasks that may be signalled.
    pub(super) fn drained(&self) -> BTreeSet<TaskId> {
        self.tasks
            .iter()
            .filter(|(_, drain)| drain.done)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Looks at what sessions have confirmed; whether a task may be signalled that could not before.
    pub(super) fn confirm(&mut self, state: &State, sessions: &Sessions) -> bool {
        if self.tasks.values().all(|drain| drain.done) {
            return false;
        }
        let waited_for: Vec<_> = state
            .nodes()
            .filter(|node| node.status.state == NodeState::Ready)
            .map(|node| node.id)
            .collect();
        let now = Instant::now();
        let mut news = false;
        for drain in self.tasks.values_mut().filter(|drain| !drain.done) {
            drain.done = now >= drain.deadline
                || waited_for
                    .iter()
                    .all(|node| sessions.has_in_force(*node, drain.since));
            news |= drain.done;
        }
        news
    }

    /// When a task stops being waited for, if any is.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.tasks
            .values()
            .filter(|drain| !drain.done)
            .map(|drain| drain.deadline)
            .min()
    }

    /// Whether a task's patience has run out.
    pub(super) fn is_due(&self) -> bool {
        self.next_deadline()
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}
