//! THE list of everything that can change the cluster.
//!
//! A shipped variant is frozen: nodes of two versions replay one log. New behaviour is a new
//! variant or a field with a default.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::cluster::{Authority, JoinTokens};
use super::job::Job;
use super::node::{NodeDescription, NodeState};
use super::rare::Rare;
use super::rejected::Rejected;
use super::service::Rollout;
use super::task::{ContainerStatus, Gate, Restarts, Slot, TaskState, Waiting};
use crate::spec::network::Subnet;
use crate::spec::{
    ClusterId, ClusterSpec, ConfigId, ConfigSpec, Nanos, NetworkId, NetworkSpec, NodeId, NodeSpec,
    RequestId, Role, ServiceId, ServiceSpec, TaskId, Timestamp,
};

/// One replicated log entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The leader's clock when it proposed; never behind an earlier command's by `apply`.
    pub at: Timestamp,
    pub op: Op,
}

/// A user's intent, a node's report, or the planner's changes. Ids are minted by whoever builds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    InitCluster(Box<InitCluster>),
    UpdateCluster {
        version: u64,
        spec: Box<ClusterSpec>,
        /// The token that replaces the worker's, if it is to be rotated.
        worker_token: Option<String>,
        manager_token: Option<String>,
    },
    /// A node that has proved its token and answers on its address.
    AddNode(Box<AddNode>),
    UpdateNode {
        id: NodeId,
        version: u64,
        spec: NodeSpec,
        /// For how long tasks may take to leave a node that is drained; what is left then is
        /// stopped. Zero is at once, `None` leaves what was said before.
        #[serde(default)]
        drain_limit: Option<Nanos>,
    },
    RemoveNode {
        id: NodeId,
        force: bool,
    },
    /// What the leader has seen of nodes.
    ObserveNodes(Vec<NodeObservation>),
    /// A manager got its place in the Raft group, or lost it.
    SetMember {
        node: NodeId,
        raft_id: Option<u64>,
    },

    CreateService {
        id: ServiceId,
        spec: Box<ServiceSpec>,
    },
    UpdateService {
        id: ServiceId,
        version: u64,
        change: Box<ServiceChange>,
    },
    RemoveService {
        id: ServiceId,
    },
    /// Runs a job now.
    RunJob {
        id: ServiceId,
        request: RequestId,
    },

    CreateNetwork {
        id: NetworkId,
        spec: Box<NetworkSpec>,
    },
    RemoveNetwork {
        id: NetworkId,
    },

    CreateConfig {
        id: ConfigId,
        spec: Box<ConfigSpec>,
    },
    UpdateConfig {
        id: ConfigId,
        version: u64,
        spec: Box<ConfigSpec>,
    },
    RemoveConfig {
        id: ConfigId,
    },

    /// Steers a service without changing what it is to be.
    SteerService {
        id: ServiceId,
        steer: Steer,
    },
    /// Moves a service's tasks until its nodes are even, once.
    Rebalance {
        service: ServiceId,
    },

    /// What agents report of their tasks, many in one entry.
    Report(Vec<TaskReport>),
    /// What the planner decided.
    Plan(Vec<Change>),
}

/// How a user changes a service.
#[expect(clippy::large_enum_variant, reason = "always behind a box")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServiceChange {
    Spec(ServiceSpec),
    /// Back to the previous spec, by the rollback policy.
    RollBack,
}

/// What a user asks of a service's rollout or tasks. None needs a version: each is refused where it
/// means nothing, and doing it twice does it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// Goes on from that step of an update that waits for it, to the next one or to the end.
    Promote {
        from: u64,
        to_the_end: bool,
    },
    /// Lets a rollout rest.
    Pause,
    /// Lets a paused rollout go on; what has failed so far is forgiven.
    Resume,
    /// Back to an earlier spec, by the rollback policy.
    RollBackTo {
        revision: u64,
    },
    /// Replaces all tasks by the update policy. The index at which it was read makes it happen
    /// once: a restart that began since does.
    Restart {
        seen: u64,
    },
    Stop,
    Start,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitCluster {
    pub id: ClusterId,
    pub spec: ClusterSpec,
    pub authority: Authority,
    pub join_tokens: JoinTokens,
    pub address_pools: Vec<Subnet>,
    pub subnet_prefix: u8,
    pub data_path_port: u16,
    pub seed: u64,
    pub ingress: NetworkId,
    pub first_node: AddNode,
    pub first_raft_id: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddNode {
    pub id: NodeId,
    pub role: Role,
    pub availability: crate::spec::Availability,
    pub addr: String,
    pub data_path_addr: Ipv4Addr,
    pub description: NodeDescription,
}

/// News of one node; what is `None` has not changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeObservation {
    pub node: NodeId,
    pub state: Option<(NodeState, String)>,
    pub description: Option<NodeDescription>,
    pub addr: Option<String>,
}

