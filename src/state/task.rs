//! A task: one attempt of one slot to run. Its observed state only moves forward.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::container::ContainerId;
use super::dependency::Unmet;
use super::object::Meta;
use super::rare::{Rare, Usual};
use super::stay::Stay;
use super::text::Text;
use super::usage::Reserved;
use crate::spec::{NetworkId, NodeId, ServiceId, TaskId, Timestamp};

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub meta: Meta,
    pub service: ServiceId,
    pub slot: Slot,
    /// Which of the service's specs it runs: a reference, never a copy.
    pub spec_version: u64,
    pub node: Option<NodeId>,
    pub desired: DesiredState,
    pub status: TaskStatus,
    /// Its addresses, in the order of the service's networks; given with the node.
    pub attachments: Box<[Attachment]>,
    /// What it takes up of its node; given with the node.
    #[serde(default)]
    pub reserved: Reserved,
    /// What it was given of its node's generic resources and devices; `None` for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Box<Claims>>,
    /// When the managers learnt that it runs; `None` when they never did.
    #[serde(default)]
    pub running_since: Option<Timestamp>,
    /// What must have happened before a prepared task may start.
    pub gate: Rare<Gate>,
    /// Took another task's place in a step of a rollout: its slot is in flight until it runs.
    #[serde(default)]
    pub in_rollout: bool,
    /// Took another task's place for its node's sake: its slot is in flight until it runs. Where
    /// that task is still wanted, it goes on until this one runs.
    #[serde(default)]
    pub in_move: bool,
    /// When its slot was taken, where that was for a task before this one that lost its node.
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    /// Earlier attempts of the same slot at the same spec.
    pub restarts: Rare<Restarts>,
    /// Why it has not got further; `None` when nothing holds it.
    pub waiting: Option<Box<Waiting>>,
}

impl Task {
    /// Wanted to run, now or soon.
    pub fn is_wanted(&self) -> bool {
        self.desired <= DesiredState::Running
    }

    /// Waits for a node to be chosen.
    pub fn is_unplaced(&self) -> bool {
        self.node.is_none() && self.is_wanted() && !self.has_ended()
    }

    /// Has ended and will never run again.
    pub fn has_ended(&self) -> bool {
        self.status.state > TaskState::Running
    }

    /// Has ended without being told to, well or not.
    pub const fn ended_by_itself(&self) -> bool {
        matches!(self.status.state, TaskState::Complete) || self.has_failed()
    }

    /// Has ended badly.
    pub const fn has_failed(&self) -> bool {
        matches!(self.status.state, TaskState::Failed | TaskState::Rejected)
    }

    /// Holds its place on a node: reservations, ports, addresses.
    pub fn occupies_node(&self) -> bool {
        self.node.is_some() && !self.has_ended()
    }

    /// Whether it is the first in its slot after a step of a rollout or a move.
    pub fn came_by_a_step(&self) -> bool {
        self.in_move || (self.in_rollout && self.restarts.count == 0)
    }

    /// Whether what its service depends on has not let it start yet.
    pub fn waits_for_dependencies(&self) -> bool {
        self.gate.dependencies && self.desired == DesiredState::Ready
    }

    /// Serves requests, as far as its agent has told.
    pub fn is_serving(&self) -> bool {
        self.desired == DesiredState::Running && self.status.state == TaskState::Running
    }
}

/// Which of a service's places a task fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// The n-th replica, from 1.
    Replica(u64),
    /// The one task of a global service on that node.
    Node(NodeId),
    /// One of the completions that a run of a replicated job wants, from 0.
    Completion { run: u64, number: u64 },
    /// The one task of a run of a global job on that node.
    RunOnNode { run: u64, node: NodeId },
}

impl Slot {
    /// The only node on which its tasks can be.
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) | Self::RunOnNode { node, .. } => Some(node),
            Self::Replica(_) | Self::Completion { .. } => None,
        }
    }

    /// Its number, where slots are numbered.
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Replica(number) | Self::Completion { number, .. } => Some(number),
            Self::Node(_) | Self::RunOnNode { .. } => None,
        }
    }

    /// The run of a job that it belongs to.
    pub const fn run(self) -> Option<u64> {
        match self {
            Self::Completion { run, .. } | Self::RunOnNode { run, .. } => Some(run),
            Self::Replica(_) | Self::Node(_) => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(number) | Self::Completion { number, .. } => write!(f, "{number}"),
            Self::Node(node) | Self::RunOnNode { node, .. } => write!(f, "{node}"),
        }
    }
}

/// What the managers want of a task. Only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// Prepared, but not started.
    Ready,
    Running,
    /// Stopped; kept for its history.
    Shutdown,
    /// Stopped, then forgotten.
    Remove,
}

/// How far a task has got, in Docker's order. A greater state wins, whenever it is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    New,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Orphaned,
}

