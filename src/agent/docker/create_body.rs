//! A container as the engine's API wants it. Pure, so that every field is seen in a test.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping as ApiDevice, DeviceRequest as ApiDeviceRequest,
    EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount as ApiMount, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use swarmr_net::overlay::mac_of;

use crate::agent::container::{ContainerNetwork, ContainerWant, Networking};
use crate::agent::runtime::RuntimeError;
use crate::spec::container::{Healthcheck, Mount};
use crate::spec::service::PortConfig;

/// From here on one create may name several networks and set MAC addresses.
const MANY_NETWORKS: usize = 44;
/// From here on a health check may be more frequent during the start period.
const START_INTERVAL: usize = 44;
/// From here on it can be said which network has the default route.
const GATEWAY_PRIORITY: usize = 48;

/// What to ask the engine for.
#[derive(Debug)]
pub(super) struct CreateRequest {
    pub(super) body: ContainerCreateBody,
    /// Networks to connect after the create and before the start, by name.
    pub(super) connect: Vec<(String, EndpointSettings)>,
}

/// Renders a container for an engine that speaks API 1.`minor`.
pub(super) fn create_request(
    want: &ContainerWant,
    minor: usize,
) -> Result<CreateRequest, RuntimeError> {
    let spec = &want.spec;
    let (networking_config, connect) = endpoints(want, minor);
    let body = ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: list(&spec.command),
        cmd: list(&spec.args),
        env: list(&spec.env),
        hostname: text(&spec.hostname),
        working_dir: text(&spec.dir),
        user: text(&spec.user),
        labels: Some(want.labels.clone().into_iter().collect()),
        tty: flag(spec.tty),
        open_stdin: flag(spec.open_stdin),
        stop_signal: text(&spec.stop_signal),
        // For whoever stops it by hand; we name the time with each stop.
        stop_timeout: Some(whole_seconds(spec.stop_grace_period().0)),
        healthcheck: spec
            .healthcheck
            .as_ref()
            .map(|check| health_config(check, minor)),
        exposed_ports: list(&want.host_ports.iter().map(port_key).collect::<Vec<_>>()),
        host_config: Some(host_config(want)?),
        networking_config,
        ..ContainerCreateBody::default()
    };
    Ok(CreateRequest { body, connect })
}

fn host_config(want: &ContainerWant) -> Result<HostConfig, RuntimeError> {
    let spec = &want.spec;
    let dns = spec.dns_config.clone().unwrap_or_default();
    Ok(HostConfig {
        network_mode: network_mode(want),
        // Tasks are one-shot: what comes after is the managers' decision.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        mounts: mounts(&spec.mounts)?,
        nano_cpus: amount(want.limits.nano_cpus),
        memory: amount(want.limits.memory_bytes),
        pids_limit: amount(want.limits.pids),
        memory_reservation: amount(want.reservations.memory_bytes),
        ulimits: list(&ulimits(want)),
        cap_add: list(&spec.capability_add),
        cap_drop: list(&spec.capability_drop),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        init: spec.init,
        readonly_rootfs: flag(spec.read_only),
        group_add: list(&spec.groups),
        oom_score_adj: amount(spec.oom_score_adj),
        extra_hosts: list(&extra_hosts(&spec.hosts)),
        dns: list(&want.name_servers),
        dns_search: list(&dns.search),
        dns_options: list(&dns.options),
        port_bindings: port_bindings(&want.host_ports),
        log_config: want.log_driver.as_ref().map(|driver| HostConfigLogConfig {
            typ: text(&driver.name),
            config: Some(driver.options.clone().into_iter().collect()),
        }),
        devices: list(&devices(want)),
        device_requests: list(&device_requests(want)),
        security_opt: list(&security_options(want)),
        ..HostConfig::default()
    })
}

fn network_mode(want: &ContainerWant) -> Option<String> {
    match &want.networking {
        Networking::Overlays(networks) => {
            networks.first().map(|network| network.engine_name.clone())
        }
        Networking::EngineDefault => None,
        Networking::Host => Some("host".to_owned()),
        Networking::None => Some("none".to_owned()),
    }
}

fn endpoints(
    want: &ContainerWant,
    minor: usize,
) -> (Option<NetworkingConfig>, Vec<(String, EndpointSettings)>) {
    let Networking::Overlays(networks) = &want.networking else {
        return (None, Vec::new());
    };
    let way_out = networks
        .iter()
        .position(|network| !network.internal)
        .unwrap_or(0);
    let mut all: Vec<(String, EndpointSettings)> = networks
        .iter()
        .enumerate()
        .map(|(place, network)| {
            let settings = endpoint(network, place == way_out, minor);
            (network.engine_name.clone(), settings)
        })
        .collect();
    let later = if minor < MANY_NETWORKS && !all.is_empty() {
        all.split_off(1)
    } else {
        Vec::new()
    };
    let config = NetworkingConfig {
        endpoints_config: Some(all.into_iter().collect()),
    };
    (Some(config), later)
}

