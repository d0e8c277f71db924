//! What a request must be before anything is proposed: pure functions from what a client sent to
//! what is stored. Docker's spellings are brought to one form here, so that a spec that a client
//! reads and sends back unchanged is no change; what is not built yet is refused by name.

use serde_json::Value;

use super::error::ApiError;
use super::lenient::{decode, is_trivial, parse, read};
use super::wire::{NetworkCreate, SwarmInit};
use crate::api::control::{InitRequest, JoinRequest};
use crate::api::wire::SwarmJoin;
use crate::spec::nullable::is_default;
use crate::spec::policy::{FailureAction, UpdateConfig, UpdateOrder};
use crate::spec::service::{EndpointMode, NetworkAttachmentConfig};
use crate::spec::validate::{self, Problem};
use crate::spec::{
    ClusterSpec, ConfigSpec, Mode, Nanos, NetworkSpec, NodeSpec, ServiceSpec, network,
};
use crate::state::{FindError, State};
use hyper::StatusCode;

/// Docker's name for overlay traffic being encrypted.
const ENCRYPTED: &str = "encrypted";
/// Networks that every engine has: `--network host` and the like.
const NODE_LOCAL_NETWORKS: [&str; 4] = ["host", "bridge", "none", "nat"];
const HOUR: Nanos = Nanos::from_secs(3600);

/// A service as it is stored, but for the ids of its networks.
pub(super) fn service(mut value: Value) -> Result<ServiceSpec, ApiError> {
    refuse_own_object(&value)?;
    refuse_unbuilt_service(&value)?;
    let mut problems = read_mode(&mut value);
    let mut spec: ServiceSpec = decode(value)?;
    normalise(&mut spec);
    problems.extend(validate::validate(&spec));
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(ApiError::invalid("service", problems))
    }
}

/// The same body with a name, if it has none.
pub(super) fn with_name(body: &[u8], name: impl FnOnce() -> String) -> Result<Value, ApiError> {
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
pub(super) fn resolve_networks(spec: &mut ServiceSpec, state: &State) -> Result<(), ApiError> {
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

/// A network of the cluster, and a warning about what it is not.
pub(super) fn network(create: NetworkCreate) -> Result<(NetworkSpec, String), ApiError> {
    refuse_unbuilt_network(&create)?;
    let mut options = create.options;
    let said_plain = match options.get(ENCRYPTED).map(String::as_str) {
        None => false,
        Some("false" | "0") => true,
        Some(_) => return Err(ApiError::not_built("encrypted overlay networks")),
    };
    options.insert(ENCRYPTED.to_owned(), "false".to_owned());
    let ipam = create.ipam.unwrap_or_default();
    let spec = NetworkSpec {
        name: create.name,
        labels: create.labels,
        internal: create.internal,
        attachable: create.attachable,
        ingress: false,
        ipam: network::Ipam {
            driver: ipam.driver,
            config: ipam
                .config
                .into_iter()
                .map(|config| network::IpamConfig {
                    subnet: config.subnet,
                    gateway: config.gateway,
                    ip_range: config.ip_range,
                })
                .collect(),
        },
        options,
    };
    let problems = validate::validate_network(&spec);
    if !problems.is_empty() {
        return Err(ApiError::invalid("network", problems));
    }
    let warning = if said_plain {
        String::new()
    } else {
        format!(
            "traffic of network {} is not encrypted between nodes; say so with --opt encrypted=false",
            spec.name
        )
    };
    Ok((spec, warning))
}

/// A config as it is stored.
pub(super) fn config(body: &[u8]) -> Result<ConfigSpec, ApiError> {
    let value = parse(body)?;
    refuse_own_object(&value)?;
    let spec: ConfigSpec = decode(value)?;
    if spec
        .templating
        .as_ref()
        .is_some_and(|templating| !templating.name.is_empty())
    {
        return Err(ApiError::not_built("templates in configs (Templating)"));
    }
    let problems = validate::validate_config(&spec);
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(ApiError::invalid("config", problems))
    }
}

/// The new labels of a config; the payload may be left out.
pub(super) fn config_update(body: &[u8]) -> Result<ConfigSpec, ApiError> {
    let value = parse(body)?;
    refuse_own_object(&value)?;
    decode(value)
}

/// A node's settings. Role and availability must be said: a client that forgets one would demote
/// or activate the node.
pub(super) fn node(body: &[u8]) -> Result<NodeSpec, ApiError> {
    let value = parse(body)?;
    refuse_own_object(&value)?;
    let mut problems = Vec::new();
    for (field, words) in [
        ("Role", ["worker", "manager"].as_slice()),
        ("Availability", ["active", "pause", "drain"].as_slice()),
    ] {
        let got = value.get(field).and_then(Value::as_str).unwrap_or_default();
        if !words.contains(&got) {
            problems.push(Problem {
                field: field.to_owned(),
                got: format!("{got:?}"),
                allowed: format!("want {}", words.join(", ")),
                fix: "send the whole node spec".to_owned(),
            });
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid("node", problems));
    }
    let spec: NodeSpec = decode(value)?;
    let problems = validate::validate_node(&spec);
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(ApiError::invalid("node", problems))
    }
}

