//! What the API needs of the daemon: a trait, so that the API knows neither the manager nor Raft.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::wire::doctor::Examination;
use super::wire::planning::{Explanation, Rehearsal};
use crate::spec::network::Subnet;
use crate::spec::{Availability, ClusterId, ClusterSpec, NodeId, Role, ServiceId, Timestamp};
use crate::state::{Op, Rejected, Reply, Service, State};

/// The daemon as the API sees it.
#[async_trait]
pub trait Control: Send + Sync + std::fmt::Debug + 'static {
    /// This node's part in a cluster, from memory.
    fn standing(&self) -> Standing;

    /// The newest state this manager has applied, without asking anybody; empty on a worker.
    fn local_state(&self) -> Arc<State>;

    /// Every state that this manager applies from now on, newest only.
    fn watch_state(&self) -> watch::Receiver<Arc<State>>;

    /// A state that holds every write acknowledged before the call, from any manager.
    async fn read(&self) -> Result<Arc<State>, Unavailable>;

    /// Proposes a change from any manager. When it returns `Ok`, the change is durable on a
    /// majority and `local_state` shows it.
    async fn propose(&self, op: Op) -> Result<Reply, ProposeError>;

    /// Makes a cluster of this one node.
    async fn init(&self, request: InitRequest) -> Result<NodeId, LifecycleError>;

    /// Joins a cluster.
    async fn join(&self, request: JoinRequest) -> Result<NodeId, LifecycleError>;

    /// Leaves the cluster and forgets it.
    async fn leave(&self, force: bool) -> Result<(), LifecycleError>;

    /// New join tokens for a role, in written form (the secret is fresh, the digest the cluster's).
    fn fresh_token(&self) -> Result<String, Unavailable>;

    /// 128 fresh random bits, for the id of a new object.
    fn fresh_id(&self) -> u128;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Why a service's tasks wait, and what would let them run.
    fn explain(&self, state: &State, service: &Service) -> Explanation;

    /// What a change of a service would do, by its id and name. Nothing is done.
    fn rehearse(
        &self,
        state: &State,
        op: Op,
        service: (ServiceId, &str),
    ) -> Result<Rehearsal, Rejected>;

    /// How a node's networks compare with what is wanted of them, after mending if it is to; else why
    /// that is not known.
    async fn examine(&self, node: NodeId, addr: &str, mend: bool) -> Result<Examination, String>;

    /// Leadership and membership as this manager sees them now; works without a quorum.
    fn consensus(&self) -> Consensus;
}

/// This node's part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In no cluster.
    Inactive,
    /// Joining.
    Pending,
    Member {
        node: NodeId,
        cluster: ClusterId,
        role: Role,
        /// The address that others dial.
        addr: String,
        /// Managers that this node knows.
        managers: Vec<(NodeId, String)>,
    },
}

impl Standing {
    pub const fn is_manager(&self) -> bool {
        matches!(
            self,
            Self::Member {
                role: Role::Manager,
                ..
            }
        )
    }
}

/// Who leads and who is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consensus {
    pub term: u64,
    pub leader: Option<NodeId>,
    /// Voting managers.
    pub voters: Vec<NodeId>,
    /// Voters that have not been heard of lately, as the leader (or, without one, this manager) sees it.
    pub unreachable: Vec<NodeId>,
    pub last_log_index: u64,
    pub applied_index: u64,
}

impl Consensus {
    /// Voters that must answer before anything is written.
    pub const fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// Why nothing can be read or written here now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error(
        "This node is not a swarm manager. Use \"swarmr init\" or \"swarmr join\" to connect this node to swarm and try again."
    )]
    NotInCluster,
    #[error(
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager."
    )]
    NotManager,
    #[error("{0}")]
    NoQuorum(String),
}

/// Why a proposal did not go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It may or may not take effect.
    #[error("the outcome is unknown: {0}; look before you repeat it")]
    Unknown(String),
    #[error("{0}")]
    TooLarge(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct InitRequest {
    /// `ADDR:PORT` or interface, empty for the default 0.0.0.0:2377.
    pub listen_addr: String,
    /// Empty: chosen when there is exactly one candidate.
    pub advertise_addr: String,
    pub data_path_addr: String,
    /// 0 for 4789.
    pub data_path_port: u16,
    /// Empty for 10.0.0.0/8.
    pub address_pools: Vec<Subnet>,
    /// 0 for 20, or for 24 in pools that are named.
    pub subnet_prefix: u8,
    pub availability: Availability,
    pub force_new_cluster: bool,
    pub spec: ClusterSpec,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    pub listen_addr: String,
    pub advertise_addr: String,
    pub data_path_addr: String,
    pub remote_addrs: Vec<String>,
    pub token: String,
    pub availability: Availability,
}

/// Why this node could not enter or leave a cluster: each names what, got, allowed, what next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    #[error(
        "This node is already part of a swarm. Use \"swarmr leave\" to leave this swarm and join another one."
    )]
    AlreadyMember,
    #[error("This node is not part of a swarm")]
    NotMember,
    /// A bad argument: nothing was tried.
    #[error("{0}")]
    Invalid(String),
    /// The token was refused.
    #[error("{0}")]
    Denied(String),
    /// The other side, or a port, cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Refused, for it would harm the cluster; `--force` does it all the same.
    #[error("{0}")]
    Unsafe(String),
    /// This machine is not fit, or its disk failed.
    #[error("{0}")]
    Failed(String),
}

/// What `GET /swarmr/v1/status` answers: one screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub node: String,
    pub role: String,
    pub cluster: String,
    pub has_quorum: bool,
    pub leader: Option<String>,
    pub managers: Vec<StatusNode>,
    pub workers: Vec<StatusNode>,
    /// `web: 4/6 running, update in progress (2 of 6 slots)`.
    pub converging: Vec<String>,
    /// What is wrong, each with what to do next.
    pub problems: Vec<StatusProblem>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusNode {
    pub id: String,
    pub hostname: String,
    pub addr: String,
    pub state: String,
    pub availability: String,
    pub tasks: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    pub what: String,
    pub next: String,
}
