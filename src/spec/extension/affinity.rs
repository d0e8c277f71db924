//! Where a service's tasks may be beside those of others.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::Labels;

/// Near to, or apart from, the tasks of the services that have these labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AffinityRule {
    /// Labels of services, all of which must be there.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// What "near" means: nodes that have the same value of this.
    #[serde(deserialize_with = "nullable")]
    pub topology: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub strength: Strength,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// No task is put where the rule does not hold.
    #[default]
    Required,
    /// Nodes where it holds come first.
    Preferred,
}

impl AffinityRule {
    /// Whether it speaks of services with those labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl fmt::Display for AffinityRule {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.labels {
            write!(f, "{key}={value},")?;
        }
        write!(f, "topology={}", self.topology)?;
        match self.strength {
            Strength::Required => Ok(()),
            Strength::Preferred => f.write_str(",preferred"),
        }
    }
}

/// Which of the nodes that fit a task is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The one with the fewest tasks of the service, then of all; of those the one with the most
    /// left to reserve.
    #[default]
    Spread,
    /// The one with the least left to reserve.
    Binpack,
}
