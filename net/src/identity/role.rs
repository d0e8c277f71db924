//! The two kinds of node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a node's certificate entitles it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes part in consensus, signs certificates, tells workers what to run.
    Manager,
    /// Runs what it is told to.
    Worker,
}

impl Role {
    /// The organizational unit that stands for this role in a certificate.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Manager => "swarm-manager",
            Self::Worker => "swarm-worker",
        }
    }

    pub(crate) fn from_unit(unit: &str) -> Option<Self> {
        match unit {
            "swarm-manager" => Some(Self::Manager),
            "swarm-worker" => Some(Self::Worker),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}
