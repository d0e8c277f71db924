//! The swarm part of `GET /info`. The rest of it is the engine's own.

use serde::{Deserialize, Serialize};

use super::cluster::{self, Swarm};
use super::host_of;
use crate::api::control::{Consensus, Standing};
use crate::spec::nullable::{is_default, nullable};
use crate::state::State;

/// This node's part in a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmInfo {
    /// Empty when in no cluster.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_addr: String,
    /// `inactive`, `pending` or `active`.
    pub local_node_state: String,
    /// Whether this node is a manager.
    pub control_available: bool,
    pub error: String,
    pub remote_managers: Option<Vec<RemoteManager>>,
    #[serde(skip_serializing_if = "is_default")]
    pub nodes: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub managers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Swarm>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RemoteManager {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub addr: String,
}

/// What this node can say of the cluster from memory, with or without a quorum.
pub fn render(standing: &Standing, state: &State, consensus: &Consensus) -> SwarmInfo {
    let Standing::Member {
        node,
        addr,
        managers,
        ..
    } = standing
    else {
        return SwarmInfo {
            local_node_state: match standing {
                Standing::Pending => "pending",
                _ => "inactive",
            }
            .to_owned(),
            ..SwarmInfo::default()
        };
    };
    let mut info = SwarmInfo {
        node_id: node.to_string(),
        node_addr: host_of(addr).to_owned(),
        local_node_state: "active".to_owned(),
        control_available: standing.is_manager(),
        remote_managers: Some(
            managers
                .iter()
                .map(|(id, addr)| RemoteManager {
                    node_id: id.to_string(),
                    addr: addr.clone(),
                })
                .collect(),
        ),
        ..SwarmInfo::default()
    };
    if standing.is_manager() {
        info.nodes = state.nodes().count() as u64;
        info.managers = state.nodes().filter(|node| node.is_manager()).count() as u64;
        info.cluster = state.cluster().map(|cluster| cluster::render(cluster));
        if consensus.leader.is_none() {
            info.error = NO_LEADER.to_owned();
        }
        if info.managers == 2 {
            info.warnings = vec![TWO_MANAGERS.to_owned()];
        }
    }
    info
}

const NO_LEADER: &str = "The swarm does not have a leader: too few managers answer. Start managers again until more than half of them are up.";
const TWO_MANAGERS: &str =
    "WARNING: with two managers the loss of either stops every change: add a third, or demote one";
