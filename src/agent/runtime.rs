//! What an agent needs of a container engine: the [`Runtime`] trait and its plain data.
//!
//! Implemented by `docker` (a real engine), `fake` (in memory) and `bounded` (a deadline around
//! either). Workers call it; it knows nothing of assignments. Every call may be repeated: what is
//! there already is success, what is gone already is success.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::container::ContainerWant;
use crate::spec::network::Subnet;
use crate::spec::{ClusterId, NetworkId, TaskId};
use crate::state::node::NodeDescription;

/// Which cluster a container or an engine network belongs to. What lacks it is never touched.
pub const LABEL_CLUSTER: &str = "io.swarmr.cluster";
/// Which overlay an engine network carries.
pub const LABEL_NETWORK: &str = "io.swarmr.network";
/// Which task a container is; Docker's own label.
pub const LABEL_TASK: &str = "com.docker.swarm.task.id";

/// A container engine on this machine.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug {
    /// What the engine says of itself and the machine. `hostname` is left empty.
    async fn describe(&self) -> Result<NodeDescription, RuntimeError>;

    /// Every container with the cluster's label, stopped ones included.
    async fn list(&self, cluster: ClusterId) -> Result<Vec<ListedContainer>, RuntimeError>;

    /// Makes the image available.
    async fn pull(&self, image: &str, policy: PullPolicy) -> Result<(), RuntimeError>;

    /// Creates the container and connects it to its networks, without starting it. A container of
    /// that name is [`RuntimeError::NameInUse`].
    async fn create(&self, want: &ContainerWant) -> Result<String, RuntimeError>;

    /// Starts a created container; one that runs already is success.
    async fn start(&self, container: &str) -> Result<(), RuntimeError>;

    /// Sends the container's stop signal, kills it after `grace`, and returns when it has ended.
    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError>;

    /// Removes a stopped container with its anonymous volumes.
    async fn remove(&self, container: &str) -> Result<(), RuntimeError>;

    /// Looks at one container by id or name; `None` when there is none.
    async fn inspect(&self, container: &str) -> Result<Option<ContainerView>, RuntimeError>;

    /// Which of these TCP ports something in the container of process `pid` listens on, for others
    /// than itself. `None` where that cannot be seen. Asks the kernel, not the engine.
    async fn listened_ports(&self, pid: i64, among: &[u16]) -> Option<BTreeSet<u16>>;

    /// News of the cluster's containers from now on. Ends when the engine goes away.
    async fn watch(
        &self,
        cluster: ClusterId,
    ) -> Result<BoxStream<'static, RuntimeEvent>, RuntimeError>;

    /// Makes the engine network that carries an overlay, or finds it.
    async fn ensure_network(&self, want: &EngineNetworkWant) -> Result<(), RuntimeError>;

    /// Removes an engine network; [`RuntimeError::NetworkInUse`] while a container is connected.
    async fn remove_network(&self, name: &str) -> Result<(), RuntimeError>;

    /// Every engine network with the cluster's label.
    async fn list_networks(&self, cluster: ClusterId) -> Result<Vec<EngineNetwork>, RuntimeError>;
}

/// When an image is asked for at its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only if the engine has none of that name.
    Missing,
    Always,
}

/// A container in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContainer {
    pub id: String,
    pub name: String,
    /// `None` when its label is no task's id.
    pub task: Option<TaskId>,
    pub running: bool,
}

/// A container as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub phase: Phase,
    /// Its first process, 0 when it does not run.
    pub pid: i64,
    /// By network name.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Never started, or its start failed.
    Created,
    Running(Health),
    Exited {
        code: i64,
        out_of_memory: bool,
        /// The engine's words; mostly empty.
        error: String,
    },
}

/// What the health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// There is no health check.
    Unchecked,
    Starting,
    Healthy,
    Unhealthy,
}

/// Something happened to a container: look at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    pub container: String,
    pub task: Option<TaskId>,
    pub kind: EventKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Started,
    Exited,
    HealthChanged,
    Removed,
}

/// The engine network that carries one overlay on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetworkWant {
    pub name: String,
    /// The bridge's interface name.
    pub bridge: String,
    pub cluster: ClusterId,
    pub network: NetworkId,
    pub subnet: Subnet,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    /// Containers get no way out of the network.
    pub internal: bool,
}

/// An engine network in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetwork {
    pub id: String,
    pub name: String,
    pub network: Option<NetworkId>,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody answers; whatever runs goes on running.
    #[error("the container engine does not answer: {0}")]
    Unavailable(String),
    /// It may or may not happen yet.
    #[error("{call} took longer than {after:?}")]
    Deadline { call: &'static str, after: Duration },
    #[error("{0}")]
    NoSuchImage(String),
    #[error("{0}")]
    NoSuchContainer(String),
    #[error("{0}")]
    NoSuchNetwork(String),
    #[error("{0}")]
    NameInUse(String),
    #[error("{0}")]
    NetworkInUse(String),
    /// The subnet is taken on this machine, or the network is not as it should be.
    #[error("{0}")]
    NetworkConflict(String),
    /// The engine said no; asking again will not help.
    #[error("{0}")]
    Refused(String),
}

impl RuntimeError {
    /// Whether the same call may succeed later without anything else being changed.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Deadline { .. })
    }
}