/// News of one task from the node that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Who says so; a report for another node's task is ignored.
    pub node: NodeId,
    pub task: TaskId,
    pub state: TaskState,
    pub at: Timestamp,
    pub message: String,
    pub err: String,
    pub container: Option<ContainerStatus>,
}

/// The smallest edits of the planner. Each is checked against the state it lands on, and skipped
/// when that has moved on in the meantime; the planner looks again then. What must hold together
/// is one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A new task for a slot. Skipped if the service or that version of its spec is gone.
    CreateTask(NewTask),
    /// Replaces a slot's task: the old one is told to stop (or, start-first, goes on until a later
    /// `SetDesired`), the new one is made. Skipped whole if the old one is gone.
    ReplaceTask {
        old: TaskId,
        old_desired: super::task::DesiredState,
        new: NewTask,
    },
    /// Puts a waiting task on a node and gives it its addresses. Skipped if the task is no longer
    /// waiting or the node takes no tasks.
    Assign { task: TaskId, node: NodeId },
    /// Moves what is wanted of a task; never backwards.
    SetDesired {
        task: TaskId,
        desired: super::task::DesiredState,
    },
    /// The managers' own verdict on a task (its node is gone, its constraints no longer hold).
    /// Never moves a state backwards.
    SetState {
        task: TaskId,
        state: TaskState,
        message: String,
        err: String,
    },
    SetWaiting {
        task: TaskId,
        waiting: Option<Box<Waiting>>,
    },
    /// Forgets a task: history beyond its limit, or a stopped task that was to be removed.
    DeleteTask { task: TaskId },
    /// Progress of an update. Skipped if the service has moved to another spec version.
    SetRollout {
        service: ServiceId,
        spec_version: u64,
        rollout: Box<Rollout>,
    },
    /// Runs of a job that were started, ended or passed over. Skipped if they have changed since
    /// `revision`.
    SetJob {
        service: ServiceId,
        revision: u64,
        job: Box<Job>,
    },
    /// The service's tasks are as even as they can be.
    EndRebalance { service: ServiceId },
    /// The automatic rollback. Skipped if the service has moved to another spec version.
    RollBack {
        service: ServiceId,
        spec_version: u64,
        message: String,
    },
}

impl Change {
    /// The node that a task is put on.
    pub const fn placed_on(&self) -> Option<NodeId> {
        match self {
            Self::Assign { node, .. } => Some(*node),
            Self::CreateTask(new) | Self::ReplaceTask { new, .. } => new.node,
            _ => None,
        }
    }

    /// Whether a task is not to stay on its node, which does not suit it any more.
    pub const fn rejects(&self) -> bool {
        matches!(
            self,
            Self::SetState {
                state: TaskState::Rejected,
                ..
            }
        )
    }
}

/// A task that the planner makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    pub id: TaskId,
    pub service: ServiceId,
    pub slot: Slot,
    pub spec_version: u64,
    /// Where it is put at once, as by `Assign`; where that cannot be done it waits for a node.
    #[serde(default)]
    pub node: Option<NodeId>,
    pub desired: super::task::DesiredState,
    pub gate: Rare<Gate>,
    #[serde(default)]
    pub in_rollout: bool,
    #[serde(default)]
    pub in_move: bool,
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    pub restarts: Rare<Restarts>,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// The object's version after the write.
    Written {
        version: u64,
    },
    /// How many of a plan's changes were taken.
    Planned {
        taken: u64,
        skipped: u64,
    },
    Rejected(Rejected),
}
