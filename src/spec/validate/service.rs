//! What can be wrong with a service.

use std::collections::BTreeSet;

use super::extension::check_extension;
use super::inventory::check_generic;
use super::job::check_job;
use super::start::{check_dependencies, check_init_containers};
use super::{Findings, MAX_LABEL_LENGTH, MIN_MEMORY_BYTES, MIN_NANO_CPUS, Problem};
use crate::spec::constraint::Constraint;
use crate::spec::container::{ContainerSpec, Healthcheck};
use crate::spec::image;
use crate::spec::policy::{RestartPolicy, UpdateConfig};
use crate::spec::service::{EndpointMode, Placement, PublishMode, ResourceRequirements, Resources};
use crate::spec::{FailureAction, Nanos, ServiceSpec};

/// Everything that is wrong with a service; empty when nothing is.
pub fn validate(spec: &ServiceSpec) -> Vec<Problem> {
    let mut found = Findings::default();
    check_service_name(&spec.name, &mut found);
    check_container(&spec.task_template.container_spec, &mut found);
    if let Some(resources) = &spec.task_template.resources {
        check_resources(resources, &mut found);
    }
    if let Some(policy) = &spec.task_template.restart_policy {
        check_restart_policy(policy, &mut found);
    }
    if let Some(placement) = &spec.task_template.placement {
        check_placement(placement, &mut found);
    }
    for (name, config) in [
        ("UpdateConfig", &spec.update_config),
        ("RollbackConfig", &spec.rollback_config),
    ] {
        if let Some(config) = config {
            check_update_config(name, config, &mut found);
        }
    }
    if let Some(extension) = &spec.swarmr {
        check_extension(spec, extension, &mut found);
        check_dependencies(&spec.name, extension, &mut found);
        check_init_containers(extension, &mut found);
    }
    check_job(spec, &mut found);
    check_endpoint(spec, &mut found);
    check_networks(spec, &mut found);
    found.problems
}

fn check_service_name(name: &str, found: &mut Findings) {
    let fits = !name.is_empty()
        && name.len() <= MAX_LABEL_LENGTH
        && name.split('.').count() == 1
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
        && !name.starts_with(['-', '_'])
        && !name.ends_with(['-', '_']);
    if !fits {
        found.add(
            "Name",
            format!("{name:?}"),
            "name must be valid as a DNS name component: 1 to 63 letters, digits, '-' and '_', beginning and ending with a letter or digit",
            "choose another name",
        );
    }
}

fn check_container(container: &ContainerSpec, found: &mut Findings) {
    let at = "TaskTemplate.ContainerSpec";
    if let Err(error) = image::check_reference(&container.image) {
        found.add(
            format!("{at}.Image"),
            format!("{:?}", container.image),
            &format!("invalid image reference: {error}"),
            "write [HOST[:PORT]/]PATH[:TAG][@DIGEST], lower case",
        );
    }
    if let Some(grace) = container.stop_grace_period {
        found.length(format!("{at}.StopGracePeriod"), grace);
    }
    if let Some(health) = &container.healthcheck {
        check_healthcheck(health, found);
    }
    let mut targets = BTreeSet::new();
    for (place, mount) in container.mounts.iter().enumerate() {
        let field = format!("{at}.Mounts[{place}].Target");
        if mount.target.is_empty() {
            found.add(
                field,
                "nothing".to_owned(),
                "a mount needs the path inside the container",
                "add target=PATH",
            );
        } else if !targets.insert(mount.target.trim_end_matches('/')) {
            found.add(
                field,
                format!("{:?}", mount.target),
                "duplicate mount point: each path can be mounted once",
                "remove one of the mounts",
            );
        }
        let kind = mount.kind.as_deref().unwrap_or("volume");
        if kind == "bind" && mount.source.is_empty() {
            found.add(
                format!("{at}.Mounts[{place}].Source"),
                "nothing".to_owned(),
                "a bind mount needs the path on the node",
                "add source=PATH",
            );
        }
    }
    for (place, entry) in container.env.iter().enumerate() {
        if entry.is_empty() || entry.starts_with('=') {
            found.add(
                format!("{at}.Env[{place}]"),
                format!("{entry:?}"),
                "an environment variable is NAME=VALUE",
                "give it a name",
            );
        }
    }
}

fn check_healthcheck(health: &Healthcheck, found: &mut Findings) {
    const SHORTEST: Nanos = Nanos::from_millis(1);
    let at = "TaskTemplate.ContainerSpec.Healthcheck";
    for (name, length) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ] {
        if length != Nanos::ZERO && length < SHORTEST {
            found.add(
                format!("{at}.{name}"),
                format!("{} ns", length.0),
                "0 (the image's own) or 1 ms and more",
                "give a duration such as 10s",
            );
        }
    }
    if health.retries < 0 {
        found.add(
            format!("{at}.Retries"),
            health.retries.to_string(),
            "0 (the image's own) or more",
            "",
        );
    }
}

