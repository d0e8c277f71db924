//! The JSON of Docker's Engine API, as types of our own. Layer: shell, but pure.
//!
//! The server writes them (the `render` functions turn objects of the state into them), the client
//! and the CLI read them. They follow what engines were recorded to answer, field by field, not the
//! published schema, which leaves out fields that clients depend on.

pub mod attachment;
pub mod certificate;
pub mod cluster;
pub mod config;
pub mod doctor;
pub mod error;
pub mod event;
pub mod info;
pub mod job;
pub mod network;
pub mod node;
pub mod planning;
pub mod revision;
pub mod service;
pub mod task;
pub mod version;

pub use cluster::{JoinTokens, Swarm, SwarmInit, SwarmJoin, TlsInfo, UnlockKey};
pub use config::Config;
pub use error::{ErrorBody, ErrorCode};
pub use event::{Actor, Event};
pub use info::SwarmInfo;
pub use job::{JobStatus, RunStarted};
pub use network::{Network, NetworkCreate, NetworkCreated};
pub use node::Node;
pub use service::{Service, ServiceUpdated};
pub use task::Task;
pub use version::EngineVersion;

use serde::{Deserialize, Serialize};

use crate::spec::Timestamp;
use crate::state;

/// `{"Index": N}`: what an update must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    pub index: u64,
}

/// The fields that every replicated object begins with, after its `ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Meta {
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<state::Meta> for Meta {
    fn from(meta: state::Meta) -> Self {
        Self {
            version: Version {
                index: meta.version,
            },
            created_at: meta.created_at,
            updated_at: meta.updated_at,
        }
    }
}

/// What `create` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Created {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(
        deserialize_with = "crate::spec::nullable::nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub warnings: Vec<String>,
}

/// An address without its port, as Docker shows nodes: `10.0.0.1:2377` is `10.0.0.1`.
pub fn host_of(addr: &str) -> &str {
    addr.rsplit_once(':')
        .map_or(addr, |(host, _)| host.trim_matches(['[', ']']))
}
