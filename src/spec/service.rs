//! A service as its user wrote it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::ContainerSpec;
use super::extension::{Backoff, Connections, Extension, Step, StepSize};
use super::generic::GenericResource;
use super::nullable::{is_default, nullable};
use super::policy::{RestartPolicy, UpdateConfig, UpdatePolicy};
use super::schedule::Schedule;

/// Labels: names and values, in a fixed order.
pub type Labels = BTreeMap<String, String>;

/// `ServiceSpec` of the Engine API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceSpec {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    #[serde(deserialize_with = "nullable")]
    pub task_template: TaskSpec,
    #[serde(deserialize_with = "nullable")]
    pub mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// Where clients of API 1.24 put networks; read only when the task template names none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub networks: Vec<NetworkAttachmentConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_spec: Option<EndpointSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swarmr: Option<Extension>,
}

impl ServiceSpec {
    /// How many tasks a replicated service wants; `None` for a global one.
    pub const fn replicas(&self) -> Option<u64> {
        match &self.mode {
            Mode::Replicated(replicated) => match replicated.replicas {
                Some(replicas) => Some(replicas),
                None => Some(1),
            },
            Mode::ReplicatedJob(_) | Mode::Global(_) | Mode::GlobalJob(_) => None,
        }
    }

    /// When its job runs, if a clock decides that.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.swarmr.as_ref()?.schedule.as_ref()
    }

    /// Which task a connection goes to, if anything was said about that.
    pub fn connections(&self) -> Option<&Connections> {
        self.swarmr.as_ref()?.connections.as_ref()
    }

    /// What it has beyond Docker's spec; the defaults when nothing was said.
    pub fn extension(&self) -> Extension {
        self.swarmr.clone().unwrap_or_default()
    }

    /// Whether what both have beyond Docker's specs makes the same tasks.
    pub fn extends_same_tasks(&self, other: &Self) -> bool {
        self.swarmr == other.swarmr || self.extension().makes_same_tasks(&other.extension())
    }

    /// The networks its tasks are on, as named by the user (an id or a name).
    pub fn networks(&self) -> &[NetworkAttachmentConfig] {
        if self.task_template.networks.is_empty() {
            &self.networks
        } else {
            &self.task_template.networks
        }
    }

    /// What an update does, with Docker's defaults filled in.
    pub fn update_policy(&self) -> UpdatePolicy {
        let extension = self.swarmr.as_ref();
        UpdatePolicy::new(
            self.update_config.as_ref(),
            extension.and_then(|extension| extension.update.as_ref()),
        )
    }

    /// What a rollback does, with Docker's defaults filled in.
    pub fn rollback_policy(&self) -> UpdatePolicy {
        let extension = self.swarmr.as_ref();
        UpdatePolicy::new(
            self.rollback_config.as_ref(),
            extension.and_then(|extension| extension.rollback.as_ref()),
        )
    }

    /// Where an update stops until it is promoted, and after which time it goes on by itself. The
    /// rest follows the last.
    pub fn update_steps(&self) -> Vec<Step> {
        let update = self.swarmr.as_ref().and_then(|it| it.update.as_ref());
        let Some(update) = update else {
            return Vec::new();
        };
        let steps = update.steps.iter();
        steps
            .filter(|step| step.size != StepSize::Percent(100))
            .map(|step| Step {
                delay: step.delay.or(update.step_delay),
                ..*step
            })
            .collect()
    }

    /// How long restarts of its tasks wait.
    pub fn backoff(&self) -> Backoff {
        let policy = self.task_template.restart_policy.as_ref();
        let extension = self.swarmr.as_ref().and_then(|it| it.restart.as_ref());
        Backoff::new(policy.unwrap_or(&RestartPolicy::default()), extension)
    }

    /// Whether the service has a virtual IP on its networks (not `dnsrr`).
    pub fn wants_vip(&self) -> bool {
        self.endpoint_spec
            .as_ref()
            .is_none_or(|endpoint| endpoint.mode.unwrap_or_default() == EndpointMode::Vip)
    }

    /// The ports as the user asked for them.
    pub fn ports(&self) -> &[PortConfig] {
        self.endpoint_spec
            .as_ref()
            .map_or(&[], |endpoint| endpoint.ports.as_slice())
    }
}

