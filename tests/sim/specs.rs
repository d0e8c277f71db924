//! Service specs from words such as `replicas=3 image=web:1 delay=5s`.

use std::collections::BTreeMap;

use swarmr::spec::container::Mount;
use swarmr::spec::extension::init::InitContainer;
use swarmr::spec::extension::{
    AffinityRule, Extension, Rebalance, RestartExtension, RollingExtension, Strategy,
};
use swarmr::spec::parse;
use swarmr::spec::policy::{RestartCondition, RestartPolicy, UpdateConfig};
use swarmr::spec::schedule::Concurrency;
use swarmr::spec::service::{
    EndpointSpec, GlobalMode, LogDriver, NetworkAttachmentConfig, Placement, PlacementPreference,
    Platform, PortConfig, PublishMode, Replicated, ReplicatedJob, ResourceRequirements, Resources,
    SpreadOver,
};
use swarmr::spec::{FailureAction, Mode, Nanos, Schedule, ServiceSpec, UpdateOrder};

use super::script::{list, resource};

/// The words given for a service so far, the newest of each kind.
pub(super) type Words = BTreeMap<String, String>;

pub(super) fn spec(name: &str, words: &Words) -> ServiceSpec {
    let word = |key: &str| words.get(key).map(String::as_str);
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        ..ServiceSpec::default()
    };
    spec.mode = match word("mode") {
        Some("global") => Mode::Global(GlobalMode {}),
        Some("global-job") => Mode::GlobalJob(GlobalMode {}),
        Some("replicated-job") => Mode::ReplicatedJob(ReplicatedJob {
            total_completions: word("replicas").map(number),
            max_concurrent: word("concurrent").map(number),
        }),
        _ => Mode::Replicated(Replicated {
            replicas: word("replicas").map(number),
        }),
    };
    let template = &mut spec.task_template;
    template.container_spec.image = word("image").unwrap_or("app:1").to_owned();
    template.force_update = word("force").map_or(0, number);
    template.restart_policy = restart_policy(words);
    template.placement = placement(words);
    template.resources = resources(words);
    template.log_driver = word("log-driver").map(|name| LogDriver {
        name: name.to_owned(),
        ..LogDriver::default()
    });
    template.container_spec.mounts = word("volume-driver").map(volume).into_iter().collect();
    template.networks = word("network")
        .map(|network| NetworkAttachmentConfig {
            target: network.to_owned(),
            ..NetworkAttachmentConfig::default()
        })
        .into_iter()
        .collect();
    spec.labels = word("labels")
        .into_iter()
        .flat_map(list)
        .map(|pair| {
            let (key, value) = pair.split_once(':').expect("KEY:VALUE");
            (key.to_owned(), value.to_owned())
        })
        .collect();
    spec.swarmr = extension(words);
    spec.endpoint_spec = ports(words);
    if let Some(dependencies) = word("depends").filter(|it| *it != "none") {
        let parse = |text: &str| text.parse().expect("a dependency such as db:healthy");
        let dependencies = dependencies.split('+').map(parse);
        spec.swarmr.get_or_insert_default().depends_on = dependencies.collect();
    }
    if let Some(images) = word("init").filter(|it| *it != "none") {
        let named = |(place, image): (usize, &str)| InitContainer {
            name: format!("i{}", place + 1),
            image: image.to_owned(),
            ..InitContainer::default()
        };
        let inits = images.split('+').enumerate().map(named);
        spec.swarmr.get_or_insert_default().init_containers = inits.collect();
    }
    if word("rebalance") == Some("auto") {
        spec.swarmr.get_or_insert_default().rebalance = Some(Rebalance::Auto);
    }
    spec.update_config = update_config(words, "");
    spec.rollback_config = update_config(words, "rollback-");
    spec
}

fn resources(words: &Words) -> Option<ResourceRequirements> {
    let reservations = Resources {
        nano_cpus: words.get("cpus").map_or(0, |it| units(it)) * 1_000_000_000,
        memory_bytes: words.get("memory").map_or(0, |it| units(it)) << 30,
        generic_resources: words
            .get("generic")
            .into_iter()
            .flat_map(|it| list(it))
            .map(resource)
            .collect(),
        ..Resources::default()
    };
    (reservations != Resources::default()).then_some(ResourceRequirements {
        limits: None,
        reservations: Some(reservations),
    })
}

fn units(text: &str) -> i64 {
    i64::try_from(number(text)).unwrap_or(0)
}

fn volume(driver: &str) -> Mount {
    let options = serde_json::json!({"DriverConfig": {"Name": driver}});
    Mount {
        target: "/data".to_owned(),
        options: [("VolumeOptions".to_owned(), options)].into(),
        ..Mount::default()
    }
}

/// `near=app:db,topology:node.labels.zone,preferred`; several are parted by `;`.
fn rules(words: &Words, key: &str) -> Vec<AffinityRule> {
    let rules = words.get(key).into_iter().flat_map(|it| it.split(';'));
    rules
        .filter(|text| !text.is_empty())
        .map(|text| parse::affinity(&text.replace(':', "=")).expect("a rule"))
        .collect()
}

/// `cron` has `_` for spaces: `cron=*/5_*_*_*_*`.
fn schedule(words: &Words) -> Option<Schedule> {
    let word = |key: &str| words.get(key).map(String::as_str);
    word("cron").map(|cron| Schedule {
        cron: cron.replace('_', " "),
        time_zone: word("zone").unwrap_or_default().to_owned(),
        concurrency: match word("concurrency") {
            Some("allow") => Concurrency::Allow,
            Some("replace") => Concurrency::Replace,
            _ => Concurrency::Forbid,
        },
        missed_window: word("missed-window").map(length),
        history_runs: word("runs").map(number),
        suspended: word("suspended") == Some("yes"),
        ..Schedule::default()
    })
}

