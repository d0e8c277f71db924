//! Settings of the whole cluster: Docker's `SwarmSpec`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::nullable::nullable;
use super::service::Labels;
use super::time::Nanos;

/// `SwarmSpec` of the Engine API. Parts that swarmr does not act on are kept in `other`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ClusterSpec {
    /// Always `default`.
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(deserialize_with = "nullable")]
    pub orchestration: Orchestration,
    #[serde(deserialize_with = "nullable")]
    pub dispatcher: Dispatcher,
    #[serde(rename = "CAConfig", deserialize_with = "nullable")]
    pub ca_config: CaConfig,
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            labels: Labels::default(),
            orchestration: Orchestration::default(),
            dispatcher: Dispatcher::default(),
            ca_config: CaConfig::default(),
            other: BTreeMap::default(),
        }
    }
}

impl ClusterSpec {
    /// Ended tasks kept per slot; `None` keeps all.
    pub fn task_history_limit(&self) -> Option<usize> {
        usize::try_from(self.orchestration.task_history_retention_limit.unwrap_or(5)).ok()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Orchestration {
    /// Absent means 5, negative keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_history_retention_limit: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dispatcher {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_period: Option<Nanos>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_cert_expiry: Option<Nanos>,
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}
