//! What runs inside a task: the container part of a spec, in Docker's words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::nullable::{is_default, nullable};
use super::service::Labels;
use super::time::Nanos;

/// `ContainerSpec` of the Engine API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSpec {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub image: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub labels: Labels,
    /// Replaces the image's entry point.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub hostname: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub dir: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub user: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub stop_signal: String,
    #[serde(
        rename = "TTY",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub tty: bool,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub open_stdin: bool,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub read_only: bool,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Nanos>,
    #[serde(
        alias = "HealthCheck",
        alias = "healthcheck",
        skip_serializing_if = "Option::is_none"
    )]
    pub healthcheck: Option<Healthcheck>,
    /// Lines for `/etc/hosts`: an address, a space, names.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub hosts: Vec<String>,
    #[serde(rename = "DNSConfig", skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub secrets: Vec<serde_json::Value>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub configs: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub sysctls: Labels,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub capability_add: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub capability_drop: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub ulimits: Vec<Ulimit>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub oom_score_adj: i64,
    /// Fields of Docker's that swarmr does not act on, kept so that they read back as sent.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl ContainerSpec {
    /// Docker's default is 10 s.
    pub fn stop_grace_period(&self) -> Nanos {
        self.stop_grace_period.unwrap_or(Nanos::from_secs(10))
    }
}

/// One mount. Options of each kind are kept as Docker sends them; the engine understands them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, …; absent means `volume`.
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub source: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub target: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// `BindOptions`, `VolumeOptions`, `TmpfsOptions`, `Consistency`, …
    #[serde(flatten)]
    pub options: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty inherits the image's.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub test: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub interval: Nanos,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub timeout: Nanos,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub start_period: Nanos,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub start_interval: Nanos,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub retries: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DnsConfig {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub nameservers: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub search: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub soft: i64,
    #[serde(deserialize_with = "nullable")]
    pub hard: i64,
}
