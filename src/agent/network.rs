//! What an agent needs of the node's data path: the [`NetworkDriver`] trait.
//!
//! Implemented by `net_driver` (the kernel, through the `net` crate) and `network_fake` (records
//! what it is told). Called by the network keeper only.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

pub use swarmr_net::datapath::Comparison;
/// Overlays, balancing and names of this node: everything that should be. What is not named is
/// removed.
pub use swarmr_net::datapath::Want as NetworkWants;

/// The data path of this node.
#[async_trait]
pub trait NetworkDriver: Send + Sync + fmt::Debug {
    /// Makes the data path be `wants`. When it returns `Ok`, new connections and names follow
    /// `wants`, except for what the problems say.
    async fn apply(&self, wants: NetworkWants) -> Result<Vec<NetworkProblem>, NetworkError>;

    /// Compares with the kernel at once and repairs: for after the engine was restarted.
    async fn reconcile(&self) -> Result<Vec<NetworkProblem>, NetworkError>;

    /// Compares with the kernel and leaves it as it is.
    async fn compare(&self) -> Result<Comparison, NetworkError>;
}

/// What a problem is a problem of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// The network with that bridge.
    Bridge(String),
    /// All encrypted networks.
    Encrypted,
    /// No network in particular.
    Node,
}

/// Something is not as wanted; the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkProblem {
    pub concerns: Concern,
    pub message: String,
}

/// Balancing and names are not as wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(pub String);

/// Records what it is told: for nodes whose containers are not real either, and for tests.
#[derive(Debug, Clone, Default)]
pub struct FakeNetworkDriver {
    inner: Arc<Mutex<FakeState>>,
}

#[derive(Debug, Default)]
struct FakeState {
    applied: Option<NetworkWants>,
    applies: u64,
    fails: bool,
}

impl FakeNetworkDriver {
    /// The wants in force.
    pub fn applied(&self) -> Option<NetworkWants> {
        self.state().applied.clone()
    }

    /// How many times wants were applied.
    pub fn applies(&self) -> u64 {
        self.state().applies
    }

    /// Lets every call fail, or no longer.
    pub fn set_failing(&self, fails: bool) {
        self.state().fails = fails;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, FakeState> {
        // Nothing panics while holding it; were it so, the record would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NetworkDriver for FakeNetworkDriver {
    async fn apply(&self, wants: NetworkWants) -> Result<Vec<NetworkProblem>, NetworkError> {
        let mut state = self.state();
        if state.fails {
            return Err(NetworkError("told to fail".to_owned()));
        }
        state.applies += 1;
        state.applied = Some(wants);
        Ok(Vec::new())
    }

    async fn reconcile(&self) -> Result<Vec<NetworkProblem>, NetworkError> {
        match self.state().fails {
            true => Err(NetworkError("told to fail".to_owned())),
            false => Ok(Vec::new()),
        }
    }

    async fn compare(&self) -> Result<Comparison, NetworkError> {
        match self.state().fails {
            true => Err(NetworkError("told to fail".to_owned())),
            false => Ok(Comparison::default()),
        }
    }
}
