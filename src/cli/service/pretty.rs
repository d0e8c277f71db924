//! `swarmr service inspect --pretty`.

use std::fmt::{Result, Write as _};

use super::references::{mounted_at, name_of};
use super::runs;
use crate::api::wire::service::UpdateStatus;
use crate::api::wire::{Network, Service};
use crate::cli::output::format::Wanted;
use crate::cli::output::{age, size, text, word};
use crate::spec::container::{ContainerSpec, Healthcheck};
use crate::spec::policy::UpdateConfig;
use crate::spec::service::{EndpointMode, Placement, Resources};
use crate::spec::{Mode, Schedule, Timestamp};

pub(super) fn service(service: &Service, networks: &[Network], now: Timestamp) -> String {
    text(|text| write_service(text, service, networks, now))
}

fn write_service(
    text: &mut String,
    service: &Service,
    networks: &[Network],
    now: Timestamp,
) -> Result {
    let spec = &service.spec;
    writeln!(text, "\nID:\t\t{}", service.id)?;
    writeln!(text, "Name:\t\t{}", spec.name)?;
    if !spec.labels.is_empty() {
        writeln!(text, "Labels:")?;
        for (key, value) in &spec.labels {
            writeln!(text, " {key}={value}")?;
        }
    }
    write_mode(text, &spec.mode)?;
    if service.swarmr.stopped {
        writeln!(text, "Stopped:\ttrue")?;
    }
    if let Some(schedule) = spec.schedule() {
        write_schedule(text, schedule, service)?;
    }
    if let Some(status) = &service.job_status
        && !status.runs.is_empty()
    {
        writeln!(text, "Runs:")?;
        for line in runs::table(service, now, Wanted::default())
            .unwrap_or_default()
            .lines()
        {
            writeln!(text, " {}", line.trim_end())?;
        }
    }
    if let Some(update) = &service.update_status {
        write_update_status(text, update, now)?;
    }
    write_placement(text, &spec.task_template.placement())?;
    if let Some(config) = &spec.update_config {
        write_update_config(text, "Update", "Update order:     ", config)?;
    }
    if let Some(config) = &spec.rollback_config {
        write_update_config(text, "Rollback", "Rollback order:   ", config)?;
    }
    write_container(text, &spec.task_template.container_spec)?;
    write_resources(text, service)?;
    write_networks(text, service, networks)?;
    let mode = spec
        .endpoint_spec
        .as_ref()
        .and_then(|endpoint| endpoint.mode)
        .unwrap_or(EndpointMode::Vip);
    writeln!(text, "Endpoint Mode:\t{}", word(&mode))?;
    if !service.endpoint.ports.is_empty() {
        writeln!(text, "Ports:")?;
        for port in &service.endpoint.ports {
            writeln!(text, " PublishedPort = {}", port.published_port)?;
            writeln!(text, "  Protocol = {}", word(&port.protocol))?;
            writeln!(text, "  TargetPort = {}", port.target_port)?;
            writeln!(text, "  PublishMode = {} ", word(&port.publish_mode))?;
        }
    }
    if let Some(healthcheck) = &spec.task_template.container_spec.healthcheck {
        write_healthcheck(text, healthcheck)?;
    }
    writeln!(text)
}

fn write_mode(text: &mut String, mode: &Mode) -> Result {
    let name = match mode {
        Mode::Replicated(_) => "Replicated",
        Mode::Global(_) => "Global",
        Mode::ReplicatedJob(_) => "Replicated Job",
        Mode::GlobalJob(_) => "Global Job",
    };
    writeln!(text, "Service Mode:\t{name}")?;
    match mode {
        Mode::Replicated(mode) => writeln!(text, " Replicas:\t{}", mode.replicas.unwrap_or(1)),
        Mode::ReplicatedJob(job) => {
            writeln!(text, " Max Concurrent:\t{}", job.max_concurrent())?;
            writeln!(text, " Total Completions:\t{}", job.total_completions())
        }
        Mode::Global(_) | Mode::GlobalJob(_) => Ok(()),
    }
}

