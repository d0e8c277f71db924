//! Configs, and the honest answers about secrets, of which there are none yet.

use hyper::StatusCode;

use super::error::ApiError;
use super::filters::Filters;
use super::server::{Api, Asked};
use super::wire::{self, Created};
use super::{Answer, admit, reply};
use crate::spec::ConfigId;
use crate::state::{Config, Op};

const FILTERS: [&str; 4] = ["id", "label", "name", "names"];

pub(super) async fn list(api: &Api, asked: &Asked) -> Answer {
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;
    let state = api.read().await?;
    let configs: Vec<wire::Config> = state
        .configs()
        .filter(|config| fits(config, &filters))
        .map(|config| wire::config::render(config))
        .collect();
    reply::ok(&configs)
}

pub(super) async fn create(api: &Api, asked: &Asked) -> Answer {
    let spec = admit::config(&asked.body)?;
    let id = ConfigId::from_bits(api.control.fresh_id());
    api.propose(Op::CreateConfig {
        id,
        spec: Box::new(spec),
    })
    .await?;
    let created = Created {
        id: id.to_string(),
        warnings: Vec::new(),
    };
    reply::json(StatusCode::CREATED, &created)
}

pub(super) async fn inspect(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    reply::ok(&wire::config::render(state.find_config(name)?))
}

pub(super) async fn update(api: &Api, asked: &Asked, name: &str) -> Answer {
    let version = asked.query.version("config")?;
    let mut spec = admit::config_update(&asked.body)?;
    let state = api.read().await?;
    let config = state.find_config(name)?;
    if spec.name.is_empty() {
        spec.name.clone_from(&config.spec.name);
    }
    if spec.templating.is_none() {
        spec.templating.clone_from(&config.spec.templating);
    }
    api.propose(Op::UpdateConfig {
        id: config.id,
        version,
        spec: Box::new(spec),
    })
    .await?;
    reply::empty(StatusCode::OK)
}

pub(super) async fn remove(api: &Api, name: &str) -> Answer {
    let id = api.read().await?.find_config(name)?.id;
    api.propose(Op::RemoveConfig { id }).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Clients list secrets on the way to something else, so the list is there, and empty.
pub(super) async fn list_secrets(api: &Api) -> Answer {
    api.read().await?;
    reply::ok(&Vec::<()>::new())
}

pub(super) async fn create_secret(api: &Api) -> Answer {
    api.read().await?;
    Err(admit::no_secrets())
}

pub(super) async fn no_secret(api: &Api, name: &str) -> Answer {
    api.read().await?;
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        format!("secret {name} not found"),
    ))
}

fn fits(config: &Config, filters: &Filters) -> bool {
    filters.fits_start("id", &config.id.to_string())
        && filters.fits_start("name", &config.spec.name)
        && filters.fits("names", |name| config.spec.name == name)
        && filters.fits_labels("label", &config.spec.labels)
}
