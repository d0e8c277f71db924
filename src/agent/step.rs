//! The next step of one task: a pure function of what is wanted, what is seen and what was told.
//!
//! A worker calls [`step`], does what it says, looks again and calls it again. Nothing is
//! remembered but [`Facts`], so a worker that starts anew after a crash goes on where the former
//! one stopped.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::runtime::{Health, Phase};
use crate::spec::Timestamp;
use crate::state::assignment::Want;
use crate::state::task::{ContainerStatus, TaskState};

/// What was told of a task, and what must outlive the process that told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) state: TaskState,
    pub(super) at: Timestamp,
    pub(super) message: String,
    pub(super) err: String,
    pub(super) container: Option<ContainerStatus>,
    /// Why it was stopped although it was wanted.
    #[serde(default)]
    pub(super) fate: Option<String>,
    /// Init containers that have completed. The engine knows better: the last one stays until the
    /// next container is made.
    #[serde(default)]
    pub(super) stage: u32,
}

impl Facts {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            state: TaskState::Assigned,
            at,
            message: "assigned".to_owned(),
            err: String::new(),
            container: None,
            fate: None,
            stage: 0,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state > TaskState::Running
    }

    /// A container was started for it: it may not be started again.
    pub(super) fn was_started(&self) -> bool {
        self.state >= TaskState::Starting
    }
}

/// What is known of a task's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// Not looked yet, or something happened since.
    Unknown,
    Absent,
    Present(Phase),
}

/// How far this node's networks are, as far as one task needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NetworksReady {
    /// An engine network is missing: no container can be created. Why, if there is a reason other
    /// than that it is being made.
    Missing(Option<String>),
    /// Addresses and names are not in force yet: the container may be created, not started.
    Behind(Option<String>),
    Ready,
}

/// Everything a step depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    /// `None`: the managers have forgotten the task.
    pub(super) want: Option<Want>,
    pub(super) sight: &'a Sight,
    pub(super) facts: &'a Facts,
    pub(super) networks: &'a NetworksReady,
    /// The engine said that it has no such image.
    pub(super) image_missing: bool,
    /// The application takes connections where others will make them, as far as that is known and
    /// waited for.
    pub(super) open: bool,
    /// What is seen, or is to be made, is an init container.
    pub(super) init: Option<Init<'a>>,
}

/// Which of a task's init containers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Init<'a> {
    pub(super) name: &'a str,
    /// From 1.
    pub(super) place: u32,
    pub(super) total: usize,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Observe,
    Tell(News),
    Pull,
    Create,
    Start,
    /// The init container has done its work: the next container's turn.
    Advance,
    /// See whether the application listens where it publishes.
    Listen,
    Stop,
    /// Stop it although it is wanted, for this reason.
    GiveUp(&'static str),
    Remove,
    /// Nothing, until something changes; with the reason, if it should be told.
    Wait(Option<String>),
    /// Nothing, ever: the task is forgotten and nothing of it is left.
    Forget,
}

/// A new state of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) state: TaskState,
    /// The step, in Docker's words.
    pub(super) message: Cow<'static, str>,
    pub(super) err: String,
}

fn tell(state: TaskState, message: impl Into<Cow<'static, str>>) -> Step {
    Step::Tell(News {
        state,
        message: message.into(),
        err: String::new(),
    })
}

fn failed(err: String) -> Step {
    Step::Tell(News {
        state: TaskState::Failed,
        message: "started".into(),
        err,
    })
}

/// The next step.
pub(super) fn step(situation: &Situation<'_>) -> Step {
    if *situation.sight == Sight::Unknown {
        return Step::Observe;
    }
    match situation.want {
        None => vanish(situation),
        Some(Want::Removed) => remove(situation),
        Some(Want::Stopped) => stop(situation),
        Some(Want::Draining) if !situation.facts.was_started() && !is_running(situation) => {
            // Nobody was ever sent to it: there is nothing to drain.
            stop(situation)
        }
        Some(Want::Ready | Want::Running | Want::Draining) => run(situation),
    }
}

fn is_running(situation: &Situation<'_>) -> bool {
    matches!(situation.sight, Sight::Present(Phase::Running(_)))
}

fn vanish(situation: &Situation<'_>) -> Step {
    match situation.sight {
        Sight::Unknown => Step::Observe,
        Sight::Absent => Step::Forget,
        Sight::Present(Phase::Running(_)) => Step::Stop,
        Sight::Present(Phase::Created | Phase::Exited { .. }) => Step::Remove,
    }
}

fn remove(situation: &Situation<'_>) -> Step {
    match stop(situation) {
        // The managers are told first: its place is free from the moment it has stopped.
        Step::Wait(_) if *situation.sight != Sight::Absent => Step::Remove,
        step => step,
    }
}

fn stop(situation: &Situation<'_>) -> Step {
    if is_running(situation) {
        Step::Stop
    } else if situation.facts.has_ended() {
        Step::Wait(None)
    } else {
        tell(TaskState::Shutdown, "shutdown")
    }
}