/// A task's observed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub state: TaskState,
    /// When the state was reached, by the clock of whoever saw it.
    pub at: Timestamp,
    /// When the managers learnt of it; failure windows and monitor times are counted from here.
    pub applied_at: Timestamp,
    /// The step, in Docker's words: `preparing`, `started`, …
    pub message: Text,
    /// What went wrong; empty when nothing did.
    pub err: Text,
    pub container: Option<Box<ContainerStatus>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: ContainerId,
    pub pid: i64,
    pub exit_code: i64,
}

/// A task's address on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub network: NetworkId,
    pub address: Ipv4Addr,
}

/// What must have happened before a prepared task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gate {
    /// The restart delay.
    pub not_before: Option<Timestamp>,
    /// The task of the same slot that must have stopped (stop-first).
    pub after: Option<TaskId>,
    /// What the service depends on must be as far as it asks.
    #[serde(default)]
    pub dependencies: bool,
}

impl Usual for Gate {
    const USUAL: &'static Self = &Self {
        not_before: None,
        after: None,
        dependencies: false,
    };
}

/// Earlier attempts of a slot at the same spec: what restart limits count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restarts {
    pub count: u64,
    /// When the latest attempts failed, oldest first; kept only for policies with a window.
    pub recent: Vec<Timestamp>,
    /// How many ended one after the other without having been well: what the delay grows with.
    #[serde(default)]
    pub streak: u64,
}

impl Usual for Restarts {
    const USUAL: &'static Self = &Self {
        count: 0,
        recent: Vec::new(),
        streak: 0,
    };
}

/// Why a task waits. Shown by `service ps`, the API's `Status.Err` and `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// No node passes the filters: each reason with the number of nodes it rejects, most first.
    NoSuitableNode(Vec<(NodeRejection, u64)>),
    /// The restart delay runs until then.
    RestartDelay(Timestamp),
    /// The slot's former task has not stopped yet.
    Predecessor(TaskId),
    /// The network has no free address.
    AddressesExhausted(NetworkId),
    /// A service that it is to start after is not that far.
    Dependency(Box<Unmet>),
    /// It runs, but is to leave its node.
    Leaving(Stay),
    /// The restart delay runs until then, and not for the first time in a row.
    CrashLoop(Box<CrashLoop>),
}

/// A task that keeps ending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashLoop {
    /// When it is restarted.
    pub until: Timestamp,
    /// Which restart in a row that will be.
    pub restart: u64,
    /// How the last attempt ended.
    pub last: String,
}

/// Why a node is not taken for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeRejection {
    NotAvailable,
    InsufficientResources,
    DeviceUnavailable,
    MissingPlugin,
    ConstraintNotSatisfied,
    UnsupportedPlatform,
    HostPortInUse,
    MaxReplicasPerNode,
    AffinityNotSatisfied,
    AntiAffinity,
}

impl fmt::Display for NodeRejection {
    /// Docker's words without the count; clients show them as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAvailable => "not available for new tasks",
            Self::InsufficientResources => "insufficient resources",
            Self::DeviceUnavailable => "device missing or in use",
            Self::MissingPlugin => "missing plugin",
            Self::ConstraintNotSatisfied => "scheduling constraints not satisfied",
            Self::UnsupportedPlatform => "unsupported platform",
            Self::HostPortInUse => "host-mode port already in use",
            Self::MaxReplicasPerNode => "max replicas per node limit exceed",
            Self::AffinityNotSatisfied => "no task to be near to",
            Self::AntiAffinity => "task to be apart from",
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuitableNode(rejections) if rejections.is_empty() => {
                f.write_str("no suitable node (the cluster has no node)")
            }
            Self::NoSuitableNode(rejections) => {
                f.write_str("no suitable node (")?;
                for (place, (rejection, count)) in rejections.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "; " };
                    let plural = if *count == 1 { "" } else { "s" };
                    match rejection {
                        NodeRejection::NotAvailable => {
                            write!(f, "{comma}{count} node{plural} {rejection}")?;
                        }
                        _ => write!(f, "{comma}{rejection} on {count} node{plural}")?,
                    }
                }
                f.write_str(")")
            }
            Self::Dependency(unmet) => unmet.fmt(f),
            Self::Leaving(stay) => stay.fmt(f),
            Self::RestartDelay(until) => write!(f, "restart delay until {until}"),
            Self::CrashLoop(crash_loop) => crash_loop.fmt(f),
            Self::Predecessor(task) => write!(f, "waiting for task {task} to stop"),
            Self::AddressesExhausted(network) => {
                write!(
                    f,
                    "no free address in network {network}: remove services from it or make a larger one"
                )
            }
        }
    }
}

impl fmt::Display for CrashLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (restart, th) = (self.restart, ordinal(self.restart));
        // Whole seconds are enough for a person.
        let until = Timestamp(self.until.0 - self.until.0.rem_euclid(1_000_000_000));
        write!(f, "restarting at {until}, {restart}{th} time in a row")?;
        if self.last.is_empty() {
            Ok(())
        } else {
            write!(f, ", last exit: {}", self.last)
        }
    }
}

const fn ordinal(number: u64) -> &'static str {
    match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}
