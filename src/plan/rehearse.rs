//! What would happen: a change is made to a copy of the state, and the planner works on that copy
//! until it comes to rest. Nothing of it is proposed.
//!
//! The rest of the world stands still meanwhile: every container starts and stops within a second,
//! and no other service is looked at.

use super::board::Board;
use super::look;
use crate::spec::{Nanos, NodeId, ServiceId, TaskId, Timestamp};
use crate::state::command::{NewTask, TaskReport};
use crate::state::service::RolloutState;
use crate::state::task::{DesiredState, Slot, TaskState, Waiting};
use crate::state::{Change, Command, Op, Rejected, Reply, State, Task};

/// How long a container takes to start or to stop.
const TICK: Nanos = Nanos::from_secs(1);
/// Steps after which the rest is left out.
const STEPS: usize = 5_000;
/// Rounds after which a service that never comes to rest is left.
const ROUNDS: usize = 20_000;

/// What would happen, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rehearsal {
    pub steps: Vec<(Nanos, Step)>,
    /// There would be more of them.
    pub cut_short: bool,
    /// What still waits when nothing happens any more.
    pub waiting: Vec<(Slot, Waiting)>,
}

/// One thing that would happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A slot's task is told to stop.
    Stop {
        slot: Slot,
        image: String,
        node: String,
    },
    /// A task is made for a slot.
    Make { slot: Slot, image: String },
    /// A task goes to a node.
    Place {
        slot: Slot,
        image: String,
        node: String,
    },
    Run {
        slot: Slot,
        image: String,
        node: String,
    },
    /// A task waits for something that does not pass by itself within the step.
    Wait { slot: Slot, why: Waiting },
    Rollout {
        state: RolloutState,
        message: String,
    },
}

/// Rehearses a change of one service.
pub fn rehearse(
    state: &State,
    op: Op,
    service: ServiceId,
    now: Timestamp,
) -> Result<Rehearsal, Rejected> {
    let begin = now.max(state.clock());
    let mut stage = Stage {
        state: state.clone(),
        service,
        begin,
        now: begin,
        rehearsal: Rehearsal::default(),
    };
    if let Reply::Rejected(why) = stage.apply(op) {
        return Err(why);
    }
    for _ in 0..ROUNDS {
        let wake = stage.plan();
        let acted = stage.act();
        if stage.rehearsal.steps.len() >= STEPS {
            stage.rehearsal.cut_short = true;
            break;
        }
        match wake {
            _ if acted => {}
            // What the clock brings later is no part of the change.
            Some(_) if stage.is_scheduled() => break,
            Some(at) => stage.now = at.max(stage.now + Nanos(1)),
            None => break,
        }
    }
    Ok(stage.end())
}

struct Stage {
    state: State,
    service: ServiceId,
    begin: Timestamp,
    now: Timestamp,
    rehearsal: Rehearsal,
}

impl Stage {
    fn is_scheduled(&self) -> bool {
        let service = self.state.service(self.service);
        service.is_some_and(|service| service.spec.schedule().is_some())
    }

    fn apply(&mut self, op: Op) -> Reply {
        let index = self.state.index() + 1;
        self.state.apply(index, Command { at: self.now, op })
    }

    /// Lets the planner come to rest; when it wants to look again.
    fn plan(&mut self) -> Option<Timestamp> {
        loop {
            let at = self.now.max(self.state.clock());
            let look = look(&self.state, self.service, at, &mut Board::new(&self.state));
            if look.changes.is_empty() || self.rehearsal.steps.len() >= STEPS {
                return look.wake_at;
            }
            // One by one, so that each is told in the state that it lands on.
            for change in look.changes {
                self.note(&change);
                self.apply(Op::Plan(vec![change]));
            }
        }
    }

