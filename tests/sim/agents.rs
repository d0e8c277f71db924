//! Fake agents: every node's containers, moved on one step a second by what is wanted of them.

use std::collections::{BTreeMap, BTreeSet};

use swarmr::spec::id::Ids;
use swarmr::spec::{NodeId, TaskId, Timestamp};
use swarmr::state::command::TaskReport;
use swarmr::state::task::{ContainerStatus, DesiredState, TaskState};
use swarmr::state::{State, Task};

/// How containers of an image behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Image {
    #[default]
    Works,
    /// Nobody has it.
    Missing,
    /// Exits with 1 when started.
    Fails,
    /// Never becomes healthy.
    Hangs,
    /// The engine never gets it started.
    Stalls,
    /// Does not stop when told to.
    Stays,
    /// Exits with 1 after so many seconds.
    Crashes(u64),
    /// Exits with 0 after so many seconds.
    Exits(u64),
}

#[derive(Debug)]
pub(super) struct Agents {
    /// Nodes that are not up: their containers go on, but nobody hears of them.
    down: BTreeSet<NodeId>,
    /// Nodes on which every container fails.
    broken: BTreeSet<NodeId>,
    images: BTreeMap<String, Image>,
    containers: BTreeMap<TaskId, Container>,
    /// For steps that take a random time; `None` when each takes a second.
    jitter: Option<Ids>,
}

#[derive(Debug, Clone)]
struct Container {
    state: TaskState,
    /// Seconds in that state.
    age: u64,
    /// Seconds that it stays in that state before the next step.
    patience: u64,
    /// Init containers that have run.
    inits: usize,
}

impl Agents {
    pub(super) const fn new() -> Self {
        Self {
            down: BTreeSet::new(),
            broken: BTreeSet::new(),
            images: BTreeMap::new(),
            containers: BTreeMap::new(),
            jitter: None,
        }
    }

    /// Makes every step take one to four seconds.
    pub(super) fn jitter(&mut self, seed: u64) {
        self.jitter = Some(Ids::new(seed, 0));
    }

    pub(super) fn set_up(&mut self, node: NodeId, up: bool) {
        if up {
            self.down.remove(&node);
        } else {
            self.down.insert(node);
        }
    }

    pub(super) fn break_node(&mut self, node: NodeId) {
        self.broken.insert(node);
    }

    pub(super) fn set_image(&mut self, image: &str, behaviour: Image) {
        self.images.insert(image.to_owned(), behaviour);
    }

    /// Whether a container really runs, whatever is known of it.
    pub(super) fn runs(&self, task: TaskId) -> bool {
        self.containers
            .get(&task)
            .is_some_and(|container| container.state == TaskState::Running)
    }

    /// Ends a running container with that state, as a crash would.
    pub(super) fn end(&mut self, task: TaskId, state: TaskState) -> bool {
        match self.containers.get_mut(&task) {
            Some(container) if container.state == TaskState::Running => {
                container.state = state;
                container.age = 0;
                true
            }
            _ => false,
        }
    }

    /// Lets a container have completed, whatever is wanted of it.
    pub(super) fn complete(&mut self, task: TaskId) {
        if let Some(container) = self.containers.get_mut(&task) {
            container.state = TaskState::Complete;
        }
    }

    /// One second of all agents; what they report.
    pub(super) fn act(&mut self, state: &State, now: Timestamp) -> Vec<TaskReport> {
        let mut reports = Vec::new();
        let mut known = BTreeSet::new();
        for node in state.nodes() {
            for task in state.tasks_on(node.id) {
                known.insert(task.id);
                if self.down.contains(&node.id) {
                    continue;
                }
                let image = self.image_of(state, task);
                let container = match self.next_init(state, task) {
                    Some(init) => self.prepare(task, init),
                    None => self.step(task, image),
                };
                if container > task.status.state {
                    let report = report(node.id, task.id, container, now);
                    reports.push(TaskReport {
                        container: (image != Image::Stalls).then(|| process(container)),
                        ..report
                    });
                }
            }
        }
        self.containers.retain(|task, _| known.contains(task));
        reports
    }