/// The settings of a cluster.
pub(super) fn cluster(value: Value) -> Result<ClusterSpec, ApiError> {
    refuse_own_object(&value)?;
    let mut spec: ClusterSpec = decode(value)?;
    if spec.name.is_empty() {
        "default".clone_into(&mut spec.name);
    }
    let mut problems = Vec::new();
    if spec.name != "default" {
        problems.push(problem(
            "Name",
            &spec.name,
            "swarm spec must be named \"default\"",
        ));
    }
    if let Some(expiry) = spec
        .ca_config
        .node_cert_expiry
        .filter(|expiry| expiry.0 != 0)
        && expiry < HOUR
    {
        problems.push(problem(
            "CAConfig.NodeCertExpiry",
            &format!("{} ns", expiry.0),
            "minimum certificate expiry time is 1h0m0s",
        ));
    }
    if let Some(period) = spec
        .dispatcher
        .heartbeat_period
        .filter(|period| period.0 < 0)
    {
        problems.push(problem(
            "Dispatcher.HeartbeatPeriod",
            &format!("{} ns", period.0),
            "heartbeat time period cannot be a negative duration",
        ));
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid("swarm", problems));
    }
    refuse_unbuilt_cluster(&spec)?;
    Ok(spec)
}

/// What `POST /swarm/init` asks for.
pub(super) fn init(body: &[u8]) -> Result<InitRequest, ApiError> {
    let mut value = parse(body)?;
    let spec = value
        .as_object_mut()
        .and_then(|body| body.remove("Spec"))
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let spec = cluster(spec)?;
    let init: SwarmInit = decode(value)?;
    if init.auto_lock_managers {
        return Err(ApiError::not_built("locking managers (AutoLockManagers)"));
    }
    let mut problems = Vec::new();
    let mut address_pools = Vec::with_capacity(init.default_addr_pool.len());
    for (place, text) in init.default_addr_pool.iter().enumerate() {
        match text.parse::<network::Subnet>() {
            Ok(pool) => address_pools.push(pool),
            Err(error) => problems.push(problem(
                &format!("DefaultAddrPool[{place}]"),
                text,
                &error.to_string(),
            )),
        }
    }
    if init.data_path_port != 0 && !(1024..=49151).contains(&init.data_path_port) {
        problems.push(problem(
            "DataPathPort",
            &init.data_path_port.to_string(),
            "0 (for 4789) or 1024 to 49151",
        ));
    }
    let widest = address_pools.iter().map(|pool| pool.prefix()).max();
    if init.subnet_size != 0 && !(widest.unwrap_or(8)..=29).contains(&init.subnet_size) {
        problems.push(problem(
            "SubnetSize",
            &init.subnet_size.to_string(),
            &format!("0 (for 24) or {} to 29", widest.unwrap_or(8)),
        ));
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid("swarm init", problems));
    }
    Ok(InitRequest {
        listen_addr: init.listen_addr,
        advertise_addr: init.advertise_addr,
        data_path_addr: init.data_path_addr,
        data_path_port: init.data_path_port,
        address_pools,
        subnet_prefix: init.subnet_size,
        availability: init.availability,
        force_new_cluster: init.force_new_cluster,
        spec,
    })
}

/// What `POST /swarm/join` asks for.
pub(super) fn join(body: &[u8]) -> Result<JoinRequest, ApiError> {
    let join: SwarmJoin = read(body)?;
    let remote_addrs: Vec<String> = join
        .remote_addrs
        .into_iter()
        .filter(|addr| !addr.is_empty())
        .collect();
    let mut problems = Vec::new();
    if remote_addrs.is_empty() {
        problems.push(problem(
            "RemoteAddrs",
            "nothing",
            "at least 1 RemoteAddr is required to join",
        ));
    }
    if join.join_token.is_empty() {
        problems.push(problem(
            "JoinToken",
            "nothing",
            "a token, which swarmr join-token prints on a manager",
        ));
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid("swarm join", problems));
    }
    Ok(JoinRequest {
        listen_addr: join.listen_addr,
        advertise_addr: join.advertise_addr,
        data_path_addr: join.data_path_addr,
        remote_addrs,
        token: join.join_token,
        availability: join.availability,
    })
}

