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
    /// A new spec or a rollback must come from the user. Holds why it was paused.
    Paused(String),
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
            Self::Paused(why) => f.write_str(why),
        }
    }
}