/// `TaskSpec` of the Engine API: what one task of the service is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskSpec {
    #[serde(deserialize_with = "nullable")]
    pub container_spec: ContainerSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub networks: Vec<NetworkAttachmentConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<LogDriver>,
    /// Counted up by `--force`: a change that redeploys without changing anything else.
    #[serde(deserialize_with = "nullable")]
    pub force_update: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Fields of Docker's that swarmr does not act on, kept so that they read back as sent.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl TaskSpec {
    /// What a task reserves on its node.
    pub fn reservations(&self) -> Resources {
        self.resources
            .as_ref()
            .and_then(|resources| resources.reservations.clone())
            .unwrap_or_default()
    }

    /// Constraints on nodes, as written.
    pub fn constraints(&self) -> &[String] {
        let placement = self.placement.as_ref();
        placement.map_or(&[], |placement| &placement.constraints)
    }

    /// Placement rules; none when the user gave none.
    pub fn placement(&self) -> Placement {
        self.placement.clone().unwrap_or_default()
    }
}

/// How many tasks a service has and what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Replicated(Replicated),
    Global(GlobalMode),
    ReplicatedJob(ReplicatedJob),
    GlobalJob(GlobalMode),
}

impl Mode {
    /// Whether its tasks are there to end.
    pub const fn is_job(&self) -> bool {
        matches!(self, Self::ReplicatedJob(_) | Self::GlobalJob(_))
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::Replicated(Replicated::default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Replicated {
    /// Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
}

/// The empty object that Docker writes for modes without settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GlobalMode {}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReplicatedJob {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_completions: Option<u64>,
}

impl ReplicatedJob {
    /// How many of its tasks may run at once; Docker's default is 1.
    pub fn max_concurrent(&self) -> u64 {
        self.max_concurrent.unwrap_or(1)
    }

    /// How many of its tasks must complete; as many as run at once where nothing else was said.
    pub fn total_completions(&self) -> u64 {
        self.total_completions
            .unwrap_or_else(|| self.max_concurrent())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceRequirements {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Resources>,
}

/// Amounts; zero means "not set".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// CPUs in units of 10^-9.
    #[serde(
        rename = "NanoCPUs",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub nano_cpus: i64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub memory_bytes: i64,
    /// Limits only.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub pids: i64,
    /// Reservations only; each is one key of Docker's `GenericResources`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub generic_resources: Vec<GenericResource>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Placement {
    /// `key==value` or `key!=value`, all of which must hold.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub constraints: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub preferences: Vec<PlacementPreference>,
    /// Tasks of the service on one node at most; 0 is no limit.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub max_replicas: u64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub platforms: Vec<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlacementPreference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadOver>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpreadOver {
    /// `node.labels.X` or `engine.labels.X`.
    pub spread_descriptor: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Platform {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub architecture: String,
    #[serde(
        rename = "OS",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub os: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkAttachmentConfig {
    /// A network's id or name as sent; the stored spec holds the id.
    #[serde(deserialize_with = "nullable")]
    pub target: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub aliases: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub driver_opts: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogDriver {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub options: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<EndpointMode>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub ports: Vec<PortConfig>,
}

/// How a service's name resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointMode {
    /// To one virtual address per network, balanced over the tasks.
    #[default]
    Vip,
    /// To the addresses of all serving tasks.
    Dnsrr,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortConfig {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub protocol: Protocol,
    #[serde(deserialize_with = "nullable")]
    pub target_port: u16,
    /// 0 asks for a free one.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub published_port: u16,
    #[serde(deserialize_with = "nullable")]
    pub publish_mode: PublishMode,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PublishMode {
    /// On every node, whether it runs a task or not.
    #[default]
    Ingress,
    /// On the nodes that run a task.
    Host,
}
