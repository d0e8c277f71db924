//! A node: what its operator wants of it, what it says of itself, and whether it answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::object::Meta;
use super::tunnel::TunnelEnd;
use crate::spec::constraint::NodeFacts;
use crate::spec::device::Device;
use crate::spec::generic::GenericResource;
use crate::spec::service::Labels;
use crate::spec::{Availability, NodeId, NodeSpec, Role, Timestamp};

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub meta: Meta,
    pub spec: NodeSpec,
    pub description: NodeDescription,
    pub status: NodeStatus,
    /// `HOST:PORT` of its QUIC port, as other nodes dial it.
    pub addr: String,
    /// Where other nodes send its overlay traffic.
    pub data_path_addr: Ipv4Addr,
    /// Its own inside the encrypted tunnels; nobody else has it.
    #[serde(default = "nowhere")]
    pub tunnel_addr: Ipv4Addr,
    /// Its place in the Raft group; only managers have one.
    pub member: Option<RaftMember>,
    /// When what is left on it is stopped, while it is drained; `None` waits for as long as it takes.
    #[serde(default)]
    pub drain_deadline: Option<Timestamp>,
    /// When its operator last said anything else about whether it takes tasks.
    #[serde(default)]
    pub availability_since: Timestamp,
}

impl Node {
    /// Whether new tasks may be put on it.
    pub fn takes_tasks(&self) -> bool {
        self.status.state == NodeState::Ready && self.spec.availability == Availability::Active
    }

    /// What constraints speak of.
    pub fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            id: self.id,
            hostname: &self.description.hostname,
            ip: Some(self.ip()),
            role: self.spec.role,
            os: &self.description.os,
            architecture: &self.description.architecture,
            labels: &self.spec.labels,
            engine_labels: &self.description.engine_labels,
        }
    }

    /// The address that other nodes dial, or, where that is a name, the one for the overlay's traffic.
    fn ip(&self) -> IpAddr {
        let dialled: Option<SocketAddr> = self.addr.parse().ok();
        dialled.map_or(IpAddr::V4(self.data_path_addr), |dialled| dialled.ip())
    }

    /// Since when it takes tasks, where it does.
    pub fn takes_tasks_since(&self) -> Timestamp {
        self.status.since.max(self.availability_since)
    }

    /// Whether tasks on it may go on, if only until they have moved.
    pub fn keeps_tasks(&self, now: Timestamp) -> bool {
        !self.is_down() && (!self.is_drained() || self.is_draining(now))
    }

    /// Whether its operator wants no tasks on it.
    pub fn is_drained(&self) -> bool {
        self.spec.availability == Availability::Drain
    }

    /// Whether tasks on it are to move elsewhere, each in its turn.
    pub fn is_draining(&self, now: Timestamp) -> bool {
        !self.is_down()
            && self.is_drained()
            && self.drain_deadline.is_none_or(|deadline| deadline > now)
    }

    pub const fn is_down(&self) -> bool {
        matches!(self.status.state, NodeState::Down)
    }

    pub fn is_manager(&self) -> bool {
        self.spec.role == Role::Manager
    }
}

/// A manager's place in the Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftMember {
    /// Never used again, even by the same node.
    pub raft_id: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeDescription {
    pub hostname: String,
    /// As the kernel names it: `x86_64`, `aarch64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    pub engine_version: String,
    pub engine_labels: Labels,
    /// Kind and name: `("Network", "bridge")`.
    pub plugins: Vec<(String, String)>,
    /// What it has that nobody else knows the meaning of.
    #[serde(default)]
    pub generic_resources: Vec<GenericResource>,
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Its end of the encrypted tunnels; `None` until it has told.
    #[serde(default)]
    pub tunnel: Option<TunnelEnd>,
}

/// Of a node from before there were tunnels.
const fn nowhere() -> Ipv4Addr {
    Ipv4Addr::UNSPECIFIED
}

impl NodeDescription {
    /// How many it has of a generic resource that is counted.
    pub fn count_of(&self, kind: &str) -> i64 {
        let counts = self
            .generic_resources
            .iter()
            .map(|resource| match resource {
                GenericResource::Discrete(discrete) if discrete.kind == kind => discrete.value,
                _ => 0,
            });
        counts.sum()
    }
}

/// Whether a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub state: NodeState,
    /// Why it is in that state; empty when there is nothing to say.
    pub message: String,
    pub since: Timestamp,
}

impl NodeStatus {
    /// The message of a node that went of its own accord. Its id does not come back: who joins
    /// again gets another one.
    pub const LEFT: &'static str = "the node left";

    pub fn has_left(&self) -> bool {
        self.state == NodeState::Down && self.message == Self::LEFT
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Not heard of yet.
    Unknown,
    Ready,
    /// Silent for too long; its tasks are replaced.
    Down,
}