fn write_schedule(text: &mut String, schedule: &Schedule, service: &Service) -> Result {
    let zone = Some(schedule.time_zone.as_str()).filter(|zone| !zone.is_empty());
    writeln!(text, "Schedule:")?;
    writeln!(text, " Cron:\t\t{}", schedule.cron)?;
    writeln!(text, " Time Zone:\t{}", zone.unwrap_or("UTC"))?;
    writeln!(text, " Concurrency:\t{}", word(&schedule.concurrency))?;
    let window = age::go_duration(schedule.missed_window());
    writeln!(text, " Missed Window:\t{window}")?;
    let next = service.job_status.as_ref().and_then(|it| it.next_execution);
    match next {
        _ if schedule.suspended => writeln!(text, " Next Run:\tnone, for it is suspended"),
        Some(next) => writeln!(text, " Next Run:\t{}", runs::local(&service.spec, next)),
        None => writeln!(text, " Next Run:\tnone within eight years"),
    }
}

fn write_update_status(text: &mut String, update: &UpdateStatus, now: Timestamp) -> Result {
    writeln!(text, "UpdateStatus:")?;
    writeln!(text, " State:\t\t{}", word(&update.state))?;
    if let Some(started) = update.started_at {
        writeln!(text, " Started:\t{}", age::ago(started, now))?;
    }
    // As Docker shows it: a rollback has no time of completion here.
    if let Some(completed) = update
        .completed_at
        .filter(|_| word(&update.state) == "completed")
    {
        writeln!(text, " Completed:\t{}", age::ago(completed, now))?;
    }
    writeln!(text, " Message:\t{}", update.message)
}

fn write_placement(text: &mut String, placement: &Placement) -> Result {
    writeln!(text, "Placement:")?;
    if !placement.constraints.is_empty() {
        writeln!(text, " Constraints:\t[{}]", placement.constraints.join(" "))?;
    }
    let preferences: Vec<String> = placement
        .preferences
        .iter()
        .filter_map(|preference| preference.spread.as_ref())
        .map(|spread| format!("spread={}", spread.spread_descriptor))
        .collect();
    if !preferences.is_empty() {
        writeln!(text, " Preferences:\t[{}]", preferences.join(" "))?;
    }
    if placement.max_replicas > 0 {
        writeln!(text, " Max Replicas Per Node:\t{}", placement.max_replicas)?;
    }
    Ok(())
}

fn write_update_config(
    text: &mut String,
    name: &str,
    order_heading: &str,
    config: &UpdateConfig,
) -> Result {
    writeln!(text, "{name}Config:")?;
    writeln!(text, " Parallelism:\t{}", config.parallelism)?;
    if config.delay.0 > 0 {
        writeln!(text, " Delay:\t\t{}", age::go_duration(config.delay))?;
    }
    writeln!(
        text,
        " On failure:\t{}",
        word(&config.failure_action.unwrap_or_default())
    )?;
    if let Some(monitor) = config.monitor {
        writeln!(text, " Monitoring Period: {}", age::go_duration(monitor))?;
    }
    writeln!(text, " Max failure ratio: {}", config.max_failure_ratio)?;
    writeln!(
        text,
        " {order_heading} {}",
        word(&config.order.unwrap_or_default())
    )
}

