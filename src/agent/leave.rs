//! Leaving nothing behind: for a node that leaves its cluster.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;

use super::bounded::{Bounded, Deadlines};
use super::network::{NetworkDriver, NetworkWants};
use super::runtime::{Runtime, RuntimeError};
use crate::spec::ClusterId;

/// Between the stop signal and the end.
const GRACE: Duration = Duration::from_secs(10);
/// Containers stopped at a time.
const AT_ONCE: usize = 16;

/// Stops and removes every container and network of the cluster on this machine and takes
/// everything out of the data path. Goes on after a failure and returns the first. The agent must
/// be closed before.
pub async fn remove_everything(
    runtime: Arc<dyn Runtime>,
    driver: &dyn NetworkDriver,
    cluster: ClusterId,
) -> Result<(), RuntimeError> {
    let runtime = &Bounded::new(runtime, Deadlines::default());
    let containers = runtime.list(cluster).await?;
    let removed: Vec<Result<(), RuntimeError>> = stream::iter(containers)
        .map(|container| async move {
            if container.running {
                runtime.stop(&container.id, GRACE).await?;
            }
            match runtime.remove(&container.id).await {
                Err(RuntimeError::NoSuchContainer(_)) => Ok(()),
                result => result,
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    if let Err(error) = driver.apply(NetworkWants::default()).await {
        tracing::warn!(%error, "the data path is not clean");
    }
    let mut result: Result<(), RuntimeError> = removed.into_iter().collect();
    for network in runtime.list_networks(cluster).await? {
        result = result.and(runtime.remove_network(&network.name).await);
    }
    result
}
