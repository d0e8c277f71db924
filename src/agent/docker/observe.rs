//! What the engine answers, in our words. Pure.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EventMessage, GenericResourcesInner, HealthStatusEnum, SystemInfo,
};

use crate::agent::runtime::{
    ContainerView, EventKind, Health, LABEL_TASK, ListedContainer, Phase, RuntimeEvent,
};
use crate::spec::generic::GenericResource;
use crate::state::node::NodeDescription;

pub(super) fn view(found: ContainerInspectResponse) -> ContainerView {
    let state = found.state.unwrap_or_default();
    let networks = found
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    let addresses = networks
        .into_iter()
        .filter_map(|(name, endpoint)| {
            let wanted = endpoint.ipam_config.and_then(|ipam| ipam.ipv4_address);
            // A container that does not run has only the address it asked for.
            let address = endpoint.ip_address.filter(|address| !address.is_empty());
            Some((name, address.or(wanted)?.parse().ok()?))
        })
        .collect();
    ContainerView {
        id: found.id.unwrap_or_default(),
        name: bare_name(found.name.unwrap_or_default()),
        labels: found
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        pid: state.pid.unwrap_or_default(),
        phase: phase(state),
        addresses,
    }
}

fn bare_name(name: String) -> String {
    match name.strip_prefix('/') {
        Some(bare) => bare.to_owned(),
        None => name,
    }
}

fn phase(state: ContainerState) -> Phase {
    use ContainerStateStatusEnum::{CREATED, EMPTY, PAUSED, RESTARTING, RUNNING, STOPPING};
    match state.status {
        None | Some(EMPTY | CREATED) => Phase::Created,
        Some(RUNNING | PAUSED | RESTARTING | STOPPING) => Phase::Running(health(&state)),
        Some(_) => Phase::Exited {
            code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            error: state.error.unwrap_or_default(),
        },
    }
}

fn health(state: &ContainerState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::Unchecked,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

pub(super) fn listed(found: ContainerSummary) -> ListedContainer {
    use ContainerSummaryStateEnum::{PAUSED, RESTARTING, RUNNING};
    let labels = found.labels.unwrap_or_default();
    ListedContainer {
        id: found.id.unwrap_or_default(),
        name: bare_name(
            found
                .names
                .and_then(|names| names.into_iter().next())
                .unwrap_or_default(),
        ),
        task: labels.get(LABEL_TASK).and_then(|task| task.parse().ok()),
        running: matches!(found.state, Some(RUNNING | PAUSED | RESTARTING)),
    }
}

/// `None` for events that say nothing about a task's state.
pub(super) fn event(message: EventMessage) -> Option<RuntimeEvent> {
    let kind = match message.action.as_deref()? {
        "start" => EventKind::Started,
        "die" => EventKind::Exited,
        "destroy" => EventKind::Removed,
        action if action.starts_with("health_status") => EventKind::HealthChanged,
        _ => return None,
    };
    let actor = message.actor?;
    let task = actor
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.get(LABEL_TASK)?.parse().ok());
    Some(RuntimeEvent {
        container: actor.id?,
        task,
        kind,
    })
}

pub(super) fn description(info: SystemInfo) -> NodeDescription {
    let plugins = info.plugins.unwrap_or_default();
    let kinds = [
        ("Log", plugins.log),
        ("Network", plugins.network),
        ("Volume", plugins.volume),
    ];
    let generic = info.generic_resources.unwrap_or_default();
    NodeDescription {
        generic_resources: generic.into_iter().filter_map(resource).collect(),
        tunnel: None,
        devices: Vec::new(),
        hostname: String::new(),
        architecture: info.architecture.unwrap_or_default(),
        os: info.os_type.unwrap_or_default(),
        nano_cpus: info.ncpu.unwrap_or_default().saturating_mul(1_000_000_000),
        memory_bytes: info.mem_total.unwrap_or_default(),
        engine_version: info.server_version.unwrap_or_default(),
        engine_labels: info
            .labels
            .unwrap_or_default()
            .iter()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<BTreeMap<String, String>>(),
        plugins: kinds
            .into_iter()
            .flat_map(|(kind, names)| {
                let names = names.unwrap_or_default().into_iter();
                names.map(move |name| (kind.to_owned(), name))
            })
            .collect(),
    }
}

fn resource(inner: GenericResourcesInner) -> Option<GenericResource> {
    let counted = inner.discrete_resource_spec.map(|spec| {
        GenericResource::discrete(
            &spec.kind.unwrap_or_default(),
            spec.value.unwrap_or_default(),
        )
    });
    let named = inner.named_resource_spec.map(|spec| {
        GenericResource::named(
            &spec.kind.unwrap_or_default(),
            &spec.value.unwrap_or_default(),
        )
    });
    counted.or(named)
}