fn problem(field: &str, got: &str, allowed: &str) -> Problem {
    Problem {
        field: field.to_owned(),
        got: got.to_owned(),
        allowed: allowed.to_owned(),
        fix: String::new(),
    }
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
    if let Mode::Replicated(replicated) = &mut spec.mode {
        replicated.replicas.get_or_insert(1);
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

/// swarmr's own object at the top of a spec: nothing in it is built yet.
fn refuse_own_object(value: &Value) -> Result<(), ApiError> {
    match value.get("Swarmr") {
        Some(own) if !is_trivial(own) => {
            let names: Vec<&str> = own
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys)
                .map(String::as_str)
                .collect();
            Err(ApiError::not_built(&format!(
                "Swarmr settings {}",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
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
        (
            "/TaskTemplate/Resources/Reservations/GenericResources",
            "generic resources",
        ),
    ] {
        if said(pointer) {
            return Err(ApiError::not_built(name));
        }
    }
    for mode in ["ReplicatedJob", "GlobalJob"] {
        if value.pointer(&format!("/Mode/{mode}")).is_some() {
            return Err(ApiError::not_built(&format!("jobs (Mode.{mode})")));
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

fn refuse_unbuilt_network(create: &NetworkCreate) -> Result<(), ApiError> {
    let ipam = create.ipam.as_ref();
    let auxiliary = ipam.is_some_and(|ipam| {
        ipam.config
            .iter()
            .any(|config| !config.auxiliary_addresses.is_empty())
    });
    let ipam_options =
        ipam.is_some_and(|ipam| ipam.options.as_ref().is_some_and(|o| !o.is_empty()));
    for (asked, name) in [
        (
            !matches!(create.driver.as_str(), "" | "overlay"),
            format!("the driver {} for networks of the cluster", create.driver),
        ),
        (
            create.ingress,
            "a second routing-mesh network (Ingress)".to_owned(),
        ),
        (
            create.config_only
                || create
                    .config_from
                    .as_ref()
                    .is_some_and(|from| !is_default(from)),
            "networks from configurations (ConfigOnly, ConfigFrom)".to_owned(),
        ),
        (create.enable_ipv6, "IPv6 in overlay networks".to_owned()),
        (
            create.enable_ipv4 == Some(false),
            "overlay networks without IPv4".to_owned(),
        ),
        (
            auxiliary,
            "auxiliary addresses (AuxiliaryAddresses)".to_owned(),
        ),
        (
            ipam_options,
            "options of address management (IPAM.Options)".to_owned(),
        ),
    ] {
        if asked {
            return Err(ApiError::not_built(&name));
        }
    }
    Ok(())
}

fn refuse_unbuilt_cluster(spec: &ClusterSpec) -> Result<(), ApiError> {
    let locked = spec
        .other
        .get("EncryptionConfig")
        .and_then(|config| config.get("AutoLockManagers"))
        .is_some_and(|flag| !is_trivial(flag));
    if locked {
        return Err(ApiError::not_built("locking managers (AutoLockManagers)"));
    }
    for name in [
        "ExternalCAs",
        "SigningCACert",
        "SigningCAKey",
        "ForceRotate",
    ] {
        if spec
            .ca_config
            .other
            .get(name)
            .is_some_and(|value| !is_trivial(value))
        {
            return Err(ApiError::not_built(&format!("CAConfig.{name}")));
        }
    }
    let log_driver = spec
        .other
        .get("TaskDefaults")
        .is_some_and(|defaults| !is_trivial(defaults));
    if log_driver {
        return Err(ApiError::not_built("defaults for tasks (TaskDefaults)"));
    }
    Ok(())
}

/// The refusal of a whole area that Docker has.
pub(super) fn no_secrets() -> ApiError {
    ApiError::not_built("secrets")
}

/// What an engine's error says, as an answer of our own.
pub(super) fn engine_message(status: StatusCode, value: &Value) -> ApiError {
    let message = value
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("the Docker engine gave no reason");
    ApiError::new(status, message)
}
