//! A deadline around every call to an engine. The agent wraps whatever runtime it is given, so
//! that no implementation can forget one.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::time::timeout;

use super::container::ContainerWant;
use super::runtime::{
    ContainerView, EngineNetwork, EngineNetworkWant, ListedContainer, PullPolicy, Runtime,
    RuntimeError, RuntimeEvent,
};
use crate::spec::ClusterId;
use crate::state::node::NodeDescription;

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Looking at one thing.
    pub look: Duration,
    /// Listing everything.
    pub list: Duration,
    /// Creating, starting, removing a container or a network.
    pub change: Duration,
    /// Pulling an image.
    pub pull: Duration,
    /// On top of the grace period of a stop.
    pub stop_slack: Duration,
    /// How long an application that runs may take to listen on its published ports. Then it counts
    /// as running all the same: a health check is the way to say more.
    pub listen: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(15),
            list: Duration::from_secs(60),
            change: Duration::from_secs(120),
            pull: Duration::from_secs(3600),
            stop_slack: Duration::from_secs(30),
            listen: Duration::from_secs(10),
        }
    }
}

/// A runtime whose every call ends.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Arc<dyn Runtime>,
    deadlines: Deadlines,
}

impl Bounded {
    pub(super) fn new(inner: Arc<dyn Runtime>, deadlines: Deadlines) -> Self {
        Self { inner, deadlines }
    }
}

async fn within<T>(
    call: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, RuntimeError>> + Send,
) -> Result<T, RuntimeError> {
    timeout(after, work)
        .await
        .unwrap_or(Err(RuntimeError::Deadline { call, after }))
}

#[async_trait]
impl Runtime for Bounded {
    async fn describe(&self) -> Result<NodeDescription, RuntimeError> {
        within("describe", self.deadlines.look, self.inner.describe()).await
    }

    async fn list(&self, cluster: ClusterId) -> Result<Vec<ListedContainer>, RuntimeError> {
        within(
            "list containers",
            self.deadlines.list,
            self.inner.list(cluster),
        )
        .await
    }

    async fn pull(&self, image: &str, policy: PullPolicy) -> Result<(), RuntimeError> {
        within("pull", self.deadlines.pull, self.inner.pull(image, policy)).await
    }

    async fn create(&self, want: &ContainerWant) -> Result<String, RuntimeError> {
        within(
            "create container",
            self.deadlines.change,
            self.inner.create(want),
        )
        .await
    }

    async fn start(&self, container: &str) -> Result<(), RuntimeError> {
        within(
            "start container",
            self.deadlines.change,
            self.inner.start(container),
        )
        .await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        within(
            "stop container",
            grace.saturating_add(self.deadlines.stop_slack),
            self.inner.stop(container, grace),
        )
        .await
    }

    async fn remove(&self, container: &str) -> Result<(), RuntimeError> {
        within(
            "remove container",
            self.deadlines.change,
            self.inner.remove(container),
        )
        .await
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerView>, RuntimeError> {
        within(
            "inspect container",
            self.deadlines.look,
            self.inner.inspect(container),
        )
        .await
    }

    async fn listened_ports(&self, pid: i64, among: &[u16]) -> Option<BTreeSet<u16>> {
        let looking = self.inner.listened_ports(pid, among);
        timeout(self.deadlines.look, looking).await.ok().flatten()
    }

    async fn watch(
        &self,
        cluster: ClusterId,
    ) -> Result<BoxStream<'static, RuntimeEvent>, RuntimeError> {
        within("watch", self.deadlines.look, self.inner.watch(cluster)).await
    }

    async fn ensure_network(&self, want: &EngineNetworkWant) -> Result<(), RuntimeError> {
        within(
            "create network",
            self.deadlines.change,
            self.inner.ensure_network(want),
        )
        .await
    }

    async fn remove_network(&self, name: &str) -> Result<(), RuntimeError> {
        within(
            "remove network",
            self.deadlines.change,
            self.inner.remove_network(name),
        )
        .await
    }

    async fn list_networks(&self, cluster: ClusterId) -> Result<Vec<EngineNetwork>, RuntimeError> {
        within(
            "list networks",
            self.deadlines.list,
            self.inner.list_networks(cluster),
        )
        .await
    }
}
