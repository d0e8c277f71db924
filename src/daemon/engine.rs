//! The container engine of this machine: Docker's, or the fake one; and the data path beside it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use swarmr_net::datapath::DataPath;

use super::dataplane;
use super::disk::StateDirectory;
use super::options::DaemonOptions;
use crate::agent::{
    Agent, AgentConfig, Docker, FakeNetworkDriver, FakeRuntime, Inventory, NetDriver,
    NetworkDriver, Runtime, remove_everything,
};
use crate::api::EngineAddress;
use crate::spec::{ClusterId, NodeId};
use crate::state::node::NodeDescription;

/// Where the host says which resolvers it uses.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// What runs containers here, and what carries their packets.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    /// Docker's socket; `None` is the fake engine.
    socket: Option<PathBuf>,
    runtime: Arc<dyn Runtime>,
    driver: Arc<dyn NetworkDriver>,
    hostname: String,
    inventory: Inventory,
}

impl Engine {
    pub(super) async fn connect(
        options: &DaemonOptions,
        disk: &StateDirectory,
    ) -> anyhow::Result<Self> {
        let hostname = nix::unistd::gethostname()
            .context("cannot read this machine's name")?
            .to_string_lossy()
            .into_owned();
        let (runtime, driver): (Arc<dyn Runtime>, Arc<dyn NetworkDriver>) = match &options.engine {
            Some(socket) => {
                let launch =
                    dataplane::launch(disk.root(), &options.log_level, options.log_format)?;
                let path = DataPath::start_beside(&upstreams(), launch)
                    .context("cannot reach the kernel's network tables: swarmr must run as root")?;
                let runtime = Docker::new(&socket.to_string_lossy());
                (Arc::new(runtime), Arc::new(NetDriver::new(Arc::new(path))))
            }
            None => {
                let file = disk.fake_engine();
                let runtime = FakeRuntime::open(file.clone(), Default::default())
                    .with_context(|| format!("cannot use {}", file.display()))?;
                (Arc::new(runtime), Arc::new(FakeNetworkDriver::default()))
            }
        };
        Ok(Self {
            socket: options.engine.clone(),
            runtime,
            driver,
            hostname,
            inventory: options.inventory.clone(),
        })
    }

    /// Where the API hands on what is not swarmr's.
    pub(super) fn address(&self) -> EngineAddress {
        match &self.socket {
            Some(socket) => EngineAddress::Unix(socket.clone()),
            None => EngineAddress::Fake,
        }
    }

    pub(super) fn start_agent(
        &self,
        node: NodeId,
        cluster: ClusterId,
        disk: &StateDirectory,
    ) -> anyhow::Result<Agent> {
        let mut config =
            AgentConfig::new(node, cluster, self.hostname.clone(), disk.root().to_owned());
        config.inventory = self.inventory.clone();
        Agent::start(config, self.runtime.clone(), self.driver.clone())
            .context("the agent cannot be started")
    }

    /// What this machine is, for its first appearance in a cluster.
    pub(super) async fn describe(&self) -> Result<NodeDescription, String> {
        let described = self.runtime.describe().await.map_err(|error| {
            let place = self.socket.as_ref().map_or_else(|| "fake".to_owned(), |socket| socket.display().to_string());
            format!(
                "the container engine at {place} does not answer: {error}. Install or start Docker 20.10 or newer, or \
                 give --engine unix://PATH; swarmr check names everything that is missing"
            )
        })?;
        Ok(NodeDescription {
            hostname: self.hostname.clone(),
            ..self.inventory.complete(described)
        })
    }

    /// Stops and removes all that runs here for a cluster that this node has left.
    pub(super) async fn remove_everything(&self, cluster: ClusterId) {
        if let Err(error) =
            remove_everything(self.runtime.clone(), self.driver.as_ref(), cluster).await
        {
            tracing::warn!(%error, "not everything of the cluster could be removed from the engine");
        }
    }
}

/// The host's own resolvers, to which names that are not the cluster's are handed on.
fn upstreams() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|address| address.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .collect()
}
