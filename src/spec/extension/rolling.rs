//! What updates and rollbacks do beyond Docker's settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Step;
use crate::spec::Nanos;

/// `Swarmr.Update` and `Swarmr.Rollback`. Nothing of it changes what a task is, so a change of it
/// replaces none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RollingExtension {
    /// How long a new task may take to run before it counts as failed; 0 is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Nanos>,
    /// Updates only: where it stops until somebody promotes it. The rest follows the last step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// After which time a step that says nothing itself goes on without being promoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_delay: Option<Nanos>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl RollingExtension {
    /// Long enough for a large image, short enough that nobody waits a night for nothing.
    pub const PROGRESS_DEADLINE: Nanos = Nanos::from_secs(10 * 60);
}
