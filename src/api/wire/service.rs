//! A service: `GET /services`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{JobStatus, Meta};
use crate::spec::container::DnsConfig;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::policy::{
    FailureAction, RestartCondition, RestartPolicy, UpdateConfig, UpdateOrder, UpdatePolicy,
};
use crate::spec::service::{EndpointSpec, PortConfig};
use crate::spec::{Mode, Nanos, NetworkId, ServiceId, ServiceSpec, Timestamp};
use crate::state::service::{Hold, RolloutState};
use crate::state::task::{DesiredState, TaskState, Waiting};
use crate::state::{self, Job, State};

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    #[serde(rename = "ID")]
    pub id: ServiceId,
    #[serde(flatten)]
    pub meta: Meta,
    pub spec: Arc<ServiceSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_spec: Option<Arc<ServiceSpec>>,
    #[serde(default, deserialize_with = "nullable")]
    pub endpoint: Endpoint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_status: Option<UpdateStatus>,
    /// Only where the client asked for it with `status=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_status: Option<ServiceStatus>,
    /// Only of jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_status: Option<JobStatus>,
    /// Only where it stands otherwise than Docker's services can.
    #[serde(default, skip_serializing_if = "is_default")]
    pub swarmr: Standing,
}

/// `Swarmr` of a service: how it stands, beyond what Docker's fields can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Standing {
    /// Has no tasks until it is started.
    #[serde(skip_serializing_if = "is_default")]
    pub stopped: bool,
    /// Why its update does not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldWord>,
}

/// Why an update does not go on, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldWord {
    /// A step is done; somebody must promote it.
    Promotion,
    /// Somebody paused it.
    User,
    /// New tasks failed.
    Failure,
    /// New tasks did not run in time.
    Deadline,
}

