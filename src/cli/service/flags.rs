//! The flags that `service create` and `service update` share, and what they do to a spec.

use clap::Args;
use serde_json::json;

use super::extension::ExtensionFlags;
use super::health::HealthFlags;
use crate::cli::failure::Failure;
use crate::cli::values;
use crate::spec::policy::{RestartCondition, RestartPolicy, UpdateConfig};
use crate::spec::service::{EndpointMode, LogDriver, Placement, ResourceRequirements, Resources};
use crate::spec::{FailureAction, Mode, Nanos, ServiceSpec, UpdateOrder, UpdatePolicy, parse};

/// Flags with one value each. What is not given is left as it is.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CommonFlags {
    /// Tasks of a replicated service
    #[arg(long, value_name = "COUNT")]
    pub(super) replicas: Option<u64>,
    /// Tasks of a job that run at once
    #[arg(long, value_name = "COUNT")]
    pub(super) max_concurrent: Option<u64>,
    /// Tasks on one node at most; 0 is no limit
    #[arg(long, value_name = "COUNT")]
    replicas_max_per_node: Option<u64>,
    #[command(flatten)]
    resources: ResourceFlags,
    #[command(flatten)]
    process: ProcessFlags,
    #[command(flatten)]
    health: HealthFlags,
    #[command(flatten)]
    policies: PolicyFlags,
    #[command(flatten)]
    pub(super) extension: ExtensionFlags,
    /// How the service's name resolves
    #[arg(long, value_parser = values::endpoint_mode())]
    endpoint_mode: Option<EndpointMode>,
    /// Log driver
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Option of the log driver
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::driver_opt)]
    log_opt: Vec<(String, String)>,
    /// Send the login at the image's registry along (not built yet)
    #[arg(long)]
    pub(super) with_registry_auth: bool,
    /// Do not ask a registry for the image's digest; swarmr never does
    #[arg(long)]
    no_resolve_image: bool,
}

#[derive(Debug, Clone, Default, Args)]
struct ResourceFlags {
    /// CPUs that a task may use
    #[arg(long, value_name = "CPUS", value_parser = parse::cpus)]
    limit_cpu: Option<i64>,
    /// Memory that a task may use
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    limit_memory: Option<i64>,
    /// Processes that a task may have; 0 is no limit
    #[arg(long, value_name = "COUNT")]
    limit_pids: Option<i64>,
    /// CPUs that a node must have left for a task
    #[arg(long, value_name = "CPUS", value_parser = parse::cpus)]
    reserve_cpu: Option<i64>,
    /// Memory that a node must have left for a task
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    reserve_memory: Option<i64>,
}

#[derive(Debug, Clone, Default, Args)]
struct ProcessFlags {
    /// Host name of the containers
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Command that replaces the image's entry point
    #[arg(long, value_name = "COMMAND", value_parser = words)]
    entrypoint: Option<Words>,
    /// User: NAME or UID, and [:GROUP]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Give it a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tty: Option<bool>,
    /// Mount its root read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// Run an init process in it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    /// Signal that ends it
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Time between the signal that ends it and SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    stop_grace_period: Option<Nanos>,
    /// How soon the kernel kills it for memory, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    oom_score_adj: Option<i64>,
    /// Isolation (Windows)
    #[arg(long, value_parser = ["default", "process", "hyperv"])]
    isolation: Option<String>,
    /// Credentials (Windows): config://, file:// or registry://
    #[arg(long, value_name = "SPEC", value_parser = credential_spec)]
    credential_spec: Option<CredentialSpec>,
}

#[derive(Debug, Clone, Default, Args)]
struct PolicyFlags {
    /// When a task is restarted
    #[arg(long, value_parser = values::restart_condition())]
    restart_condition: Option<RestartCondition>,
    /// Time before a restart
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    restart_delay: Option<Nanos>,
    /// Restarts at most; 0 is no limit
    #[arg(long, value_name = "COUNT")]
    restart_max_attempts: Option<u64>,
    /// Only restarts in this time count; 0 is for ever
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    restart_window: Option<Nanos>,
    /// Tasks that are updated at once; 0 is all
    #[arg(long, value_name = "COUNT")]
    update_parallelism: Option<u64>,
    /// Time between two batches
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    update_delay: Option<Nanos>,
    /// Time for which a new task is watched for failure
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    update_monitor: Option<Nanos>,
    /// What to do when an update fails
    #[arg(long, value_parser = values::update_failure_action())]
    update_failure_action: Option<FailureAction>,
    /// Share of tasks that may fail
    #[arg(long, value_name = "RATIO", value_parser = parse::ratio)]
    update_max_failure_ratio: Option<f32>,
    /// Which of the old and the new task goes first
    #[arg(long, value_parser = values::update_order())]
    update_order: Option<UpdateOrder>,
    /// Tasks that are rolled back at once; 0 is all
    #[arg(long, value_name = "COUNT")]
    rollback_parallelism: Option<u64>,
    /// Time between two batches of a rollback
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    rollback_delay: Option<Nanos>,
    /// Time for which a task is watched after a rollback
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    rollback_monitor: Option<Nanos>,
    /// What to do when a rollback fails
    #[arg(long, value_parser = values::rollback_failure_action())]
    rollback_failure_action: Option<FailureAction>,
    /// Share of tasks that may fail in a rollback
    #[arg(long, value_name = "RATIO", value_parser = parse::ratio)]
    rollback_max_failure_ratio: Option<f32>,
    /// Which of the two tasks goes first in a rollback
    #[arg(long, value_parser = values::update_order())]
    rollback_order: Option<UpdateOrder>,
}

