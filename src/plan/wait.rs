//! What a rollout or a job's next run waits for.

use std::fmt;

use crate::spec::{TaskId, Timestamp};
use crate::state::dependency::Unmet;

/// Why the next step is not taken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// As many slots as may be in flight are: these tasks must run first. What each of them waits
    /// for is in its `Task::waiting`.
    InFlight(Vec<TaskId>),
    /// The delay between steps runs until then.
    Delay(Timestamp),
    /// All slots are replaced; the last ones are watched until then.
    Monitor(Timestamp),
    /// A service that updates wait for is not that far.
    Dependency(Unmet),
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
    /// A job's next run is due then.
    NextRun(Timestamp),
    /// The user has suspended the schedule.
    Suspended,
    /// The schedule names no times that this version understands. Holds why.
    NoTimes(String),
    /// Tasks of runs that were stopped for a new one are still stopping.
    RunsStopping(Vec<TaskId>),
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
            Self::Dependency(unmet) => unmet.fmt(f),
            Self::Paused(why) => f.write_str(why),
            Self::NextRun(at) => write!(f, "next run at {at}"),
            Self::Suspended => f.write_str("the schedule is suspended"),
            Self::NoTimes(why) => write!(f, "the schedule cannot be read: {why}"),
            Self::RunsStopping(tasks) => {
                let plural = if tasks.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "waiting for {} task{plural} of former runs to stop",
                    tasks.len()
                )
            }
        }
    }
}
