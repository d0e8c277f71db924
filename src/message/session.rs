//! The long-lived stream between a node's agent and the leader.

use serde::{Deserialize, Serialize};

use crate::state::assignment::{Assignment, ManagerAddr, Stamp};
use crate::state::command::TaskReport;
use crate::state::node::NodeDescription;

/// From the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToManager {
    /// First on every session: who I am, and the newest assignment in force here.
    Hello {
        addr: String,
        description: NodeDescription,
        applied: Stamp,
    },
    /// Nothing new; I am alive.
    Heartbeat,
    Reports(Vec<TaskReport>),
    /// This assignment's tables (balancing, names) are in force here.
    Applied(Stamp),
    Described(NodeDescription),
}

/// From the leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToAgent {
    /// I do not lead; try there.
    Redirect {
        leader: Option<ManagerAddr>,
    },
    Assign(Box<Assignment>),
    /// Nothing new; I still lead.
    Heartbeat,
    /// This node is no (longer a) part of the cluster.
    Removed,
}
