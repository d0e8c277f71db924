//! The [`NetworkDriver`] of a real node: the kernel and the resolver, through the `net` crate.

use std::sync::Arc;

use async_trait::async_trait;
use swarmr_net::datapath::{DataPath, Problem};
use swarmr_net::dataplane::RemoteError;
use swarmr_net::in_words;
use swarmr_net::overlay::OverlayProblem;

use super::network::{
    Comparison, Concern, NetworkDriver, NetworkError, NetworkProblem, NetworkWants,
};

/// The data path in this process.
#[derive(Debug, Clone)]
pub struct NetDriver {
    path: Arc<DataPath>,
}

impl NetDriver {
    /// Drives a data path that the caller started and closes.
    pub const fn new(path: Arc<DataPath>) -> Self {
        Self { path }
    }
}

#[async_trait]
impl NetworkDriver for NetDriver {
    async fn apply(&self, wants: NetworkWants) -> Result<Vec<NetworkProblem>, NetworkError> {
        let problems = self.path.apply(wants).await.map_err(explain)?;
        // What is confirmed to the managers is that nobody is served by the old tables.
        self.path.settle().await.map_err(explain)?;
        sort(&problems)
    }

    async fn reconcile(&self) -> Result<Vec<NetworkProblem>, NetworkError> {
        let problems = self.path.reconcile().await.map_err(explain)?;
        sort(&problems)
    }

    async fn compare(&self) -> Result<Comparison, NetworkError> {
        self.path.compare().await.map_err(explain)
    }
}

/// Rules that are not in the kernel mean that balancing is not as wanted; anything else concerns
/// one network, or something that a task can do without.
fn sort(problems: &[Problem]) -> Result<Vec<NetworkProblem>, NetworkError> {
    problems
        .iter()
        .map(|problem| match problem {
            Problem::Rules(_) => Err(NetworkError(problem.explain())),
            Problem::Overlay(OverlayProblem::BridgeMissing { bridge, .. }) => Ok(NetworkProblem {
                concerns: Concern::Bridge(bridge.clone()),
                message: problem.explain(),
            }),
            Problem::Plane(RemoteError::Tunnel(_)) => Ok(NetworkProblem {
                concerns: Concern::Encrypted,
                message: problem.explain(),
            }),
            _ => Ok(NetworkProblem {
                concerns: Concern::Node,
                message: problem.explain(),
            }),
        })
        .collect()
}

fn explain(error: impl std::error::Error) -> NetworkError {
    NetworkError(in_words(&error))
}