impl CommonFlags {
    /// Puts what was given into `spec`.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        self.apply_counts(spec)?;
        self.resources.apply(spec);
        self.process.apply(spec);
        self.health
            .apply(&mut spec.task_template.container_spec.healthcheck)?;
        self.policies.apply(spec)?;
        self.extension.apply(spec)?;
        if let Some(mode) = self.endpoint_mode {
            spec.endpoint_spec.get_or_insert_default().mode = Some(mode);
        }
        if self.log_driver.is_some() || !self.log_opt.is_empty() {
            spec.task_template.log_driver = Some(LogDriver {
                name: self.log_driver.clone().unwrap_or_default(),
                options: self.log_opt.iter().cloned().collect(),
            });
        }
        Ok(())
    }

    fn apply_counts(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        match (&mut spec.mode, self.replicas) {
            (_, None) => {}
            (Mode::Replicated(mode), Some(replicas)) => mode.replicas = Some(replicas),
            (Mode::ReplicatedJob(job), Some(replicas)) => {
                job.total_completions = Some(replicas);
                if job.max_concurrent.is_none() {
                    job.max_concurrent = Some(replicas);
                }
            }
            (Mode::Global(_) | Mode::GlobalJob(_), Some(_)) => {
                return Err(Failure::usage(
                    "--replicas can only be used with the modes replicated and replicated-job",
                ));
            }
        }
        match (&mut spec.mode, self.max_concurrent) {
            (_, None) => {}
            (Mode::ReplicatedJob(job), Some(most)) => job.max_concurrent = Some(most),
            (_, Some(_)) => {
                return Err(Failure::usage(
                    "--max-concurrent can only be used with the mode replicated-job",
                ));
            }
        }
        if let Some(most) = self.replicas_max_per_node {
            if matches!(spec.mode, Mode::Global(_) | Mode::GlobalJob(_)) {
                return Err(Failure::usage(
                    "--replicas-max-per-node can only be used with the modes replicated and \
                     replicated-job",
                ));
            }
            placement(spec).max_replicas = most;
        }
        Ok(())
    }
}

/// The placement of a spec, made if it has none.
pub(super) fn placement(spec: &mut ServiceSpec) -> &mut Placement {
    spec.task_template.placement.get_or_insert_default()
}

/// The reservations of a spec, made if it has none.
pub(super) fn reservations(spec: &mut ServiceSpec) -> &mut Resources {
    requirements(spec).reservations.get_or_insert_default()
}

fn requirements(spec: &mut ServiceSpec) -> &mut ResourceRequirements {
    spec.task_template.resources.get_or_insert_default()
}

impl ResourceFlags {
    fn apply(&self, spec: &mut ServiceSpec) {
        if self.limit_cpu.is_some() || self.limit_memory.is_some() || self.limit_pids.is_some() {
            let limits = requirements(spec).limits.get_or_insert_default();
            set(&mut limits.nano_cpus, self.limit_cpu);
            set(&mut limits.memory_bytes, self.limit_memory);
            set(&mut limits.pids, self.limit_pids);
        }
        if self.reserve_cpu.is_some() || self.reserve_memory.is_some() {
            let reservations = reservations(spec);
            set(&mut reservations.nano_cpus, self.reserve_cpu);
            set(&mut reservations.memory_bytes, self.reserve_memory);
        }
    }
}