    fn image_of(&self, state: &State, task: &Task) -> Image {
        if task.node.is_some_and(|node| self.broken.contains(&node)) {
            return Image::Fails;
        }
        state
            .service(task.service)
            .and_then(|service| service.spec_at(task.spec_version))
            .and_then(|spec| self.images.get(&spec.task_template.container_spec.image))
            .copied()
            .unwrap_or_default()
    }

    /// How the init container behaves whose turn it is.
    fn next_init(&self, state: &State, task: &Task) -> Option<Image> {
        let service = state.service(task.service)?;
        let spec = service.spec_at(task.spec_version)?;
        let done = self.containers.get(&task.id).map_or(0, |it| it.inits);
        let init = spec.swarmr.as_ref()?.init_containers.get(done)?;
        let image = self.images.get(&init.image).copied();
        let prepares = task.is_wanted() && !task.has_ended();
        prepares.then(|| image.unwrap_or_default())
    }

    /// A second of an init container: only a task that may start runs any.
    fn prepare(&mut self, task: &Task, init: Image) -> TaskState {
        let container = self.containers.entry(task.id).or_insert(Container {
            state: TaskState::Preparing,
            age: 0,
            patience: 1,
            inits: 0,
        });
        if task.desired == DesiredState::Running && container.state <= TaskState::Running {
            match init {
                Image::Fails => container.state = TaskState::Failed,
                Image::Missing => container.state = TaskState::Rejected,
                Image::Hangs => {}
                _ => container.inits += 1,
            }
        }
        container.state
    }

    fn step(&mut self, task: &Task, image: Image) -> TaskState {
        let patience = self
            .jitter
            .as_mut()
            .map_or(1, |ids| u64::try_from(ids.next_bits() % 4).unwrap_or(0) + 1);
        let container = self.containers.entry(task.id).or_insert(Container {
            // A container is only made for a task that is new to its agent.
            state: task.status.state,
            age: 0,
            patience,
            inits: 0,
        });
        container.age += 1;
        let next = next_state(task, container, image);
        if next != container.state {
            *container = Container {
                state: next,
                age: 0,
                patience,
                inits: container.inits,
            };
        }
        container.state
    }
}

fn next_state(task: &Task, container: &Container, image: Image) -> TaskState {
    let state = container.state;
    let patient = container.age < container.patience;
    if state > TaskState::Running {
        return state;
    }
    if task.desired >= DesiredState::Shutdown {
        let started = state >= TaskState::Starting;
        return if started && (patient || image == Image::Stays) {
            state
        } else {
            TaskState::Shutdown
        };
    }
    match state {
        TaskState::Running => match image {
            Image::Crashes(after) if container.age >= after => TaskState::Failed,
            Image::Exits(after) if container.age >= after => TaskState::Complete,
            _ => state,
        },
        _ if patient => state,
        TaskState::Ready | TaskState::Starting if task.desired == DesiredState::Running => {
            match image {
                Image::Fails => TaskState::Failed,
                Image::Hangs | Image::Stalls => TaskState::Starting,
                _ => TaskState::Running,
            }
        }
        TaskState::Ready | TaskState::Starting => state,
        _ if image == Image::Missing => TaskState::Rejected,
        _ => TaskState::Ready,
    }
}

fn report(node: NodeId, task: TaskId, state: TaskState, at: Timestamp) -> TaskReport {
    let err = match state {
        TaskState::Failed => "task: non-zero exit (1)",
        TaskState::Rejected => "No such image",
        _ => "",
    };
    TaskReport {
        node,
        task,
        state,
        at,
        message: String::new(),
        err: err.to_owned(),
        container: None,
    }
}

/// A container's process, where it has one.
fn process(state: TaskState) -> ContainerStatus {
    let runs = matches!(state, TaskState::Starting | TaskState::Running);
    ContainerStatus {
        pid: i64::from(runs),
        ..ContainerStatus::default()
    }
}
