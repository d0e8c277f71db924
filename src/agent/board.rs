//! What was told of every task of this node: written by the workers, read by whoever reports,
//! persists or keeps dead containers out of the tables.
//!
//! One short lock, never held across an await. Reports coalesce: a slow reader sees the newest
//! state of each task, so the queue is never longer than the tasks of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::step::Facts;
use crate::spec::{NodeId, TaskId};
use crate::state::command::TaskReport;

#[derive(Debug)]
pub(super) struct Board {
    node: NodeId,
    inner: Mutex<Inner>,
    /// Something is there to report.
    unsent: Notify,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    facts: BTreeMap<TaskId, Facts>,
    unsent: BTreeSet<TaskId>,
    /// Tasks whose container was seen not to run after it had run.
    dead: BTreeSet<TaskId>,
}

impl Board {
    pub(super) fn new(node: NodeId, facts: BTreeMap<TaskId, Facts>) -> Arc<Self> {
        let ended = facts.iter().filter(|(_, facts)| facts.has_ended());
        Arc::new(Self {
            node,
            inner: Mutex::new(Inner {
                dead: ended.map(|(task, _)| *task).collect(),
                facts,
                unsent: BTreeSet::new(),
            }),
            unsent: Notify::new(),
            changed: watch::Sender::new(0),
        })
    }

    pub(super) fn facts_of(&self, task: TaskId) -> Option<Facts> {
        self.inner().facts.get(&task).cloned()
    }

    pub(super) fn facts(&self) -> BTreeMap<TaskId, Facts> {
        self.inner().facts.clone()
    }

    /// Notes what is to be told of a task. Nothing happens if it was told already.
    pub(super) fn put(&self, task: TaskId, facts: &Facts) {
        let mut inner = self.inner();
        let before = inner.facts.insert(task, facts.clone());
        if before.as_ref() == Some(facts) {
            return;
        }
        if facts.has_ended() {
            inner.dead.insert(task);
        }
        let told = before.is_some_and(|before| same_news(&before, facts));
        if !told {
            inner.unsent.insert(task);
        }
        drop(inner);
        if !told {
            self.unsent.notify_one();
        }
        self.count();
    }

    /// Notes that a task's container does not run (any more), or does after all.
    pub(super) fn set_dead(&self, task: TaskId, dead: bool) {
        let mut inner = self.inner();
        let changed = match dead {
            true => inner.dead.insert(task),
            false => inner.dead.remove(&task),
        };
        drop(inner);
        if changed {
            self.count();
        }
    }

    pub(super) fn dead(&self) -> BTreeSet<TaskId> {
        self.inner().dead.clone()
    }

    /// Forgets a task; what was not reported yet never is.
    pub(super) fn remove(&self, task: TaskId) {
        let mut inner = self.inner();
        inner.unsent.remove(&task);
        inner.dead.remove(&task);
        let known = inner.facts.remove(&task).is_some();
        drop(inner);
        if known {
            self.count();
        }
    }

    /// Counts up with every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Every task's newest state.
    pub(super) fn full_report(&self) -> Vec<TaskReport> {
        let inner = self.inner();
        inner
            .facts
            .iter()
            .map(|(task, facts)| self.report(*task, facts))
            .collect()
    }

    /// The newest state of each task that has changed since the last call; waits for one.
    pub(super) async fn next_reports(&self) -> Vec<TaskReport> {
        loop {
            let ready = self.unsent.notified();
            let reports = self.take_unsent();
            if !reports.is_empty() {
                return reports;
            }
            ready.await;
        }
    }

    fn take_unsent(&self) -> Vec<TaskReport> {
        let mut inner = self.inner();
        let unsent = std::mem::take(&mut inner.unsent);
        unsent
            .into_iter()
            .filter_map(|task| Some(self.report(task, inner.facts.get(&task)?)))
            .collect()
    }

    fn report(&self, task: TaskId, facts: &Facts) -> TaskReport {
        TaskReport {
            node: self.node,
            task,
            state: facts.state,
            at: facts.at,
            message: facts.message.clone(),
            err: facts.err.clone(),
            container: facts.container.clone(),
        }
    }

    fn count(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves the tables whole, so a panic elsewhere does not matter.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a reader who knows `before` learns nothing from `now`.
fn same_news(before: &Facts, now: &Facts) -> bool {
    before.state == now.state
        && before.message == now.message
        && before.err == now.err
        && before.container == now.container
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Timestamp;
    use crate::state::task::TaskState;

    fn facts(state: TaskState) -> Facts {
        Facts {
            state,
            ..Facts::new(Timestamp(1))
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_state_of_each_task_once() {
        let board = Board::new(NodeId::from_bits(1), BTreeMap::new());
        let (one, two) = (TaskId::from_bits(1), TaskId::from_bits(2));
        for state in [
            TaskState::Accepted,
            TaskState::Preparing,
            TaskState::Running,
        ] {
            board.put(one, &facts(state));
        }
        board.put(two, &facts(TaskState::Accepted));
        let states: Vec<_> = board
            .next_reports()
            .await
            .iter()
            .map(|report| (report.task, report.state))
            .collect();
        assert_eq!(
            states,
            [(one, TaskState::Running), (two, TaskState::Accepted)]
        );
        board.put(one, &facts(TaskState::Running));
        board.put(two, &facts(TaskState::Failed));
        let again = board.next_reports().await;
        assert_eq!(again.len(), 1);
        assert_eq!(board.full_report().len(), 2);
        assert_eq!(board.dead(), BTreeSet::from([two]));
    }
}
