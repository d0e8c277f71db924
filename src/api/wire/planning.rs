//! Why tasks wait, and what a change would do: `GET /swarmr/v1/services/NAME/explain`,
//! `POST /swarmr/v1/services/NAME/plan`.

use serde::{Deserialize, Serialize};

use crate::spec::Nanos;

/// Everything that a service waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Explanation {
    /// Its name.
    pub service: String,
    /// Tasks that wait, those together that wait for the same.
    pub waiting: Vec<WaitingTasks>,
    /// What its rollout waits for.
    pub rollout: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitingTasks {
    /// `web.1`, and for a global service `web.NODE`.
    pub tasks: Vec<String>,
    pub image: String,
    pub reason: String,
    /// What each node says, where they wait for a node.
    pub nodes: Vec<NodeVerdict>,
    /// Changes of which each would let one of them run, the smallest first; each was tried on a
    /// copy.
    pub remedies: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeVerdict {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    /// Empty where it takes the task.
    pub obstacles: Vec<Obstacle>,
}

/// One thing that keeps a node from taking a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Obstacle {
    /// The filter that says no, in the words of `service ps`.
    pub filter: String,
    pub reason: String,
}

/// What would happen, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Rehearsal {
    pub steps: Vec<Step>,
    /// There would be more steps.
    pub cut_short: bool,
    /// What would still wait in the end.
    pub waiting: Vec<StillWaiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Step {
    /// Time since the change, if every container starts and stops within a second.
    pub after: Nanos,
    /// `stop`, `make`, `place`, `run`, `wait` or `rollout`.
    pub action: String,
    pub task: String,
    pub image: String,
    pub node: String,
    /// What is waited for, or how the rollout stands.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StillWaiting {
    pub task: String,
    pub reason: String,
}
