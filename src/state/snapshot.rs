//! The state as one run of bytes: the tables, without the indexes that follow from them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec::{self, DecodeError};
use super::{Cluster, Config, Network, Node, Service, State, Table, Task};
use crate::spec::{ConfigId, NetworkId, NodeId, ServiceId, Timestamp};

/// What a snapshot holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    index: u64,
    #[serde(default)]
    clock: Timestamp,
    cluster: Option<Arc<Cluster>>,
    nodes: Vec<Arc<Node>>,
    services: Vec<Arc<Service>>,
    #[serde(default)]
    departed: Vec<Arc<Service>>,
    tasks: Vec<Arc<Task>>,
    networks: Vec<Arc<Network>>,
    configs: Vec<Arc<Config>>,
}

impl State {
    /// Bytes that [`State::from_snapshot`] reads back.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        codec::encode(&Stored {
            index: self.index,
            clock: self.clock,
            cluster: self.cluster.clone(),
            nodes: self.nodes.values().cloned().collect(),
            services: self.services.values().cloned().collect(),
            departed: self.departed.values().cloned().collect(),
            tasks: self.tasks.iter().cloned().collect(),
            networks: self.networks.values().cloned().collect(),
            configs: self.configs.values().cloned().collect(),
        })
    }

    /// The state that a snapshot holds, indexes rebuilt.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored = codec::decode(bytes)?;
        let mut state = Self {
            index: stored.index,
            clock: stored.clock,
            cluster: stored.cluster,
            nodes: stored
                .nodes
                .into_iter()
                .map(|node| (node.id, node))
                .collect::<Table<NodeId, Node>>(),
            services: stored
                .services
                .into_iter()
                .map(|service| (service.id, service))
                .collect::<Table<ServiceId, Service>>(),
            departed: stored
                .departed
                .into_iter()
                .map(|service| (service.id, service))
                .collect::<Table<ServiceId, Service>>(),
            tasks: stored.tasks.into_iter().collect(),
            networks: stored
                .networks
                .into_iter()
                .map(|network| (network.id, network))
                .collect::<Table<NetworkId, Network>>(),
            configs: stored
                .configs
                .into_iter()
                .map(|config| (config.id, config))
                .collect::<Table<ConfigId, Config>>(),
            ..Self::default()
        };
        state.rebuild_indexes();
        Ok(state)
    }
}
