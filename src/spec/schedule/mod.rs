//! When a job runs by the clock, and what becomes of times at which it cannot.

mod clock;
mod cron;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::nullable::{is_default, nullable};
use super::time::Nanos;

pub use clock::{Clock, ClockError};
pub use cron::{Cron, CronError};

/// `Swarmr.Schedule` of a job's spec. Docker's clients see a job; each due time is a run of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week; or a word such as `@daily`.
    #[serde(deserialize_with = "nullable")]
    pub cron: String,
    /// A name of the IANA's database such as `Europe/Rome`. Empty is UTC.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub time_zone: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub concurrency: Concurrency,
    /// How late a run may start, when no manager led at its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_window: Option<Nanos>,
    /// How many runs are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_runs: Option<u64>,
    /// Nothing is due until this is taken back; times that pass meanwhile are not made up for.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub suspended: bool,
    /// What this version does not know. Refused when it is sent; kept when it is read, for a newer
    /// manager may have written it.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// What a due time means while an earlier run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Concurrency {
    /// Another run beside it.
    Allow,
    /// No run.
    #[default]
    Forbid,
    /// The earlier run is stopped first.
    Replace,
}

impl Schedule {
    /// Default of `missed_window`.
    pub const MISSED_WINDOW: Nanos = Nanos::from_secs(10 * 60);
    /// Default of `history_runs`.
    pub const HISTORY_RUNS: u64 = 10;
    /// Most runs that can be remembered: they are part of the replicated state.
    pub const MOST_HISTORY_RUNS: u64 = 100;
    /// Most runs side by side with `Concurrency::Allow`.
    pub const MOST_AT_ONCE: u64 = 10;

    pub fn missed_window(&self) -> Nanos {
        self.missed_window.unwrap_or(Self::MISSED_WINDOW)
    }

    pub fn history_runs(&self) -> u64 {
        self.history_runs
            .unwrap_or(Self::HISTORY_RUNS)
            .min(Self::MOST_HISTORY_RUNS)
    }

    /// The times that it names.
    pub fn clock(&self) -> Result<Clock, ClockError> {
        Clock::new(&self.cron, &self.time_zone)
    }

    /// Whether it names other times than `other`, or names none at times when that does.
    pub fn retimes(&self, other: &Self) -> bool {
        self.cron != other.cron
            || self.time_zone != other.time_zone
            || self.suspended != other.suspended
    }
}
