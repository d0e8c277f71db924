//! Networks: the cluster's own and, beside them, the local engine's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::control::Unavailable;
use super::error::ApiError;
use super::filters::{Filters, has_label};
use super::query::encode;
use super::server::{Api, Asked};
use super::wire::{self, NetworkCreate, NetworkCreated};
use super::{Answer, admit, lenient, reply};
use crate::spec::{NetworkId, Timestamp};
use crate::state::network::Holder;
use crate::state::{FindError, Network, Op, State, Task};

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];
/// What engine networks that carry an overlay are labelled with; they are no user's business.
const OURS: &str = "io.swarmr.cluster";
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
/// For containers to stop: twice what they get by default.
const RELEASE_DEADLINE: Duration = Duration::from_secs(20);
/// An engine removes networks one after the other.
const PRUNE_DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn list(api: &Api, asked: &Asked) -> Answer {
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;
    filters.check_words("scope", &["swarm", "local", "global"])?;
    filters.check_words("type", &["custom", "builtin"])?;
    let dangling = filters.flag("dangling")?;
    let mut networks = Vec::new();
    if let Some(state) = cluster_state(api).await {
        let used = dangling.map(|_| used_networks(&state)).unwrap_or_default();
        networks.extend(
            state
                .networks()
                .filter(|network| fits(network, &filters))
                .filter(|network| {
                    dangling.is_none_or(|wanted| wanted != used.contains(&network.id))
                })
                .map(|network| serde_json::to_value(wire::network::render(network)))
                .filter_map(Result::ok),
        );
    }
    if filters.fits("scope", |scope| scope == "local") {
        networks.extend(engine_networks(api, asked.query.get("filters")).await);
    }
    reply::ok(&networks)
}

pub(super) async fn create(api: &Api, asked: &Asked) -> Answer {
    let create: NetworkCreate = lenient::read(&asked.body)?;
    if create.driver != "overlay" && create.scope != "swarm" {
        return Ok(api.engine.pass(asked).await?);
    }
    let spec = admit::network(create)?;
    let id = NetworkId::from_bits(api.control.fresh_id());
    api.propose(Op::CreateNetwork {
        id,
        spec: Box::new(spec),
    })
    .await?;
    let created = NetworkCreated {
        id: id.to_string(),
        warning: String::new(),
    };
    reply::json(StatusCode::CREATED, &created)
}

pub(super) async fn inspect(api: &Api, asked: &Asked, name: &str) -> Answer {
    let verbose = asked.query.loose_flag("verbose");
    let scope = asked.query.get("scope").unwrap_or_default();
    if matches!(scope, "" | "swarm")
        && let Some(state) = cluster_state(api).await
        && let Some(network) = find(&state, name)?
    {
        return reply::ok(&wire::network::render_whole(
            network,
            &state,
            api.here(),
            verbose,
        ));
    }
    of_the_engine(api, asked, name).await
}

pub(super) async fn remove(api: &Api, asked: &Asked, name: &str) -> Answer {
    let Some(state) = cluster_state(api).await else {
        return of_the_engine(api, asked, name).await;
    };
    let Some(network) = find(&state, name)? else {
        return of_the_engine(api, asked, name).await;
    };
    if network.spec.ingress {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "network ingress is the routing mesh's own and stays",
        ));
    }
    let id = network.id;
    if let Err(refused) = api.propose(Op::RemoveNetwork { id }).await {
        let stopping = refused.status == StatusCode::FORBIDDEN
            && only_stopping_tasks_hold(&api.control.local_state(), id);
        if !stopping || !released(api, id).await {
            return Err(refused);
        }
        api.propose(Op::RemoveNetwork { id }).await?;
    }
    reply::empty(StatusCode::NO_CONTENT)
}

/// Clients remove a service and then its network without waiting for the containers to stop. So a
/// network that only such containers still hold is waited for.
async fn released(api: &Api, id: NetworkId) -> bool {
    let mut states = api.control.watch_state();
    let free = states.wait_for(|state| task_holders(state, id).next().is_none());
    matches!(timeout(RELEASE_DEADLINE, free).await, Ok(Ok(_)))
}

fn only_stopping_tasks_hold(state: &State, id: NetworkId) -> bool {
    let named = state
        .services()
        .any(|service| state.networks_of(&service.spec).contains(&id));
    !named && task_holders(state, id).all(|task| !task.is_wanted())
}

/// The tasks that have an address on a network.
fn task_holders(state: &State, id: NetworkId) -> impl Iterator<Item = &Task> {
    state
        .network(id)
        .into_iter()
        .flat_map(|network| network.held.values())
        .filter_map(|holder| match holder {
            Holder::Task(task) => state.task(*task).map(|task| &**task),
            _ => None,
        })
}

/// Only containers of the engine's own networks come and go by hand.
pub(super) async fn connect(api: &Api, asked: &Asked, name: &str) -> Answer {
    if let Some(state) = cluster_state(api).await
        && find(&state, name)?.is_some()
    {
        return Err(ApiError::not_built(
            "connecting containers that are no tasks to an overlay network",
        ));
    }
    of_the_engine(api, asked, name).await
}

