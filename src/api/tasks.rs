//! Tasks. A waiting client asks for the tasks of one service five times a second, so that list
//! comes from the index.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::ApiError;
use super::filters::Filters;
use super::server::Api;
use super::server::Asked;
use super::{Answer, reply, wire};
use crate::state::{Service, State, Task};

const FILTERS: [&str; 8] = [
    "_up-to-date",
    "desired-state",
    "id",
    "label",
    "name",
    "node",
    "runtime",
    "service",
];

pub(super) async fn list(api: &Api, asked: &Asked) -> Answer {
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;
    filters.check_words(
        "desired-state",
        &[
            "running", "shutdown", "accepted", "ready", "remove", "complete",
        ],
    )?;
    let state = api.read().await?;
    let tasks: Vec<wire::Task> = candidates(&state, &filters)?
        .into_iter()
        .filter(|task| fits(task, &state, &filters))
        .map(|task| wire::task::render(task, &state))
        .collect();
    reply::ok(&tasks)
}

pub(super) async fn inspect(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    let task = state.find_task(name)?;
    reply::ok(&wire::task::render(task, &state))
}

/// The tasks of the services or the nodes that are asked for, else all of them.
fn candidates<'a>(state: &'a State, filters: &Filters) -> Result<Vec<&'a Arc<Task>>, ApiError> {
    let nodes = filters
        .values("node")
        .iter()
        .map(|name| state.find_node(name).map(|node| node.id))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let services = filters
        .values("service")
        .iter()
        .map(|name| state.find_service(name).map(|service| service.id))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let on_node =
        |task: &Task| nodes.is_empty() || task.node.is_some_and(|node| nodes.contains(&node));
    Ok(if !services.is_empty() {
        services
            .iter()
            .flat_map(|service| state.tasks_of(*service))
            .filter(|task| on_node(task))
            .collect()
    } else if !nodes.is_empty() {
        nodes
            .iter()
            .flat_map(|node| state.tasks_on(*node))
            .collect()
    } else {
        state.tasks().collect()
    })
}

fn fits(task: &Task, state: &State, filters: &Filters) -> bool {
    let service = state.service(task.service);
    let desired = wire::task::DesiredState::of(task);
    filters.fits("desired-state", |word| desired.word() == word)
        && filters.fits("runtime", |runtime| runtime == "container")
        && filters.fits_start("id", &task.id.to_string())
        && (!filters.has("name") || filters.fits_start("name", &wire::task::name(task, state)))
        && (!filters.has("label")
            || service.is_some_and(|service| filters.fits_labels("label", &service.spec.labels)))
        && (!filters.has("_up-to-date")
            || service.is_some_and(|service| is_up_to_date(service, task)))
}

/// Of the newest spec, or of the newest run of a job.
fn is_up_to_date(service: &Service, task: &Task) -> bool {
    match (&service.job, task.slot.run()) {
        (Some(job), Some(run)) => run == job.iteration,
        _ => service.spec_version == task.spec_version,
    }
}
