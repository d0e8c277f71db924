//! Why a task is still on a node that it is to leave.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::task::{Slot, Waiting};
use crate::spec::{TaskId, Timestamp};

/// What a running task waits for before it leaves its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stay {
    /// There is no other place for it; holds why. It runs where it is until there is one, or until
    /// the drain's deadline.
    NowhereElse(Box<Waiting>),
    /// As many tasks of its service as may be away at once are, or a rollout will replace it.
    Turn,
    /// Nothing serves in that slot of its service, and that is all that may be down at once.
    Down(Slot),
    /// The service's delay between steps, or after a move that failed, runs until then.
    Delay(Timestamp),
    /// The task that takes its place does not run yet.
    Successor(TaskId),
    /// It belongs to its node and stops after those that can run elsewhere.
    Last,
}

impl Stay {
    /// Whether the task will not leave unless something else changes.
    pub const fn is_blocked(&self) -> bool {
        matches!(self, Self::NowhereElse(_))
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NowhereElse(why) => write!(f, "cannot leave its node: {why}"),
            Self::Turn => f.write_str("waits for its turn to leave its node"),
            Self::Down(slot) => write!(
                f,
                "waits to leave its node: slot {slot} of its service does not run"
            ),
            Self::Delay(until) => write!(f, "leaves its node at {until} at the earliest"),
            Self::Successor(task) => write!(f, "leaves its node once task {task} runs"),
            Self::Last => f.write_str("stops once the other tasks have left its node"),
        }
    }
}