fn check_resources(resources: &ResourceRequirements, found: &mut Findings) {
    for (kind, amounts) in [
        ("Limits", &resources.limits),
        ("Reservations", &resources.reservations),
    ] {
        if let Some(amounts) = amounts {
            check_amounts(kind, amounts, found);
            check_generic(kind, &amounts.generic_resources, found);
        }
    }
    let (Some(limits), Some(reservations)) = (&resources.limits, &resources.reservations) else {
        return;
    };
    for (name, limit, reserved) in [
        ("NanoCPUs", limits.nano_cpus, reservations.nano_cpus),
        (
            "MemoryBytes",
            limits.memory_bytes,
            reservations.memory_bytes,
        ),
    ] {
        if limit > 0 && reserved > limit {
            found.add(
                format!("TaskTemplate.Resources.Reservations.{name}"),
                reserved.to_string(),
                &format!("at most the limit, which is {limit}"),
                "lower the reservation or raise the limit",
            );
        }
    }
}

fn check_amounts(kind: &str, amounts: &Resources, found: &mut Findings) {
    if amounts.nano_cpus != 0 && amounts.nano_cpus < MIN_NANO_CPUS {
        found.add(
            format!("TaskTemplate.Resources.{kind}.NanoCPUs"),
            amounts.nano_cpus.to_string(),
            "invalid cpu value: Must be at least 1000000 (0.001 CPUs)",
            "give a number of CPUs such as 0.5",
        );
    }
    if amounts.memory_bytes != 0 && amounts.memory_bytes < MIN_MEMORY_BYTES {
        found.add(
            format!("TaskTemplate.Resources.{kind}.MemoryBytes"),
            amounts.memory_bytes.to_string(),
            "invalid memory value: Must be at least 4MiB (4194304 bytes)",
            "give an amount such as 64m",
        );
    }
    if amounts.pids < 0 {
        found.add(
            format!("TaskTemplate.Resources.{kind}.Pids"),
            amounts.pids.to_string(),
            "0 (no limit) or more",
            "",
        );
    }
}

fn check_restart_policy(policy: &RestartPolicy, found: &mut Findings) {
    for (name, length) in [("Delay", policy.delay), ("Window", policy.window)] {
        if let Some(length) = length {
            found.length(format!("TaskTemplate.RestartPolicy.{name}"), length);
        }
    }
}

fn check_placement(placement: &Placement, found: &mut Findings) {
    for (place, constraint) in placement.constraints.iter().enumerate() {
        if let Err(error) = constraint.parse::<Constraint>() {
            found.add(
                format!("TaskTemplate.Placement.Constraints[{place}]"),
                format!("{constraint:?}"),
                &error.to_string(),
                "write it as node.role==worker or node.labels.zone!=a",
            );
        }
    }
    for (place, preference) in placement.preferences.iter().enumerate() {
        let descriptor = preference
            .spread
            .as_ref()
            .map_or("", |spread| spread.spread_descriptor.as_str());
        let known = ["node.labels.", "engine.labels."]
            .iter()
            .any(|start| descriptor.len() > start.len() && descriptor.starts_with(start));
        if !known {
            found.add(
                format!("TaskTemplate.Placement.Preferences[{place}]"),
                format!("{descriptor:?}"),
                "tasks are spread over node.labels.NAME or engine.labels.NAME",
                "write spread=node.labels.NAME",
            );
        }
    }
}

fn check_update_config(name: &str, config: &UpdateConfig, found: &mut Findings) {
    found.length(format!("{name}.Delay"), config.delay);
    if let Some(monitor) = config.monitor {
        found.length(format!("{name}.Monitor"), monitor);
    }
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        found.add(
            format!("{name}.MaxFailureRatio"),
            config.max_failure_ratio.to_string(),
            "a ratio is between 0 and 1",
            "0.25 accepts that a quarter of the tasks fail",
        );
    }
    if name == "RollbackConfig" && config.failure_action == Some(FailureAction::Rollback) {
        found.add(
            format!("{name}.FailureAction"),
            "rollback".to_owned(),
            "a rollback that fails can pause or continue",
            "",
        );
    }
}

fn check_endpoint(spec: &ServiceSpec, found: &mut Findings) {
    let mut published = BTreeSet::new();
    let dnsrr = spec
        .endpoint_spec
        .as_ref()
        .is_some_and(|endpoint| endpoint.mode == Some(EndpointMode::Dnsrr));
    for (place, port) in spec.ports().iter().enumerate() {
        let at = format!("EndpointSpec.Ports[{place}]");
        if port.target_port == 0 {
            found.add(
                format!("{at}.TargetPort"),
                "0".to_owned(),
                "1 to 65535",
                "name the port that the container listens on",
            );
        }
        if port.published_port != 0 && !published.insert((port.protocol, port.published_port)) {
            found.add(
                format!("{at}.PublishedPort"),
                port.published_port.to_string(),
                "EndpointSpec: duplicate published ports provided",
                "publish each port once",
            );
        }
        if dnsrr && port.publish_mode == PublishMode::Ingress {
            found.add(
                format!("{at}.PublishMode"),
                "ingress".to_owned(),
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
                "use mode=host, or the endpoint mode vip",
            );
        }
    }
}

fn check_networks(spec: &ServiceSpec, found: &mut Findings) {
    let mut targets = BTreeSet::new();
    for (place, network) in spec.networks().iter().enumerate() {
        let field = format!("TaskTemplate.Networks[{place}].Target");
        if network.target.is_empty() {
            found.add(field, "\"\"".to_owned(), "a network's name or id", "");
        } else if !targets.insert(&network.target) {
            found.add(
                field,
                format!("{:?}", network.target),
                "each network can be named once",
                "remove one of them",
            );
        }
    }
}
