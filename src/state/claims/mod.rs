//! What tasks have of their nodes' generic resources and devices: which ones they are given, and
//! what is left. The planner counts with it and `apply` gives with it, so that the two agree.

mod ask;
mod taken;

use serde::{Deserialize, Serialize};

use crate::spec::generic::GenericResource;

pub use ask::{Ask, Shortage};
pub use taken::Taken;

/// What one task was given of its node's resources; given with the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// Named ones one by one, counted ones with their number.
    pub generic: Vec<GenericResource>,
    pub devices: Vec<ClaimedDevice>,
}

/// A device that a task was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimedDevice {
    pub kind: String,
    pub id: String,
    /// Which of the spec's requests it meets; `None` for a device node that the spec names.
    pub request: Option<usize>,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.generic.is_empty() && self.devices.is_empty()
    }
}
