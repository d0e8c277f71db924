//! Services: brought to the one form in which they are stored, networks by id.

use serde_json::Value;

use super::problem;
use crate::api::error::ApiError;
use crate::api::lenient::{decode, is_trivial, parse};
use crate::spec::policy::{FailureAction, UpdateConfig, UpdateOrder};
use crate::spec::service::{EndpointMode, NetworkAttachmentConfig};
use crate::spec::validate::{Problem, validate};
use crate::spec::{Mode, ServiceSpec};
use crate::state::{FindError, State};

/// Networks that every engine has: `--network host` and the like.
const NODE_LOCAL_NETWORKS: [&str; 4] = ["host", "bridge", "none", "nat"];

/// A service as it is stored, but for the ids of its networks.
pub(in crate::api) fn service(mut value: Value) -> Result<ServiceSpec, ApiError> {
    refuse_unbuilt_service(&value)?;
    let mut problems = read_mode(&mut value);
    let mut spec: ServiceSpec = decode(value)?;
    normalise(&mut spec);
    problems.extend(validate(&spec));
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(ApiError::invalid("service", problems))
    }
}

/// The same body with a name, if it has none.
pub(in crate::api) fn with_name(
    body: &[u8],
    name: impl FnOnce() -> String,
) -> Result<Value, ApiError> {
    let mut value = parse(body)?;
    let named = value
        .get("Name")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty());
    if let (false, Some(body)) = (named, value.as_object_mut()) {
        body.insert("Name".to_owned(), Value::String(name()));
    }
    Ok(value)
}

/// Puts the ids of networks where the client wrote names.
pub(in crate::api) fn resolve_networks(
    spec: &mut ServiceSpec,
    state: &State,
) -> Result<(), ApiError> {
    for network in &mut spec.task_template.networks {
        let found = state.find_network(&network.target).map_err(|error| {
            let local = NODE_LOCAL_NETWORKS.contains(&network.target.as_str());
            match error {
                FindError::NotFound { .. } if local => ApiError::not_built(&format!(
                    "tasks on the node's own network {}",
                    network.target
                )),
                error => error.into(),
            }
        })?;
        if found.spec.ingress {
            return Err(ApiError::bad_request(format!(
                "Service cannot be explicitly attached to the ingress network \"{}\": publish a port instead",
                found.name()
            )));
        }
        network.target = found.id.to_string();
    }
    Ok(())
}

/// Brings a service to the form in which it is stored and shown.
fn normalise(spec: &mut ServiceSpec) {
    let template = &mut spec.task_template;
    let former: Vec<NetworkAttachmentConfig> = std::mem::take(&mut spec.networks);
    if template.networks.is_empty() {
        template.networks = former;
    }
    let isolation = &mut template.container_spec.isolation;
    if isolation.as_deref().is_none_or(str::is_empty) {
        *isolation = Some("default".to_owned());
    }
    if template.runtime.as_deref().is_none_or(str::is_empty) {
        template.runtime = Some("container".to_owned());
    }
    match &mut spec.mode {
        Mode::Replicated(replicated) => {
            replicated.replicas.get_or_insert(1);
        }
        Mode::ReplicatedJob(job) => {
            let (most, total) = (job.max_concurrent(), job.total_completions());
            (job.max_concurrent, job.total_completions) = (Some(most), Some(total));
        }
        Mode::Global(_) | Mode::GlobalJob(_) => {}
    }
    spec.endpoint_spec
        .get_or_insert_default()
        .mode
        .get_or_insert(EndpointMode::Vip);
    for config in [&mut spec.update_config, &mut spec.rollback_config]
        .into_iter()
        .flatten()
    {
        fill_words(config);
    }
}

fn fill_words(config: &mut UpdateConfig) {
    config.failure_action.get_or_insert(FailureAction::Pause);
    config.order.get_or_insert(UpdateOrder::StopFirst);
}

/// Takes an empty mode for none, and says what is wrong with one that names several.
fn read_mode(value: &mut Value) -> Vec<Problem> {
    let Some(body) = value.as_object_mut() else {
        return Vec::new();
    };
    let Some(mode) = body.get("Mode").and_then(Value::as_object) else {
        return Vec::new();
    };
    let names: Vec<String> = mode.keys().cloned().collect();
    let replicas_of_global = mode
        .get("Global")
        .is_some_and(|global| global.get("Replicas").is_some());
    if names.is_empty() || names.len() > 1 {
        body.remove("Mode");
    }
    if names.len() > 1 {
        return vec![problem(
            "Mode",
            &names.join(" and "),
            "must specify only one service mode",
        )];
    }
    if replicas_of_global {
        return vec![problem(
            "Mode.Global.Replicas",
            "a number of replicas",
            "replicas can only be used with replicated mode",
        )];
    }
    Vec::new()
}

fn refuse_unbuilt_service(value: &Value) -> Result<(), ApiError> {
    let said = |pointer: &str| {
        value
            .pointer(pointer)
            .is_some_and(|value| !is_trivial(value))
    };
    for (pointer, name) in [
        (
            "/TaskTemplate/PluginSpec",
            "plugins as services (PluginSpec)",
        ),
        (
            "/TaskTemplate/NetworkAttachmentSpec",
            "attachment tasks (NetworkAttachmentSpec)",
        ),
        ("/TaskTemplate/ContainerSpec/Secrets", "secrets in services"),
        ("/TaskTemplate/ContainerSpec/Configs", "configs in services"),
        (
            "/TaskTemplate/ContainerSpec/Privileges",
            "ContainerSpec.Privileges",
        ),
    ] {
        if said(pointer) {
            return Err(ApiError::not_built(name));
        }
    }
    match value
        .pointer("/TaskTemplate/Runtime")
        .and_then(Value::as_str)
    {
        None | Some("" | "container") => Ok(()),
        Some(other) => Err(ApiError::not_built(&format!("the runtime {other}"))),
    }
}
