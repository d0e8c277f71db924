//! What can be wrong with the settings that Docker's services do not have.

use std::collections::BTreeMap;

use super::Findings;
use super::affinity::check_affinities;
use super::inventory::{check_device_requests, check_devices};
use crate::spec::extension::{
    Connections, Extension, RestartExtension, RollingExtension, StepSize,
};
use crate::spec::{Mode, RestartPolicy, ServiceSpec};

const MOST_REVISIONS: u64 = 100;

pub(super) fn check_extension(spec: &ServiceSpec, extension: &Extension, found: &mut Findings) {
    check_known("Swarmr", &extension.other, found);
    check_affinities("Affinities", &extension.affinities, found);
    check_affinities("AntiAffinities", &extension.anti_affinities, found);
    check_devices(&extension.devices, found);
    check_device_requests(&extension.device_requests, found);
    if let Some(update) = &extension.update {
        check_rolling("Swarmr.Update", update, found);
        check_steps(spec, update, found);
    }
    if let Some(rollback) = &extension.rollback {
        check_rolling("Swarmr.Rollback", rollback, found);
        if !rollback.steps.is_empty() || rollback.step_delay.is_some() {
            found.add(
                "Swarmr.Rollback",
                "steps".to_owned(),
                "a rollback has no steps: it is to be done soon",
                "remove Steps and StepDelay",
            );
        }
    }
    if let Some(restart) = &extension.restart {
        check_restart(spec, restart, found);
    }
    if let Some(connections) = &extension.connections {
        check_connections(spec, connections, found);
    }
    if let Some(limit) = extension.revisions_limit
        && !(1..=MOST_REVISIONS).contains(&limit)
    {
        found.add(
            "Swarmr.RevisionsLimit",
            limit.to_string(),
            "1 to 100 revisions are remembered",
            "give a number such as 10",
        );
    }
}

fn check_known(field: &str, other: &BTreeMap<String, serde_json::Value>, found: &mut Findings) {
    for name in other.keys() {
        found.add(
            format!("{field}.{name}"),
            name.clone(),
            "no such setting in this version",
            "remove it, or update swarmr on this manager",
        );
    }
}

/// Who resolves the name of a service without an address of its own chooses by himself.
fn check_connections(spec: &ServiceSpec, connections: &Connections, found: &mut Findings) {
    let field = "Swarmr.Connections";
    check_known(field, &connections.other, found);
    if !spec.wants_vip() {
        found.add(
            field,
            "connections of a dnsrr service".to_owned(),
            "only connections to a service's own address and to its ports in the mesh are steered",
            "use the endpoint mode vip, or remove the setting",
        );
    }
}

fn check_rolling(field: &str, rolling: &RollingExtension, found: &mut Findings) {
    check_known(field, &rolling.other, found);
    for (name, length) in [
        ("ProgressDeadline", rolling.progress_deadline),
        ("StepDelay", rolling.step_delay),
    ] {
        if let Some(length) = length {
            found.length(format!("{field}.{name}"), length);
        }
    }
}

/// Steps grow. Shares and numbers cannot be compared before there are tasks.
fn check_steps(spec: &ServiceSpec, update: &RollingExtension, found: &mut Findings) {
    let field = "Swarmr.Update.Steps";
    let is_job = matches!(spec.mode, Mode::ReplicatedJob(_) | Mode::GlobalJob(_));
    if is_job && !update.steps.is_empty() {
        found.add(
            field,
            "steps of a job".to_owned(),
            "jobs do not roll",
            "remove the steps",
        );
    }
    for pair in update.steps.windows(2) {
        let grows = match (pair[0].size, pair[1].size) {
            (StepSize::Percent(former), StepSize::Percent(next))
            | (StepSize::Slots(former), StepSize::Slots(next)) => former < next,
            _ => true,
        };
        if !grows {
            found.add(
                field,
                format!("{} after {}", pair[1], pair[0]),
                "each step takes more tasks than the one before",
                "order them, such as 10%,50%,100%",
            );
        }
    }
}

fn check_restart(spec: &ServiceSpec, restart: &RestartExtension, found: &mut Findings) {
    let field = "Swarmr.Restart";
    check_known(field, &restart.other, found);
    for (name, length) in [("MaxDelay", restart.max_delay), ("Reset", restart.reset)] {
        if let Some(length) = length {
            found.length(format!("{field}.{name}"), length);
        }
    }
    if let Some(factor) = restart.backoff
        && !(1.0..=100.0).contains(&factor)
    {
        found.add(
            format!("{field}.Backoff"),
            factor.to_string(),
            "each delay is 1 to 100 times the one before",
            "give a number such as 2; 1 keeps the delay as it is",
        );
    }
    let policy = spec.task_template.restart_policy.as_ref();
    let delay = policy.unwrap_or(&RestartPolicy::default()).delay();
    if let Some(longest) = restart.max_delay.filter(|longest| *longest < delay) {
        found.add(
            format!("{field}.MaxDelay"),
            longest.to_string(),
            &format!("no shorter than the first delay, which is {delay}"),
            "raise it, or lower the restart delay",
        );
    }
}
