//! What a rollout waits for.

use std::fmt;

use crate::spec::{TaskId, Timestamp};

/// Why a rollout does not take its next step now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// As many slots as may be in flight are: these tasks must run first. What each of them waits
    /// for is in its `Task::waiting`.
    InFlight(Vec<TaskId>),
    /// The delay between steps runs until then.
    Delay(Timestamp),
    /// All slots are replaced; the last ones are watched until then.
    Monitor(Timestamp),
    /// Of the slots, as many have the new spec as this step allows; somebody must promote it.
    Promotion { step: Stage },
    /// The same, but the next step follows by itself then.
    Step { step: Stage, until: Timestamp },
    /// Somebody paused it, and must resume it.
    PausedByUser,
    /// A new spec, a rollback or a resumption must come from the user. Holds why it was paused.
    Paused(String),
    /// The service is stopped.
    Stopped,
}

/// Where an update with steps is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// From 1.
    pub number: u64,
    pub of: u64,
    /// Slots that may have the new spec, of all.
    pub slots: u64,
    pub total: u64,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "step {} of {} ({} of {} tasks)",
            self.number, self.of, self.slots, self.total
        )
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(tasks) => {
                let plural = if tasks.len() == 1 { "" } else { "s" };
                write!(f, "waiting for {} task{plural} to run", tasks.len())
            }
            Self::Delay(until) => write!(f, "next step at {until}"),
            Self::Monitor(until) => write!(f, "watched for failures until {until}"),
            Self::Promotion { step } => write!(f, "waiting for promotion after {step}"),
            Self::Step { step, until } => write!(f, "{step} is done, the next at {until}"),
            Self::PausedByUser => f.write_str("paused by the user"),
            Self::Stopped => f.write_str("the service is stopped"),
            Self::Paused(why) => f.write_str(why),
        }
    }
}