/// Asks the engine about a network that is not the cluster's. Where there is no engine, there is no
/// such network either.
async fn of_the_engine(api: &Api, asked: &Asked, name: &str) -> Answer {
    if api.engine.is_fake() {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("network {name} not found"),
        ));
    }
    Ok(api.engine.pass(asked).await?)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    networks_deleted: Vec<String>,
}

/// Removes what nobody uses: of the cluster first, then of the engine, but never the engine's
/// networks that carry an overlay.
pub(super) async fn prune(api: &Api, asked: &Asked) -> Answer {
    let mut filters = Filters::parse(asked.query.get("filters"), &PRUNE_FILTERS)?;
    let until = match filters.values("until") {
        [] => None,
        [text, ..] => Some(super::events::instant(text, api.control.now())?),
    };
    let mut networks_deleted = Vec::new();
    if api.control.standing().is_manager() {
        let state = api.read().await?;
        let used = used_networks(&state);
        for network in state.networks() {
            if used.contains(&network.id) || !may_prune(network, &filters, until) {
                continue;
            }
            match api.propose(Op::RemoveNetwork { id: network.id }).await {
                Ok(_) => networks_deleted.push(network.name().to_owned()),
                // Somebody has begun to use it, or was faster.
                Err(error) if error.status.is_client_error() => {}
                Err(error) => return Err(error),
            }
        }
    }
    filters.add("label!", OURS);
    let path = format!("/networks/prune?filters={}", encode(&filters.to_json()));
    match api
        .engine
        .ask(Method::POST, &path, HeaderMap::new(), PRUNE_DEADLINE)
        .await
    {
        Ok((status, value)) if status.is_success() => {
            let names = value
                .get("NetworksDeleted")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            networks_deleted.extend(names.map(str::to_owned));
        }
        Ok((status, value)) => return Err(admit::engine_message(status, &value)),
        Err(error) => tracing::warn!(%error, "only networks of the cluster were pruned"),
    }
    reply::ok(&Pruned { networks_deleted })
}

/// The state that shows the cluster's networks; `None` where this node cannot see any. Without a
/// quorum the last one known will do: a list of networks is no reason to stop a client that wants
/// the engine's.
async fn cluster_state(api: &Api) -> Option<Arc<State>> {
    match api.read().await {
        Ok(state) => Some(state),
        Err(Unavailable::NoQuorum(reason)) => {
            tracing::warn!(%reason, "networks are listed from memory");
            Some(api.control.local_state())
        }
        Err(Unavailable::NotInCluster | Unavailable::NotManager) => None,
    }
}

/// A network of the cluster; `None` leaves the name to the engine.
fn find<'a>(state: &'a State, name: &str) -> Result<Option<&'a Arc<Network>>, ApiError> {
    match state.find_network(name) {
        Ok(network) => Ok(Some(network)),
        Err(FindError::NotFound { .. }) => Ok(None),
        Err(error @ FindError::Ambiguous { .. }) => Err(error.into()),
    }
}

async fn engine_networks(api: &Api, filters: Option<&str>) -> Vec<Value> {
    let path = match filters {
        Some(filters) if !filters.is_empty() => format!("/networks?filters={}", encode(filters)),
        _ => "/networks".to_owned(),
    };
    let answer = api
        .engine
        .ask(Method::GET, &path, HeaderMap::new(), ENGINE_DEADLINE)
        .await;
    match answer {
        Ok((StatusCode::OK, Value::Array(networks))) => networks
            .into_iter()
            .filter(|network| {
                network
                    .get("Labels")
                    .is_none_or(|labels| labels.get(OURS).is_none())
            })
            .collect(),
        Ok((status, _)) => {
            tracing::warn!(%status, "the engine did not list its networks");
            Vec::new()
        }
        Err(error) => {
            tracing::warn!(%error, "the engine did not list its networks");
            Vec::new()
        }
    }
}

/// Networks that cannot be removed: a service names them, or a task still has an address there.
fn used_networks(state: &State) -> BTreeSet<NetworkId> {
    let held = state.networks().filter(|network| {
        network
            .held
            .values()
            .any(|holder| matches!(holder, Holder::Task(_)))
    });
    state
        .services()
        .flat_map(|service| state.networks_of(&service.spec))
        .chain(held.map(|network| network.id))
        .collect()
}

fn may_prune(network: &Network, filters: &Filters, until: Option<Timestamp>) -> bool {
    !network.spec.ingress
        && until.is_none_or(|until| network.meta.created_at < until)
        && filters.fits_labels("label", &network.spec.labels)
        && !filters
            .values("label!")
            .iter()
            .any(|label| has_label(&network.spec.labels, label))
}

fn fits(network: &Network, filters: &Filters) -> bool {
    filters.fits_start("id", &network.id.to_string())
        // Networks alone are found by any part of their name.
        && filters.fits("name", |part| network.name().contains(part))
        && filters.fits_labels("label", &network.spec.labels)
        && filters.fits("driver", |driver| driver == "overlay")
        && filters.fits("scope", |scope| scope == "swarm")
        && filters.fits("type", |kind| kind == "custom")
}
