//! How tasks are restarted and how updates roll: what was written, and what it means.

use serde::{Deserialize, Serialize};

use super::extension::RollingExtension;
use super::nullable::{is_default, nullable};
use super::time::Nanos;

/// `UpdateConfig` of the Engine API, for updates and for rollbacks, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateConfig {
    /// Slots worked on at a time; 0 is all at once.
    #[serde(deserialize_with = "nullable")]
    pub parallelism: u64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub delay: Nanos,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_action: Option<FailureAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Nanos>,
    /// Share of failed tasks that is still accepted, 0 to 1.
    #[serde(deserialize_with = "nullable", serialize_with = "whole_as_integer")]
    pub max_failure_ratio: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<UpdateOrder>,
}

/// Go writes a whole ratio without a fraction, and clients compare texts.
fn whole_as_integer<S: serde::Serializer>(ratio: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() && *ratio == 0.0 {
        serializer.serialize_u8(0)
    } else if serializer.is_human_readable() && *ratio == 1.0 {
        serializer.serialize_u8(1)
    } else {
        serializer.serialize_f32(*ratio)
    }
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 0,
            delay: Nanos::ZERO,
            failure_action: None,
            monitor: None,
            max_failure_ratio: 0.0,
            order: None,
        }
    }
}

/// What to do when too many new tasks fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureAction {
    #[default]
    Pause,
    Continue,
    /// Updates only; a rollback that fails pauses.
    Rollback,
}

/// Which of the old and the new task of a slot goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    #[default]
    StopFirst,
    StartFirst,
}

/// What an update or a rollback does: [`UpdateConfig`] with Docker's defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdatePolicy {
    /// Slots in flight at once; `None` is no limit.
    pub parallelism: Option<u64>,
    pub delay: Nanos,
    pub failure_action: FailureAction,
    /// How long a new task is watched for failure after it began to run.
    pub monitor: Nanos,
    pub max_failure_ratio: f32,
    pub order: UpdateOrder,
    /// How long a new task may take to run; `None` is for ever.
    pub progress_deadline: Option<Nanos>,
}

impl UpdatePolicy {
    /// Docker's default monitor time.
    pub const MONITOR: Nanos = Nanos::from_secs(5);

    pub(super) fn new(config: Option<&UpdateConfig>, extension: Option<&RollingExtension>) -> Self {
        let deadline = extension
            .and_then(|extension| extension.progress_deadline)
            .unwrap_or(RollingExtension::PROGRESS_DEADLINE);
        Self {
            progress_deadline: Some(deadline).filter(|deadline| deadline.0 > 0),
            ..Self::from_config(config)
        }
    }

    /// Docker's part of it.
    fn from_config(config: Option<&UpdateConfig>) -> Self {
        let Some(config) = config else {
            return Self {
                parallelism: Some(1),
                delay: Nanos::ZERO,
                failure_action: FailureAction::Pause,
                monitor: Self::MONITOR,
                max_failure_ratio: 0.0,
                order: UpdateOrder::StopFirst,
                progress_deadline: None,
            };
        };
        Self {
            parallelism: (config.parallelism > 0).then_some(config.parallelism),
            delay: config.delay,
            failure_action: config.failure_action.unwrap_or_default(),
            // A monitor time of zero reads as "not set" in Docker's API.
            monitor: config
                .monitor
                .filter(|monitor| monitor.0 > 0)
                .unwrap_or(Self::MONITOR),
            max_failure_ratio: config.max_failure_ratio,
            order: config.order.unwrap_or_default(),
            progress_deadline: None,
        }
    }
}

/// `RestartPolicy` of the Engine API, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<RestartCondition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Nanos>,
    /// Restarts of one slot at most; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// Only restarts younger than this count; 0 is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Nanos>,
}

impl RestartPolicy {
    pub fn condition(&self) -> RestartCondition {
        self.condition.unwrap_or_default()
    }

    /// Docker's default is 5 s.
    pub fn delay(&self) -> Nanos {
        self.delay.unwrap_or(Nanos::from_secs(5))
    }

    /// `None` is no limit.
    pub fn max_attempts(&self) -> Option<u64> {
        self.max_attempts.filter(|attempts| *attempts > 0)
    }

    /// `None` is for ever.
    pub fn window(&self) -> Option<Nanos> {
        self.window.filter(|window| window.0 > 0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    None,
    OnFailure,
    #[default]
    Any,
}