fn write_container(text: &mut String, container: &ContainerSpec) -> Result {
    writeln!(text, "ContainerSpec:")?;
    writeln!(text, " Image:\t\t{}", container.image)?;
    // Docker ends each word of a list with a space.
    let words =
        |words: &[String]| -> String { words.iter().map(|word| format!("{word} ")).collect() };
    let values = [
        (" Command:\t", words(&container.command)),
        (" Args:\t\t", words(&container.args)),
        (" Env:\t\t", words(&container.env)),
        (" Dir:\t\t", container.dir.clone()),
        (" User:\t\t", container.user.clone()),
        (" Hostname:\t", container.hostname.clone()),
    ];
    for (heading, value) in values {
        if !value.is_empty() {
            writeln!(text, "{heading}{value}")?;
        }
    }
    if let Some(init) = container.init {
        writeln!(text, " Init:\t\t{init}")?;
    }
    for (heading, names) in [
        (" Capabilities:\n  Add: ", &container.capability_add),
        (" Capabilities:\n  Drop: ", &container.capability_drop),
    ] {
        if !names.is_empty() {
            writeln!(text, "{heading}{}", names.join(", "))?;
        }
    }
    if !container.mounts.is_empty() {
        writeln!(text, "Mounts:")?;
        for mount in &container.mounts {
            writeln!(text, " Target:\t{}", mount.target)?;
            writeln!(text, "  Source:\t{}", mount.source)?;
            writeln!(text, "  ReadOnly:\t{}", mount.read_only)?;
            writeln!(
                text,
                "  Type:\t\t{}",
                mount.kind.as_deref().unwrap_or("volume")
            )?;
        }
    }
    for (heading, references) in [
        ("Configs:", &container.configs),
        ("Secrets:", &container.secrets),
    ] {
        if !references.is_empty() {
            writeln!(text, "{heading}")?;
            for reference in references {
                writeln!(text, " Target:\t{}", mounted_at(reference))?;
                writeln!(text, "  Source:\t{}", name_of(reference))?;
            }
        }
    }
    Ok(())
}

fn write_resources(text: &mut String, service: &Service) -> Result {
    let template = &service.spec.task_template;
    if let Some(driver) = &template.log_driver {
        writeln!(text, "Log Driver:")?;
        writeln!(text, " Name:\t\t{}", driver.name)?;
        if !driver.options.is_empty() {
            writeln!(text, " LogOpts:")?;
            for (key, value) in &driver.options {
                writeln!(text, "  {key}:\t\t{value}")?;
            }
        }
    }
    let Some(resources) = &template.resources else {
        return Ok(());
    };
    let empty = |amounts: &Option<Resources>| {
        amounts
            .as_ref()
            .is_none_or(|amounts| *amounts == Resources::default())
    };
    if empty(&resources.reservations) && empty(&resources.limits) {
        return Ok(());
    }
    writeln!(text, "Resources:")?;
    write_amounts(text, "Reservations", resources.reservations.as_ref())?;
    write_amounts(text, "Limits", resources.limits.as_ref())
}

fn write_amounts(text: &mut String, name: &str, amounts: Option<&Resources>) -> Result {
    let Some(amounts) = amounts.filter(|amounts| **amounts != Resources::default()) else {
        return Ok(());
    };
    writeln!(text, " {name}:")?;
    if amounts.nano_cpus != 0 {
        writeln!(text, "  CPU:\t\t{}", amounts.nano_cpus as f64 / 1e9)?;
    }
    if amounts.memory_bytes != 0 {
        writeln!(text, "  Memory:\t{}", size(amounts.memory_bytes))?;
    }
    if amounts.pids != 0 {
        writeln!(text, "  PIDs:\t\t{}", amounts.pids)?;
    }
    Ok(())
}

fn write_networks(text: &mut String, service: &Service, networks: &[Network]) -> Result {
    let names: Vec<&str> = service
        .spec
        .networks()
        .iter()
        .map(|attachment| {
            networks
                .iter()
                .find(|network| network.id == attachment.target)
                .map_or(attachment.target.as_str(), |network| network.name.as_str())
        })
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    writeln!(text, "Networks: {} ", names.join(" "))
}

