//! The cluster's settings, and entering it.

use serde_json::Value;

use super::{problem, refuse_own_object};
use crate::api::control::{InitRequest, JoinRequest};
use crate::api::error::ApiError;
use crate::api::lenient::{decode, is_trivial, parse, read};
use crate::api::wire::{SwarmInit, SwarmJoin};
use crate::spec::network::Subnet;
use crate::spec::{ClusterSpec, Nanos};

const HOUR: Nanos = Nanos::from_secs(3600);

/// The settings of a cluster.
pub(in crate::api) fn cluster(value: Value) -> Result<ClusterSpec, ApiError> {
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
pub(in crate::api) fn init(body: &[u8]) -> Result<InitRequest, ApiError> {
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
        match text.parse::<Subnet>() {
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
            &format!("0 (the default) or {} to 29", widest.unwrap_or(8)),
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
pub(in crate::api) fn join(body: &[u8]) -> Result<JoinRequest, ApiError> {
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