fn run(situation: &Situation<'_>) -> Step {
    let facts = situation.facts;
    if facts.has_ended() {
        // A call that was given up on may have had its effect all the same.
        return if is_running(situation) {
            Step::Stop
        } else {
            Step::Wait(None)
        };
    }
    if facts.state < TaskState::Accepted {
        return tell(TaskState::Accepted, "accepted");
    }
    if let Some(init) = situation.init {
        return run_init(situation, init);
    }
    match situation.sight {
        Sight::Unknown => Step::Observe,
        Sight::Absent if facts.was_started() => failed("the container was removed".to_owned()),
        Sight::Absent => prepare(situation),
        Sight::Present(Phase::Created) => launch(situation),
        Sight::Present(Phase::Running(health)) => tend(situation, *health),
        Sight::Present(Phase::Exited {
            code,
            out_of_memory,
            error,
        }) => end(facts, *code, *out_of_memory, error),
    }
}

/// Runs an init container to its end: a part of preparing the task.
fn run_init(situation: &Situation<'_>, init: Init<'_>) -> Step {
    let Init { name, place, total } = init;
    let message = format!("preparing: init {place} of {total} {name}");
    if situation.facts.state < TaskState::Preparing || situation.facts.message != message {
        return tell(TaskState::Preparing, message);
    }
    match situation.sight {
        Sight::Unknown => Step::Observe,
        Sight::Absent => prepare(situation),
        // It may undo what the task before it still works with.
        Sight::Present(Phase::Created) if situation.want == Some(Want::Ready) => Step::Wait(None),
        Sight::Present(Phase::Created) => match situation.networks {
            NetworksReady::Missing(reason) | NetworksReady::Behind(reason) => {
                Step::Wait(reason.clone())
            }
            NetworksReady::Ready => Step::Start,
        },
        Sight::Present(Phase::Running(_)) => Step::Wait(Some(format!(
            "waiting for init container {name} to end ({place} of {total})"
        ))),
        Sight::Present(Phase::Exited { code: 0, .. }) => Step::Advance,
        Sight::Present(Phase::Exited {
            code,
            out_of_memory,
            error,
        }) => Step::Tell(News {
            state: TaskState::Failed,
            message: message.into(),
            err: format!(
                "init container {name}: {}",
                exit_text(None, *code, *out_of_memory, error)
            ),
        }),
    }
}

fn prepare(situation: &Situation<'_>) -> Step {
    if situation.facts.state < TaskState::Preparing {
        return tell(TaskState::Preparing, "preparing");
    }
    match situation.networks {
        NetworksReady::Missing(reason) => Step::Wait(reason.clone()),
        NetworksReady::Behind(_) | NetworksReady::Ready if situation.image_missing => Step::Pull,
        NetworksReady::Behind(_) | NetworksReady::Ready => Step::Create,
    }
}

fn launch(situation: &Situation<'_>) -> Step {
    if situation.facts.state < TaskState::Ready {
        return tell(TaskState::Ready, "prepared");
    }
    if situation.want == Some(Want::Ready) {
        return Step::Wait(None);
    }
    match situation.networks {
        NetworksReady::Missing(reason) | NetworksReady::Behind(reason) => {
            Step::Wait(reason.clone())
        }
        NetworksReady::Ready if situation.facts.state < TaskState::Starting => {
            tell(TaskState::Starting, "starting")
        }
        NetworksReady::Ready => Step::Start,
    }
}

fn tend(situation: &Situation<'_>, health: Health) -> Step {
    let facts = situation.facts;
    if facts.state < TaskState::Starting {
        return tell(TaskState::Starting, "starting");
    }
    if facts.fate.is_some() {
        return Step::Stop;
    }
    match health {
        Health::Unhealthy => Step::GiveUp("unhealthy container"),
        Health::Starting if facts.state == TaskState::Starting => {
            Step::Wait(Some("waiting for its health check to pass".to_owned()))
        }
        Health::Starting => Step::Wait(None),
        Health::Unchecked | Health::Healthy if facts.state == TaskState::Running => {
            Step::Wait(None)
        }
        Health::Unchecked | Health::Healthy => match situation.networks {
            NetworksReady::Missing(reason) | NetworksReady::Behind(reason) => {
                Step::Wait(reason.clone())
            }
            // A health check knows better than we do.
            NetworksReady::Ready if health == Health::Unchecked && !situation.open => Step::Listen,
            NetworksReady::Ready => tell(TaskState::Running, "started"),
        },
    }
}

fn end(facts: &Facts, code: i64, out_of_memory: bool, error: &str) -> Step {
    if facts.fate.is_none() && code == 0 {
        return tell(TaskState::Complete, "finished");
    }
    failed(exit_text(facts.fate.as_deref(), code, out_of_memory, error))
}

fn exit_text(fate: Option<&str>, code: i64, out_of_memory: bool, error: &str) -> String {
    let mut err = format!("task: non-zero exit ({code})");
    let memory = out_of_memory.then_some("killed because it used more memory than its limit");
    let error = Some(error).filter(|error| !error.is_empty());
    for detail in [fate, memory, error].into_iter().flatten() {
        err.push_str(": ");
        err.push_str(detail);
    }
    err
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
