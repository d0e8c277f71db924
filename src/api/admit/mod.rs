//! What a request must be before anything is proposed: pure functions from what a client sent to
//! what is stored. Docker's spellings are brought to one form here, so that a spec that a client
//! reads and sends back unchanged is no change; what is not built yet is refused by name.

mod cluster;
mod network;
mod service;

use hyper::StatusCode;
use serde_json::Value;

use super::error::ApiError;
use super::lenient::{decode, is_trivial, parse};
use crate::spec::validate::{self, Problem};
use crate::spec::{ConfigSpec, NodeSpec};

pub(super) use cluster::{cluster, init, join};
pub(super) use network::network;
pub(super) use service::{resolve_networks, service, with_name};

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

fn problem(field: &str, got: &str, allowed: &str) -> Problem {
    Problem {
        field: field.to_owned(),
        got: got.to_owned(),
        allowed: allowed.to_owned(),
        fix: String::new(),
    }
}

/// swarmr's own object at the top of a spec that has none: only services do.
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
