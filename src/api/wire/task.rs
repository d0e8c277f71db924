//! A task: `GET /tasks`.

use serde::{Deserialize, Serialize};

use super::Meta;
use super::attachment::AttachedNetwork;
use super::job::JobIteration;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::service::{Labels, PortConfig, PublishMode};
use crate::spec::{NodeId, ServiceId, TaskId, TaskSpec, Timestamp};
use crate::state::task::TaskState;
use crate::state::{self, State};

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Task {
    #[serde(rename = "ID")]
    pub id: TaskId,
    #[serde(flatten)]
    pub meta: Meta,
    #[serde(default, deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(default, deserialize_with = "nullable")]
    pub spec: TaskSpec,
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    /// Absent for tasks of global services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    #[serde(
        rename = "NodeID",
        default,
        deserialize_with = "empty_is_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub node_id: Option<NodeId>,
    pub status: TaskStatus,
    pub desired_state: DesiredState,
    /// Which run of a job it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_iteration: Option<JobIteration>,
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub networks_attachments: Vec<NetworkAttachment>,
    /// Always `null`: cluster volumes are not built yet.
    #[serde(default)]
    pub volumes: Option<Vec<serde_json::Value>>,
}

/// What the managers want of a task, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    Ready,
    Running,
    /// A job's task runs in order to complete.
    Complete,
    Shutdown,
    Remove,
}

impl DesiredState {
    pub const fn of(task: &state::Task) -> Self {
        match task.desired {
            state::task::DesiredState::Ready => Self::Ready,
            state::task::DesiredState::Running if task.slot.run().is_some() => Self::Complete,
            state::task::DesiredState::Running => Self::Running,
            state::task::DesiredState::Shutdown => Self::Shutdown,
            state::task::DesiredState::Remove => Self::Remove,
        }
    }

    /// As the API spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Remove => "remove",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskStatus {
    pub timestamp: Timestamp,
    pub state: TaskState,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: String,
    /// What went wrong, or why it waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub err: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatus>,
    #[serde(default, deserialize_with = "nullable")]
    pub port_status: PortStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    #[serde(rename = "PID")]
    pub pid: i64,
    pub exit_code: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortStatus {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub ports: Vec<PortConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkAttachment {
    pub network: AttachedNetwork,
    /// With the subnet's length: `10.0.1.3/24`.
    #[serde(default, deserialize_with = "nullable")]
    pub addresses: Vec<String>,
}

fn empty_is_none<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NodeId>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

/// A task with the spec that it runs.
pub fn render(task: &state::Task, state: &State) -> Task {
    let service = state.service(task.service);
    let mut spec = service
        .and_then(|service| service.spec_at(task.spec_version))
        .map(|spec| spec.task_template.clone())
        .unwrap_or_default();
    // Docker shows the runtime on services only.
    spec.runtime = None;
    Task {
        id: task.id,
        meta: task.meta.into(),
        labels: Labels::new(),
        spec,
        service_id: task.service,
        slot: task.slot.number(),
        node_id: task.node,
        status: status(task, state),
        desired_state: DesiredState::of(task),
        job_iteration: task.slot.run().map(|index| JobIteration { index }),
        networks_attachments: task
            .attachments
            .iter()
            .filter_map(|attachment| {
                let network = state.network(attachment.network)?;
                Some(NetworkAttachment {
                    network: super::attachment::render(network),
                    addresses: vec![format!(
                        "{}/{}",
                        attachment.address,
                        network.subnet.prefix()
                    )],
                })
            })
            .collect(),
        volumes: None,
    }
}

fn status(task: &state::Task, state: &State) -> TaskStatus {
    let status = &task.status;
    let err = match &task.waiting {
        Some(waiting) if status.err.is_empty() => waiting.to_string(),
        _ => status.err.to_string(),
    };
    TaskStatus {
        timestamp: status.at,
        state: status.state,
        message: status.message.to_string(),
        err,
        container_status: status.container.as_ref().map(|container| ContainerStatus {
            container_id: container.id.to_string(),
            pid: container.pid,
            exit_code: container.exit_code,
        }),
        port_status: PortStatus {
            ports: host_ports(task, state),
        },
    }
}

/// The ports that a running task holds on its own node.
fn host_ports(task: &state::Task, state: &State) -> Vec<PortConfig> {
    if task.status.state != TaskState::Running {
        return Vec::new();
    }
    state
        .service(task.service)
        .and_then(|service| service.spec_at(task.spec_version))
        .into_iter()
        .flat_map(|spec| spec.ports())
        .filter(|port| port.publish_mode == PublishMode::Host && port.published_port != 0)
        .cloned()
        .collect()
}

/// What Docker calls a task: `web.1.<id>`, or `web.<node>.<id>` for a global service.
pub fn name(task: &state::Task, state: &State) -> String {
    let service = state.service(task.service).map_or_else(
        || task.service.to_string(),
        |service| service.name().to_owned(),
    );
    format!("{service}.{}.{}", task.slot, task.id)
}