/// What is said beyond Docker's spec.
/// `deadline=10m rollback-deadline=1m steps=10%,50%:5m step-delay=1m max-delay=1m backoff=2
/// reset=10m revisions=5 device=… gpus=…`.
fn extension(words: &Words) -> Option<Extension> {
    let word = |key: &str| words.get(key).map(String::as_str);
    let update = RollingExtension {
        progress_deadline: word("deadline").map(length),
        steps: word("steps")
            .into_iter()
            .flat_map(|steps| steps.split(','))
            .map(|step| step.parse().expect("a step such as 10%"))
            .collect(),
        step_delay: word("step-delay").map(length),
        ..RollingExtension::default()
    };
    let rollback = RollingExtension {
        progress_deadline: word("rollback-deadline").map(length),
        ..RollingExtension::default()
    };
    let restart = RestartExtension {
        max_delay: word("max-delay").map(length),
        backoff: word("backoff").map(|factor| factor.parse().expect("a factor such as 2")),
        reset: word("reset").map(length),
        ..RestartExtension::default()
    };
    let all = |key: &str| words.get(key).into_iter().flat_map(|it| list(it));
    let extension = Extension {
        devices: all("device")
            .map(|text| parse::device(text).expect("a device"))
            .collect(),
        device_requests: words
            .get("gpus")
            .map(|text| parse::gpus(text).expect("a number of GPUs"))
            .into_iter()
            .collect(),
        affinities: rules(words, "near"),
        anti_affinities: rules(words, "apart"),
        strategy: match words.get("strategy").map(String::as_str) {
            Some("binpack") => Strategy::Binpack,
            _ => Strategy::Spread,
        },
        update: (update != RollingExtension::default()).then_some(update),
        rollback: (rollback != RollingExtension::default()).then_some(rollback),
        restart: (restart != RestartExtension::default()).then_some(restart),
        revisions_limit: words.get("revisions").map(|limit| number(limit)),
        schedule: schedule(words),
        ..Extension::default()
    };
    (extension != Extension::default()).then_some(extension)
}

fn restart_policy(words: &Words) -> Option<RestartPolicy> {
    let word = |key: &str| words.get(key).map(String::as_str);
    let policy = RestartPolicy {
        condition: word("condition").map(|condition| match condition {
            "none" => RestartCondition::None,
            "on-failure" => RestartCondition::OnFailure,
            _ => RestartCondition::Any,
        }),
        delay: word("restart-delay").map(length),
        max_attempts: word("attempts").map(number),
        window: word("window").map(length),
    };
    (policy != RestartPolicy::default()).then_some(policy)
}

fn placement(words: &Words) -> Option<Placement> {
    let list = |key: &str| {
        words
            .get(key)
            .into_iter()
            .flat_map(|value| value.split(','))
    };
    let placement = Placement {
        constraints: list("constraint").map(ToOwned::to_owned).collect(),
        preferences: list("spread")
            .map(|descriptor| PlacementPreference {
                spread: Some(SpreadOver {
                    spread_descriptor: descriptor.to_owned(),
                }),
            })
            .collect(),
        max_replicas: words.get("max-per-node").map_or(0, |count| number(count)),
        platforms: list("platform")
            .map(|architecture| Platform {
                architecture: architecture.to_owned(),
                os: "linux".to_owned(),
            })
            .collect(),
    };
    (placement != Placement::default()).then_some(placement)
}

fn ports(words: &Words) -> Option<EndpointSpec> {
    let port = |key: &str, publish_mode| {
        words.get(key).map(|port| PortConfig {
            target_port: 80,
            published_port: u16::try_from(number(port)).unwrap_or(0),
            publish_mode,
            ..PortConfig::default()
        })
    };
    let ports: Vec<PortConfig> = port("publish", PublishMode::Ingress)
        .into_iter()
        .chain(port("host-port", PublishMode::Host))
        .collect();
    (!ports.is_empty()).then_some(EndpointSpec { mode: None, ports })
}

fn update_config(words: &Words, prefix: &str) -> Option<UpdateConfig> {
    let word = |key: &str| words.get(&format!("{prefix}{key}")).map(String::as_str);
    let keys = [
        "parallelism",
        "delay",
        "monitor",
        "on-failure",
        "ratio",
        "order",
    ];
    if keys.iter().all(|key| word(key).is_none()) {
        return None;
    }
    Some(UpdateConfig {
        parallelism: word("parallelism").map_or(1, number),
        delay: word("delay").map_or(Nanos::ZERO, length),
        failure_action: word("on-failure").map(|action| match action {
            "rollback" => FailureAction::Rollback,
            "continue" => FailureAction::Continue,
            _ => FailureAction::Pause,
        }),
        monitor: word("monitor").map(length),
        max_failure_ratio: word("ratio")
            .map_or(0.0, |ratio| ratio.parse().expect("a ratio such as 0.5")),
        order: word("order").map(|order| match order {
            "start-first" => UpdateOrder::StartFirst,
            _ => UpdateOrder::StopFirst,
        }),
    })
}

pub(super) fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}

/// `5s`, `2m`, `1h`.
pub(super) fn length(text: &str) -> Nanos {
    let (count, unit) = text.split_at(text.len() - 1);
    let count: i64 = count.parse().expect("a length such as 5s");
    Nanos::from_secs(match unit {
        "s" => count,
        "m" => count * 60,
        "h" => count * 3600,
        _ => panic!("{text}: want a length such as 5s, 2m or 1h"),
    })
}
