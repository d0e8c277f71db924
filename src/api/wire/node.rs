//! A node: `GET /nodes`.

use serde::{Deserialize, Serialize};

use super::cluster::TlsInfo;
use super::{Meta, host_of};
use crate::api::control::Consensus;
use crate::spec::device::Device;
use crate::spec::generic::GenericResource;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::{Labels, Platform};
use crate::spec::{NodeId, NodeSpec, Timestamp};
use crate::state::node::NodeState;
use crate::state::task::Waiting;
use crate::state::{self, State};

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
    /// What Docker's nodes do not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarmr: Option<Beyond>,
}

/// What there is to say of a node beyond Docker's API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Beyond {
    /// How far the drain of the node is; absent unless it is drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// A node that is drained, until nothing is left on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Drain {
    /// When what is left is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// What has not left yet.
    pub tasks: Vec<Leaving>,
}

/// One task that is to leave its node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Leaving {
    #[serde(rename = "ID")]
    pub id: String,
    /// `web.3`, or the service's name alone for a task of a global service.
    pub name: String,
    /// What it waits for.
    pub reason: String,
    /// It will not leave unless something else changes.
    pub blocked: bool,
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
pub fn render(
    node: &state::Node,
    state: &State,
    consensus: &Consensus,
    tls_info: &TlsInfo,
) -> Node {
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
        swarmr: node.is_drained().then(|| Beyond {
            drain: Some(drain(node, state)),
        }),
    }
}

fn drain(node: &state::Node, state: &State) -> Drain {
    let mut tasks: Vec<Leaving> = state
        .tasks_on(node.id)
        .filter(|task| !task.has_ended())
        .map(|task| leaving(task, state))
        .collect();
    tasks.sort_by(|left, right| left.name.cmp(&right.name));
    Drain {
        deadline: node.drain_deadline,
        tasks,
    }
}

fn leaving(task: &state::Task, state: &State) -> Leaving {
    let service = state.service(task.service);
    let service = service.map_or_else(|| task.service.to_string(), |it| it.name().to_owned());
    let (reason, blocked) = match task.waiting.as_deref() {
        Some(Waiting::Leaving(stay)) => (stay.to_string(), stay.is_blocked()),
        Some(waiting) => (waiting.to_string(), false),
        None if task.is_wanted() => ("is about to leave".to_owned(), false),
        None => ("is being stopped".to_owned(), false),
    };
    Leaving {
        id: task.id.to_string(),
        name: match task.slot.number() {
            Some(number) => format!("{service}.{number}"),
            None => service,
        },
        reason,
        blocked,
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
