//! Gives every task of the assignment, and every container of the cluster that is in none, a
//! worker; passes on orders and the engine's news.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::{EngineNews, EngineState};
use super::order::{Order, Wanted, orders};
use super::runtime::ListedContainer;
use super::step::Facts;
use super::worker::{Shared, Worker};
use crate::spec::TaskId;
use crate::state::assignment::{Assignment, Stamp};
use crate::state::task::TaskState;

pub(super) struct Core {
    pub(super) shared: Shared,
    pub(super) assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// The assignment that was on disk. It may be older than what runs here: until a manager has
    /// spoken, a container that it does not name is left alone.
    pub(super) kept: Option<Stamp>,
    pub(super) engine: watch::Receiver<EngineState>,
    pub(super) news: mpsc::Receiver<EngineNews>,
}

struct Handle {
    wanted: watch::Sender<Wanted>,
    nudges: watch::Sender<u64>,
    id: tokio::task::Id,
}

/// Each task's containers: its own, and for a moment the init container before it.
type Listed = BTreeMap<TaskId, Vec<ListedContainer>>;

#[derive(Default)]
struct Workers {
    handles: BTreeMap<TaskId, Handle>,
    running: JoinSet<TaskId>,
    /// What the engine listed last; `None` until it has answered once. Nothing is created before:
    /// it might be there already.
    listed: Option<Listed>,
}

impl Core {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut workers = Workers::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.assignment.changed() => self.reconcile(&mut workers),
                Some(news) = self.news.recv() => self.hear(&mut workers, news),
                Ok(()) = self.engine.changed(), if workers.listed.is_none() => {
                    self.reconcile(&mut workers);
                }
                Some(ended) = workers.running.join_next_with_id() => {
                    let id = match &ended {
                        Ok((id, _)) => *id,
                        Err(error) => {
                            tracing::error!(%error, "a task's worker died");
                            error.id()
                        }
                    };
                    workers.handles.retain(|_, handle| handle.id != id);
                    if let (Ok((_, task)), Some(listed)) = (ended, &mut workers.listed) {
                        // Its container is gone.
                        listed.remove(&task);
                    }
                    self.reconcile(&mut workers);
                }
            }
        }
    }

    fn hear(&mut self, workers: &mut Workers, news: EngineNews) {
        match news {
            EngineNews::Event(event) => {
                if let Some(task) = event.task {
                    workers.nudge(task);
                }
            }
            EngineNews::Back(containers) => {
                workers.listed = Some(by_task(containers));
                for handle in workers.handles.values() {
                    handle.nudges.send_modify(|nudges| *nudges += 1);
                }
                self.reconcile(workers);
            }
            EngineNews::Compare(containers) => {
                let listed = by_task(containers);
                for task in self.doubtful(workers, &listed) {
                    workers.nudge(task);
                }
                workers.listed = Some(listed);
                self.reconcile(workers);
            }
        }
    }

    /// Tasks of which the engine says something else than was told.
    fn doubtful(&self, workers: &Workers, listed: &Listed) -> Vec<TaskId> {
        let facts = self.shared.board.facts();
        let differs = |task: &TaskId| {
            let told = facts.get(task).map(|facts| facts.state);
            let told_running = matches!(told, Some(TaskState::Starting | TaskState::Running));
            let runs = listed
                .get(task)
                .is_some_and(|containers| containers.iter().any(|container| container.running));
            told_running != runs
        };
        workers.handles.keys().copied().filter(differs).collect()
    }

    fn reconcile(&mut self, workers: &mut Workers) {
        let assignment = self.assignment.borrow_and_update().clone();
        let Some(assignment) = assignment else {
            return;
        };
        let Some(listed) = &workers.listed else {
            return self.explain(&assignment);
        };
        let first = |task| match workers
            .handles
            .get(&task)
            .map(|handle| handle.wanted.borrow())
        {
            Some(wanted) => match &*wanted {
                Wanted::Assigned(order) => order.since,
                Wanted::Gone => assignment.stamp,
            },
            None => assignment.stamp,
        };
        let orders = orders(&assignment, first);
        let assigned: BTreeSet<TaskId> = assignment.tasks.iter().map(|task| task.id).collect();
        let is_from_disk = self.kept == Some(assignment.stamp);
        let orphans: Vec<TaskId> = listed
            .keys()
            .filter(|_| !is_from_disk)
            .filter(|task| !assigned.contains(task) && !workers.handles.contains_key(task))
            .copied()
            .collect();
        for (task, handle) in &workers.handles {
            if !assigned.contains(task) {
                set(&handle.wanted, Wanted::Gone);
            }
        }
        for (task, order) in orders {
            self.give(workers, task, order);
        }
        for task in orphans {
            tracing::warn!(%task, "removing a container that no task of this node accounts for");
            self.spawn(workers, task, Wanted::Gone);
        }
    }

    /// No task has a worker before the engine has answered once. Nothing waits without a reason.
    fn explain(&mut self, assignment: &Assignment) {
        let engine = self.engine.borrow_and_update().clone();
        for task in &assignment.tasks {
            let known = self.shared.board.facts_of(task.id);
            let mut facts = known.unwrap_or_else(|| Facts::new(self.shared.clock.now()));
            if facts.state < TaskState::Starting && !engine.reason.is_empty() {
                if facts.state < TaskState::Accepted {
                    facts.state = TaskState::Accepted;
                    facts.message = "accepted".to_owned();
                }
                facts.err.clone_from(&engine.reason);
                self.shared.board.put(task.id, &facts);
            }
        }
    }

    fn give(&self, workers: &mut Workers, task: TaskId, order: Order) {
        let wanted = Wanted::Assigned(Arc::new(order));
        match workers.handles.get(&task) {
            Some(handle) => set(&handle.wanted, wanted),
            None => self.spawn(workers, task, wanted),
        }
    }

    fn spawn(&self, workers: &mut Workers, task: TaskId, wanted: Wanted) {
        let wanted = watch::Sender::new(wanted);
        let nudges = watch::Sender::new(0);
        let listed = workers.listed.as_ref();
        let containers = listed.and_then(|listed| listed.get(&task).cloned());
        let worker = Worker::new(
            self.shared.clone(),
            task,
            wanted.subscribe(),
            nudges.subscribe(),
            containers.unwrap_or_default(),
        );
        let id = workers.running.spawn(worker.run()).id();
        workers.handles.insert(task, Handle { wanted, nudges, id });
    }
}

impl Workers {
    fn nudge(&self, task: TaskId) {
        if let Some(handle) = self.handles.get(&task) {
            handle.nudges.send_modify(|nudges| *nudges += 1);
        }
    }
}

fn set(wanted: &watch::Sender<Wanted>, next: Wanted) {
    wanted.send_if_modified(|wanted| {
        let modified = *wanted != next;
        *wanted = next;
        modified
    });
}

fn by_task(containers: Vec<ListedContainer>) -> Listed {
    let mut listed = Listed::new();
    for container in containers {
        if let Some(task) = container.task {
            listed.entry(task).or_default().push(container);
        }
    }
    listed
}