impl ProcessFlags {
    fn apply(&self, spec: &mut ServiceSpec) {
        let container = &mut spec.task_template.container_spec;
        set(&mut container.hostname, self.hostname.clone());
        set(
            &mut container.command,
            self.entrypoint.clone().map(|words| words.0),
        );
        set(&mut container.user, self.user.clone());
        set(&mut container.dir, self.workdir.clone());
        set(&mut container.tty, self.tty);
        set(&mut container.read_only, self.read_only);
        set(&mut container.stop_signal, self.stop_signal.clone());
        set(&mut container.oom_score_adj, self.oom_score_adj);
        if self.init.is_some() {
            container.init = self.init;
        }
        if self.stop_grace_period.is_some() {
            container.stop_grace_period = self.stop_grace_period;
        }
        if self.isolation.is_some() {
            container.isolation.clone_from(&self.isolation);
        }
        if let Some(CredentialSpec { key, value }) = &self.credential_spec {
            container.other.insert(
                "Privileges".to_owned(),
                json!({"CredentialSpec": {*key: value}}),
            );
        }
    }
}

impl PolicyFlags {
    fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        if self.restart_condition.is_some()
            || self.restart_delay.is_some()
            || self.restart_max_attempts.is_some()
            || self.restart_window.is_some()
        {
            // As Docker's client writes it, with its defaults.
            let policy = spec
                .task_template
                .restart_policy
                .get_or_insert_with(|| RestartPolicy {
                    condition: Some(RestartCondition::Any),
                    delay: Some(RestartPolicy::default().delay()),
                    max_attempts: Some(0),
                    window: None,
                });
            policy.condition = self.restart_condition.or(policy.condition);
            policy.delay = self.restart_delay.or(policy.delay);
            policy.max_attempts = self.restart_max_attempts.or(policy.max_attempts);
            policy.window = self.restart_window.or(policy.window);
        }
        let update = Rolling {
            parallelism: self.update_parallelism,
            delay: self.update_delay,
            monitor: self.update_monitor,
            failure_action: self.update_failure_action,
            max_failure_ratio: self.update_max_failure_ratio,
            order: self.update_order,
        };
        let rollback = Rolling {
            parallelism: self.rollback_parallelism,
            delay: self.rollback_delay,
            monitor: self.rollback_monitor,
            failure_action: self.rollback_failure_action,
            max_failure_ratio: self.rollback_max_failure_ratio,
            order: self.rollback_order,
        };
        let is_job = matches!(spec.mode, Mode::ReplicatedJob(_) | Mode::GlobalJob(_));
        if is_job && (update.any() || rollback.any()) {
            return Err(Failure::usage(
                "--update-* and --rollback-* cannot be used with jobs, for they do not roll",
            ));
        }
        update.apply(&mut spec.update_config);
        rollback.apply(&mut spec.rollback_config);
        Ok(())
    }
}

/// `--update-*` or `--rollback-*`.
struct Rolling {
    parallelism: Option<u64>,
    delay: Option<Nanos>,
    monitor: Option<Nanos>,
    failure_action: Option<FailureAction>,
    max_failure_ratio: Option<f32>,
    order: Option<UpdateOrder>,
}

impl Rolling {
    const fn any(&self) -> bool {
        self.parallelism.is_some()
            || self.delay.is_some()
            || self.monitor.is_some()
            || self.failure_action.is_some()
            || self.max_failure_ratio.is_some()
            || self.order.is_some()
    }

    /// Docker's defaults are written out with the first flag given, for a parallelism that is
    /// left out would mean "all at once".
    fn apply(self, config: &mut Option<UpdateConfig>) {
        if !self.any() {
            return;
        }
        let config = config.get_or_insert_with(|| UpdateConfig {
            parallelism: 1,
            delay: Nanos::ZERO,
            failure_action: Some(FailureAction::Pause),
            monitor: Some(UpdatePolicy::MONITOR),
            max_failure_ratio: 0.0,
            order: Some(UpdateOrder::StopFirst),
        });
        set(&mut config.parallelism, self.parallelism);
        set(&mut config.delay, self.delay);
        set(&mut config.max_failure_ratio, self.max_failure_ratio);
        config.monitor = self.monitor.or(config.monitor);
        config.failure_action = self.failure_action.or(config.failure_action);
        config.order = self.order.or(config.order);
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A command in words.
#[derive(Debug, Clone)]
pub(super) struct Words(pub(super) Vec<String>);

pub(super) fn words(text: &str) -> Result<Words, parse::ParseError> {
    parse::words(text).map(Words)
}

#[derive(Debug, Clone)]
struct CredentialSpec {
    key: &'static str,
    value: String,
}

fn credential_spec(text: &str) -> Result<CredentialSpec, String> {
    [
        ("config://", "Config"),
        ("file://", "File"),
        ("registry://", "Registry"),
    ]
    .into_iter()
    .find_map(|(prefix, key)| {
        text.strip_prefix(prefix).map(|value| CredentialSpec {
            key,
            value: value.to_owned(),
        })
    })
    .ok_or_else(|| "want config://NAME, file://NAME or registry://NAME".to_owned())
}