impl From<Hold> for HoldWord {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Promotion => Self::Promotion,
            Hold::User => Self::User,
            Hold::Failure(_) => Self::Failure,
            Hold::Deadline(_) => Self::Deadline,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// Empty as long as nothing was allocated.
    pub spec: EndpointSpec,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub ports: Vec<PortConfig>,
    #[serde(
        rename = "VirtualIPs",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub virtual_ips: Vec<VirtualIp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VirtualIp {
    #[serde(rename = "NetworkID")]
    pub network_id: NetworkId,
    /// With the subnet's length: `10.0.1.2/24`. Empty for `dnsrr`.
    #[serde(default)]
    pub addr: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStatus {
    pub state: RolloutState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceStatus {
    pub running_tasks: u64,
    pub desired_tasks: u64,
    pub completed_tasks: u64,
    /// Tasks that keep failing and wait for their next restart.
    #[serde(skip_serializing_if = "is_default")]
    pub crash_looping: u64,
}

/// What an update answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceUpdated {
    #[serde(deserialize_with = "nullable")]
    pub warnings: Option<Vec<String>>,
}

/// A service, without its counts.
pub fn render(service: &state::Service, state: &State) -> Service {
    Service {
        id: service.id,
        meta: service.meta.into(),
        spec: service.spec.clone(),
        previous_spec: service
            .previous
            .as_ref()
            .map(|previous| previous.spec.clone()),
        endpoint: endpoint(service, state),
        update_status: service.rollout.as_ref().map(|rollout| UpdateStatus {
            state: rollout.shown_state(),
            started_at: Some(rollout.started_at),
            completed_at: rollout.completed_at,
            message: rollout.message.clone(),
        }),
        service_status: None,
        swarmr: Standing {
            stopped: service.stopped,
            hold: service
                .rollout
                .as_ref()
                .and_then(|rollout| rollout.hold)
                .map(HoldWord::from),
        },
        job_status: super::job::render(service),
    }
}

fn endpoint(service: &state::Service, state: &State) -> Endpoint {
    let allocated = &service.endpoint;
    if allocated.ports.is_empty() && allocated.virtual_addresses.is_empty() {
        return Endpoint::default();
    }
    let mut virtual_ips: Vec<(bool, VirtualIp)> = allocated
        .virtual_addresses
        .iter()
        .filter_map(|(id, address)| {
            let network = state.network(*id)?;
            let vip = VirtualIp {
                network_id: *id,
                addr: format!("{address}/{}", network.subnet.prefix()),
            };
            Some((!network.spec.ingress, vip))
        })
        .collect();
    // Clients take the first address for the routing mesh's.
    virtual_ips.sort_by_key(|(not_ingress, _)| *not_ingress);
    Endpoint {
        spec: service.spec.endpoint_spec.clone().unwrap_or_default(),
        ports: allocated.ports.clone(),
        virtual_ips: virtual_ips.into_iter().map(|(_, vip)| vip).collect(),
    }
}

/// How many of a service's tasks run, should run, and are done.
pub fn status(service: &state::Service, state: &State) -> ServiceStatus {
    if let Some(job) = &service.job {
        return job_counts(service, job, state);
    }
    let mut counts = ServiceStatus::default();
    for task in state.tasks_of(service.id) {
        let wanted = task.desired == DesiredState::Running;
        let node_answers = task
            .node
            .and_then(|node| state.node(node))
            .is_some_and(|node| !node.is_down());
        counts.running_tasks += u64::from(task.is_serving() && node_answers);
        counts.desired_tasks += u64::from(wanted && (task.node.is_none() || node_answers));
        counts.crash_looping += u64::from(matches!(
            task.waiting.as_deref(),
            Some(Waiting::CrashLoop(_))
        ));
    }
    if let Some(replicas) = service.spec.replicas() {
        counts.desired_tasks = replicas;
    }
    counts
}

/// Of a job: what runs of all its runs, and what the newest one has done. A global job wants as many
/// tasks as it has, done or not.
fn job_counts(service: &state::Service, job: &Job, state: &State) -> ServiceStatus {
    let (mut done, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    let mut counts = ServiceStatus::default();
    for task in state.tasks_of(service.id) {
        let node_answers = task
            .node
            .and_then(|node| state.node(node))
            .is_some_and(|node| !node.is_down());
        counts.running_tasks += u64::from(task.is_serving() && node_answers);
        if task.slot.run() != Some(job.iteration) || task.desired == DesiredState::Remove {
            continue;
        }
        let completed = task.status.state == TaskState::Complete;
        if completed {
            done.insert(task.slot);
        }
        if completed || task.is_wanted() {
            wanted.insert(task.slot);
        }
    }
    counts.completed_tasks = done.len() as u64;
    counts.desired_tasks = match &service.spec.mode {
        Mode::ReplicatedJob(job) => job.max_concurrent().min(job.total_completions()),
        _ => wanted.len() as u64,
    };
    counts
}

/// What `insertDefaults=true` shows: the spec with the defaults that it leaves unsaid.
pub fn insert_defaults(spec: &ServiceSpec) -> ServiceSpec {
    let mut spec = spec.clone();
    let template = &mut spec.task_template;
    template
        .container_spec
        .stop_grace_period
        .get_or_insert(Nanos::from_secs(10));
    template
        .container_spec
        .dns_config
        .get_or_insert_with(DnsConfig::default);
    let defaults = RestartPolicy::default();
    let restart = template
        .restart_policy
        .get_or_insert_with(RestartPolicy::default);
    restart.condition.get_or_insert(RestartCondition::Any);
    restart.delay.get_or_insert(defaults.delay());
    restart.max_attempts.get_or_insert(0);
    if !spec.mode.is_job() {
        fill_update_config(&mut spec.update_config);
        fill_update_config(&mut spec.rollback_config);
    }
    spec
}

fn fill_update_config(config: &mut Option<UpdateConfig>) {
    let config = config.get_or_insert_with(|| UpdateConfig {
        parallelism: 1,
        ..UpdateConfig::default()
    });
    config.failure_action.get_or_insert(FailureAction::Pause);
    config.monitor.get_or_insert(UpdatePolicy::MONITOR);
    config.order.get_or_insert(UpdateOrder::StopFirst);
}