    /// Lets every container of the service come to what is wanted of it.
    fn act(&mut self) -> bool {
        let mut reports = Vec::new();
        let mut tasks: Vec<_> = self.state.tasks_of(self.service).collect();
        tasks.sort_by_key(|task| (task.slot, task.meta.created_at));
        for task in tasks {
            let down = task
                .node
                .and_then(|node| self.state.node(node))
                .is_none_or(|node| node.is_down());
            let next = match task.desired {
                _ if task.has_ended() || down => continue,
                DesiredState::Ready => TaskState::Ready,
                DesiredState::Running
                    if task.slot.run().is_some() && task.status.state == TaskState::Running =>
                {
                    TaskState::Complete
                }
                DesiredState::Running => TaskState::Running,
                DesiredState::Shutdown | DesiredState::Remove => TaskState::Shutdown,
            };
            if let Some(node) = task.node.filter(|_| next > task.status.state) {
                reports.push(TaskReport {
                    node,
                    task: task.id,
                    state: next,
                    at: self.now,
                    message: String::new(),
                    err: String::new(),
                    container: None,
                });
            }
        }
        if reports.is_empty() {
            return false;
        }
        self.now = self.now + TICK;
        let running: Vec<Step> = reports
            .iter()
            .filter(|report| report.state == TaskState::Running)
            .filter_map(|report| self.state.task(report.task))
            .map(|task| Step::Run {
                slot: task.slot,
                image: self.image(task.spec_version),
                node: self.node_of(task),
            })
            .collect();
        for step in running {
            self.step(step);
        }
        self.apply(Op::Report(reports));
        true
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::CreateTask(new) => self.note_new(new),
            Change::ReplaceTask {
                old,
                old_desired,
                new,
            } => {
                self.note_stop(*old, *old_desired);
                self.note_new(new);
            }
            Change::SetDesired { task, desired } => self.note_stop(*task, *desired),
            Change::Assign { task, node } => self.note_place(*task, *node),
            Change::SetWaiting {
                task,
                waiting: Some(why),
            } => {
                if let Some(task) = self.state.task(*task) {
                    let step = Step::Wait {
                        slot: task.slot,
                        why: Waiting::clone(why),
                    };
                    self.step(step);
                }
            }
            Change::SetRollout { rollout, .. } => {
                let known = self.state.service(self.service);
                let known = known.and_then(|service| service.rollout.as_ref());
                if known.map(|known| known.state) != Some(rollout.state) {
                    self.step(Step::Rollout {
                        state: rollout.state,
                        message: rollout.message.clone(),
                    });
                }
            }
            Change::RollBack { message, .. } => self.step(Step::Rollout {
                state: RolloutState::RollbackStarted,
                message: message.clone(),
            }),
            _ => {}
        }
    }

    fn note_stop(&mut self, task: TaskId, desired: DesiredState) {
        let Some(task) = self.state.task(task).cloned() else {
            return;
        };
        if desired >= DesiredState::Shutdown && task.is_wanted() && task.occupies_node() {
            self.step(Step::Stop {
                slot: task.slot,
                image: self.image(task.spec_version),
                node: self.node_of(&task),
            });
        }
    }

    fn note_new(&mut self, new: &NewTask) {
        let (slot, image) = (new.slot, self.image(new.spec_version));
        self.step(Step::Make {
            slot,
            image: image.clone(),
        });
        if let Some(node) = new.node {
            let node = self.name_of(node);
            self.step(Step::Place { slot, image, node });
        }
    }

    fn note_place(&mut self, task: TaskId, node: NodeId) {
        let node = self.name_of(node);
        let known = self.state.task(task);
        let of_task = known.map(|task| (task.slot, self.image(task.spec_version)));
        if let Some((slot, image)) = of_task {
            self.step(Step::Place { slot, image, node });
        }
    }

    fn step(&mut self, step: Step) {
        let after = self.now - self.begin;
        self.rehearsal.steps.push((after, step));
    }

    fn image(&self, version: u64) -> String {
        let service = self.state.service(self.service);
        let spec = service.and_then(|service| service.spec_at(version));
        spec.map_or_else(String::new, |spec| {
            spec.task_template.container_spec.image.clone()
        })
    }

    fn node_of(&self, task: &Task) -> String {
        task.node
            .map_or_else(|| "-".to_owned(), |node| self.name_of(node))
    }

    fn name_of(&self, node: NodeId) -> String {
        self.state.node(node).map_or_else(
            || node.to_string(),
            |node| node.description.hostname.clone(),
        )
    }

    fn end(mut self) -> Rehearsal {
        let mut waiting: Vec<(Slot, Waiting)> = self
            .state
            .tasks_of(self.service)
            .filter(|task| task.is_wanted() && !task.has_ended())
            .filter_map(|task| Some((task.slot, Waiting::clone(task.waiting.as_ref()?))))
            .collect();
        waiting.sort_by_key(|(slot, _)| *slot);
        self.rehearsal.waiting = waiting;
        self.rehearsal
    }
}
