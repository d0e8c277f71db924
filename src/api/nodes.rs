//! Nodes.

use hyper::StatusCode;

use super::error::ApiError;
use super::filters::Filters;
use super::server::{Api, Asked};
use super::wire::{self, TlsInfo};
use super::{Answer, admit, reply};
use crate::spec::{Nanos, parse};
use crate::state::{Node, Op, State};

const FILTERS: [&str; 6] = ["id", "label", "membership", "name", "node.label", "role"];

pub(super) async fn list(api: &Api, asked: &Asked) -> Answer {
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;
    filters.check_words("role", &["worker", "manager"])?;
    filters.check_words("membership", &["accepted", "pending"])?;
    let state = api.read().await?;
    let consensus = api.control.consensus();
    let tls_info = tls_info(&state);
    let nodes: Vec<wire::Node> = state
        .nodes()
        .filter(|node| fits(node, &filters))
        .map(|node| wire::node::render(node, &state, &consensus, &tls_info))
        .collect();
    reply::ok(&nodes)
}

pub(super) async fn inspect(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    let node = state.find_node(name)?;
    reply::ok(&wire::node::render(
        node,
        &state,
        &api.control.consensus(),
        &tls_info(&state),
    ))
}

pub(super) async fn update(api: &Api, asked: &Asked, name: &str) -> Answer {
    let version = asked.query.version("node")?;
    let spec = admit::node(&asked.body)?;
    let drain_limit = drain_limit(asked)?;
    let id = api.read().await?.find_node(name)?.id;
    let op = Op::UpdateNode {
        id,
        version,
        spec,
        drain_limit,
    };
    api.propose(op).await?;
    reply::empty(StatusCode::OK)
}

/// For how long tasks may take to leave a node that is drained: `drainTimeout=5m`, or none at all
/// with `force=1`.
fn drain_limit(asked: &Asked) -> Result<Option<Nanos>, ApiError> {
    if asked.query.strict_flag("force")? {
        return Ok(Some(Nanos::ZERO));
    }
    let written = asked.query.get("drainTimeout").filter(|it| !it.is_empty());
    let limit = written.map(parse::duration).transpose().map_err(|error| {
        ApiError::bad_request(format!("invalid value for drainTimeout: {error}"))
    })?;
    match limit {
        Some(limit) if limit < Nanos::ZERO => Err(ApiError::bad_request(
            "invalid value for drainTimeout: got a negative duration, want 0 or more, such as 5m",
        )),
        limit => Ok(limit),
    }
}

pub(super) async fn remove(api: &Api, asked: &Asked, name: &str) -> Answer {
    let force = asked.query.loose_flag("force");
    let id = api.read().await?.find_node(name)?.id;
    api.propose(Op::RemoveNode { id, force }).await?;
    reply::empty(StatusCode::OK)
}

fn tls_info(state: &State) -> TlsInfo {
    state
        .cluster()
        .map(|cluster| TlsInfo::of(&cluster.authority.root_pem))
        .unwrap_or_default()
}

fn fits(node: &Node, filters: &Filters) -> bool {
    filters.fits_start("id", &node.id.to_string())
        && filters.fits("name", |start| {
            node.spec.name.starts_with(start) || node.description.hostname.starts_with(start)
        })
        && filters.fits_labels("label", &node.description.engine_labels)
        && filters.fits_labels("node.label", &node.spec.labels)
        && filters.fits("role", |role| node.spec.role.to_string() == role)
        // Whoever is in the list was accepted.
        && filters.fits("membership", |membership| membership == "accepted")
}