fn endpoint(network: &ContainerNetwork, way_out: bool, minor: usize) -> EndpointSettings {
    EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(network.address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        // Older engines derive this very address; newer ones would take a random one.
        mac_address: (minor >= MANY_NETWORKS).then(|| mac_of(network.address).to_string()),
        gw_priority: (way_out && minor >= GATEWAY_PRIORITY).then_some(1),
        ..EndpointSettings::default()
    }
}

fn health_config(check: &Healthcheck, minor: usize) -> HealthConfig {
    HealthConfig {
        test: list(&check.test),
        interval: amount(check.interval.0),
        timeout: amount(check.timeout.0),
        retries: amount(check.retries),
        start_period: amount(check.start_period.0),
        start_interval: amount(check.start_interval.0).filter(|_| minor >= START_INTERVAL),
    }
}

/// The options of each kind pass through as they are: the engine understands them.
fn mounts(mounts: &[Mount]) -> Result<Option<Vec<ApiMount>>, RuntimeError> {
    let rendered: Result<Vec<ApiMount>, serde_json::Error> = mounts
        .iter()
        .map(|mount| {
            let mut value = serde_json::to_value(mount)?;
            if mount.kind.is_none()
                && let Some(fields) = value.as_object_mut()
            {
                fields.insert("Type".to_owned(), "volume".into());
            }
            serde_json::from_value(value)
        })
        .collect();
    let rendered = rendered.map_err(|error| {
        RuntimeError::Refused(format!("a mount is not as the engine knows them: {error}"))
    })?;
    Ok((!rendered.is_empty()).then_some(rendered))
}

fn ulimits(want: &ContainerWant) -> Vec<ResourcesUlimits> {
    want.spec
        .ulimits
        .iter()
        .map(|limit| ResourcesUlimits {
            name: Some(limit.name.clone()),
            soft: Some(limit.soft),
            hard: Some(limit.hard),
        })
        .collect()
}

/// A spec has lines of `/etc/hosts`, `10.0.0.1 a b`; an engine wants `a:10.0.0.1`, `b:10.0.0.1`.
fn extra_hosts(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().unwrap_or_default();
            words.map(move |name| format!("{name}:{address}"))
        })
        .collect()
}

fn devices(want: &ContainerWant) -> Vec<ApiDevice> {
    let devices = want.devices.iter().map(|device| ApiDevice {
        path_on_host: text(&device.path_on_host),
        path_in_container: text(&device.path_in_container),
        cgroup_permissions: text(&device.cgroup_permissions),
    });
    devices.collect()
}

fn device_requests(want: &ContainerWant) -> Vec<ApiDeviceRequest> {
    let requests = want.device_requests.iter().map(|request| ApiDeviceRequest {
        driver: text(&request.driver),
        count: amount(request.count),
        device_ids: list(&request.device_ids),
        capabilities: list(&request.capabilities),
        options: (!request.options.is_empty())
            .then(|| request.options.clone().into_iter().collect()),
    });
    requests.collect()
}

fn port_key(port: &PortConfig) -> String {
    let protocol = match port.protocol {
        crate::spec::service::Protocol::Tcp => "tcp",
        crate::spec::service::Protocol::Udp => "udp",
        crate::spec::service::Protocol::Sctp => "sctp",
    };
    format!("{}/{protocol}", port.target_port)
}

fn port_bindings(ports: &[PortConfig]) -> Option<PortMap> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: None,
            // 0 asks for any free one.
            host_port: Some(port.published_port.to_string()),
        };
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    (!bindings.is_empty()).then_some(bindings)
}

/// What of Docker's `Privileges` an engine takes as options.
fn security_options(want: &ContainerWant) -> Vec<String> {
    let Some(privileges) = want.spec.other.get("Privileges") else {
        return Vec::new();
    };
    let mode = |kind: &str| privileges[kind]["Mode"].as_str().map(str::to_owned);
    let mut options = Vec::new();
    if privileges["NoNewPrivileges"].as_bool() == Some(true) {
        options.push("no-new-privileges".to_owned());
    }
    if mode("Seccomp").as_deref() == Some("unconfined") {
        options.push("seccomp=unconfined".to_owned());
    }
    if mode("AppArmor").as_deref() == Some("disabled") {
        options.push("apparmor=unconfined".to_owned());
    }
    let selinux = &privileges["SELinuxContext"];
    if selinux["Disable"].as_bool() == Some(true) {
        options.push("label=disable".to_owned());
    }
    for (field, option) in [
        ("User", "user"),
        ("Role", "role"),
        ("Type", "type"),
        ("Level", "level"),
    ] {
        if let Some(value) = selinux[field].as_str().filter(|value| !value.is_empty()) {
            options.push(format!("label={option}:{value}"));
        }
    }
    options
}

fn whole_seconds(nanos: i64) -> i64 {
    nanos.max(0).saturating_add(999_999_999) / 1_000_000_000
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn list<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    (!values.is_empty()).then(|| values.to_vec())
}

/// Zero means "not set".
fn amount(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn flag(value: bool) -> Option<bool> {
    value.then_some(true)
}

#[cfg(test)]
#[path = "create_body_tests.rs"]
mod tests;