fn write_healthcheck(text: &mut String, healthcheck: &Healthcheck) -> Result {
    writeln!(text, "Healthcheck:")?;
    let times = [
        ("Interval", healthcheck.interval),
        ("StartPeriod", healthcheck.start_period),
        ("StartInterval", healthcheck.start_interval),
        ("Timeout", healthcheck.timeout),
    ];
    if healthcheck.retries != 0 {
        writeln!(text, " Retries = {}", healthcheck.retries)?;
    }
    for (name, length) in times {
        if length.0 != 0 {
            writeln!(text, " {name} = {}", age::go_duration(length))?;
        }
    }
    if !healthcheck.test.is_empty() {
        writeln!(text, " Tests:")?;
        for word in &healthcheck.test {
            writeln!(text, "\t Test = {word}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_shown_for_people() {
        let whole: Service = serde_json::from_value(json!({
            "ID": "c9p59oes2f3wjhdmms15ynh99",
            "Version": {"Index": 46},
            "CreatedAt": "2026-11-23T02:29:50Z",
            "UpdatedAt": "2026-11-23T02:31:01Z",
            "Spec": {
                "Name": "web",
                "Labels": {"tier": "front"},
                "TaskTemplate": {
                    "ContainerSpec": {
                        "Image": "web:1", "Args": ["-p", "80"], "Env": ["A=1"], "Init": false,
                        "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true}],
                        "Configs": [{"File": {"Name": "/site"}, "ConfigName": "site"}],
                        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64}
                    },
                    "Resources": {"Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 67_108_864},
                        "Reservations": {}},
                    "Placement": {"Constraints": ["node.role==worker"],
                        "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]},
                    "Networks": [{"Target": "ml59tchyq802zldg4994inhsm"}]
                },
                "Mode": {"Replicated": {"Replicas": 6}},
                "UpdateConfig": {"Parallelism": 2, "Delay": 1_000_000_000,
                    "FailureAction": "rollback", "Monitor": 5_000_000_000_i64,
                    "MaxFailureRatio": 0.25, "Order": "start-first"},
                "EndpointSpec": {"Mode": "vip"}
            },
            "Endpoint": {"Spec": {}, "Ports": [{"Protocol": "tcp", "TargetPort": 80,
                "PublishedPort": 8080, "PublishMode": "ingress"}]},
            "UpdateStatus": {"State": "completed", "StartedAt": "2026-11-23T02:30:00Z",
                "CompletedAt": "2026-11-23T02:31:00Z", "Message": "update completed"}
        }))
        .unwrap();
        let network: Network = serde_json::from_value(json!({
            "Name": "app", "Id": "ml59tchyq802zldg4994inhsm", "Created": "2026-11-23T02:29:50Z",
            "Scope": "swarm", "Driver": "overlay"
        }))
        .unwrap();
        let now = "2026-11-23T02:32:00Z".parse().unwrap();
        let want = "\n\
ID:\t\tc9p59oes2f3wjhdmms15ynh99
Name:\t\tweb
Labels:
 tier=front
Service Mode:\tReplicated
 Replicas:\t6
UpdateStatus:
 State:\t\tcompleted
 Started:\t2 minutes ago
 Completed:\tabout a minute ago
 Message:\tupdate completed
Placement:
 Constraints:\t[node.role==worker]
 Preferences:\t[spread=node.labels.zone]
UpdateConfig:
 Parallelism:\t2
 Delay:\t\t1s
 On failure:\trollback
 Monitoring Period: 5s
 Max failure ratio: 0.25
 Update order:      start-first
ContainerSpec:
 Image:\t\tweb:1
 Args:\t\t-p 80 
 Env:\t\tA=1 
 Init:\t\tfalse
Mounts:
 Target:\t/b
  Source:\t/a
  ReadOnly:\ttrue
  Type:\t\tbind
Configs:
 Target:\t/site
  Source:\tsite
Resources:
 Limits:
  CPU:\t\t0.5
  Memory:\t64MiB
Networks: app 
Endpoint Mode:\tvip
Ports:
 PublishedPort = 8080
  Protocol = tcp
  TargetPort = 80
  PublishMode = ingress 
Healthcheck:
 Interval = 5s
 Tests:
\t Test = CMD-SHELL
\t Test = true

";
        assert_eq!(service(&whole, &[network], now), want);
    }
}
