//! A node: `GET /nodes`.

use serde::{Deserialize, Serialize};

use super::cluster::TlsInfo;
use super::{Meta, host_of};
use crate::api::control::Consensus;
use crate::spec::device::Device;
use crate::spec::generic::GenericResource;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::{Labels, Platform};
use crate::spec::{NodeId, NodeSpec};
use crate::state;
use crate::state::node::NodeState;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: NodeId,
    #[serde(flatten)]
    pub meta: Meta,
    pub spec: NodeSpec,
    #[serde(default, deserialize_with = "nullable")]
    pub description: Description,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_status: Option<ManagerStatus>,
}

impl Node {
    /// What users call it: the name they gave, else its host name.
    pub fn name(&self) -> &str {
        if self.spec.name.is_empty() {
            &self.description.hostname
        } else {
            &self.spec.name
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Description {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub platform: Platform,
    #[serde(deserialize_with = "nullable")]
    pub resources: NodeResources,
    #[serde(deserialize_with = "nullable")]
    pub engine: EngineDescription,
    #[serde(rename = "TLSInfo", deserialize_with = "nullable")]
    pub tls_info: TlsInfo,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeResources {
    #[serde(rename = "NanoCPUs", skip_serializing_if = "is_default")]
    pub nano_cpus: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub memory_bytes: i64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub generic_resources: Vec<GenericResource>,
    /// swarmr's own: devices that services can ask for.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EngineDescription {
    #[serde(skip_serializing_if = "is_default")]
    pub engine_version: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub labels: Labels,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub plugins: Vec<Plugin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugin {
    #[serde(rename = "Type")]
    pub kind: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    pub state: NodeState,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub addr: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ManagerStatus {
    #[serde(default, skip_serializing_if = "is_default")]
    pub leader: bool,
    pub reachability: Reachability,
    pub addr: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    Unknown,
    Unreachable,
    Reachable,
}

impl std::fmt::Display for Reachability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Reachable => "reachable",
        })
    }
}

/// A node; `consensus` tells who leads and who is silent, `tls_info` is the cluster's root.
pub fn render(node: &state::Node, consensus: &Consensus, tls_info: &TlsInfo) -> Node {
    let description = &node.description;
    Node {
        id: node.id,
        meta: node.meta.into(),
        spec: node.spec.clone(),
        description: Description {
            hostname: description.hostname.clone(),
            platform: Platform {
                architecture: description.architecture.clone(),
                os: description.os.clone(),
            },
            resources: NodeResources {
                nano_cpus: description.nano_cpus,
                memory_bytes: description.memory_bytes,
                generic_resources: description.generic_resources.clone(),
                devices: description.devices.clone(),
            },
            engine: EngineDescription {
                engine_version: description.engine_version.clone(),
                labels: description.engine_labels.clone(),
                plugins: description
                    .plugins
                    .iter()
                    .map(|(kind, name)| Plugin {
                        kind: kind.clone(),
                        name: name.clone(),
                    })
                    .collect(),
            },
            tls_info: tls_info.clone(),
        },
        status: Status {
            state: node.status.state,
            message: node.status.message.clone(),
            addr: host_of(&node.addr).to_owned(),
        },
        manager_status: node.member.map(|_| manager_status(node, consensus)),
    }
}

fn manager_status(node: &state::Node, consensus: &Consensus) -> ManagerStatus {
    ManagerStatus {
        leader: consensus.leader == Some(node.id),
        reachability: if consensus.unreachable.contains(&node.id) {
            Reachability::Unreachable
        } else if consensus.voters.contains(&node.id) {
            Reachability::Reachable
        } else {
            Reachability::Unknown
        },
        addr: node.addr.clone(),
    }
}
