//! Services.

use std::time::Duration;

use base64::Engine as _;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use super::error::ApiError;
use super::filters::Filters;
use super::server::{Api, Asked};
use super::wire::{self, Created, RunStarted, ServiceUpdated};
use super::{Answer, admit, lenient, names, reply};
use crate::spec::{Mode, RequestId, ServiceId, ServiceSpec};
use crate::state::command::ServiceChange;
use crate::state::job::Cause;
use crate::state::{Op, Service};

const FILTERS: [&str; 5] = ["id", "label", "mode", "name", "runtime"];
/// A client that creates a service waits for this before anything else, and goes on without it.
const DISTRIBUTION_DEADLINE: Duration = Duration::from_secs(2);
const REGISTRY_AUTH: &str = "x-registry-auth";

pub(super) async fn list(api: &Api, asked: &Asked) -> Answer {
    let filters = Filters::parse(asked.query.get("filters"), &FILTERS)?;
    filters.check_words(
        "mode",
        &["replicated", "global", "replicated-job", "global-job"],
    )?;
    let with_status = asked.query.strict_flag("status")?;
    let state = api.read().await?;
    let services: Vec<wire::Service> = state
        .services()
        .filter(|service| fits(service, &filters))
        .map(|service| wire::Service {
            service_status: with_status.then(|| wire::service::status(service, &state)),
            ..wire::service::render(service, &state)
        })
        .collect();
    reply::ok(&services)
}

pub(super) async fn create(api: &Api, asked: &Asked) -> Answer {
    let warnings = credential_warnings(&asked.headers);
    let (id, spec) = new_service(api, asked).await?;
    api.propose(Op::CreateService { id, spec }).await?;
    let created = Created {
        id: id.to_string(),
        warnings,
    };
    reply::json(StatusCode::CREATED, &created)
}

async fn new_service(api: &Api, asked: &Asked) -> Result<(ServiceId, Box<ServiceSpec>), ApiError> {
    let mut spec = admit::service(admit::with_name(&asked.body, || {
        names::generated(api.control.fresh_id())
    })?)?;
    resolve_networks(api, &mut spec).await?;
    let id = ServiceId::from_bits(api.control.fresh_id());
    Ok((id, Box::new(spec)))
}

/// Why a service's tasks wait.
pub(super) async fn explain(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    let service = state.find_service(name)?;
    reply::ok(&api.control.explain(&state, service))
}

/// What an update, or without a name a creation, would do. Nothing is done.
pub(super) async fn plan(api: &Api, asked: &Asked, name: Option<&str>) -> Answer {
    let state = api.read().await?;
    let (id, name, op) = match name {
        None => {
            let (id, spec) = new_service(api, asked).await?;
            (id, spec.name.clone(), Op::CreateService { id, spec })
        }
        Some(name) => {
            let service = state.find_service(name)?.clone();
            let op = Op::UpdateService {
                id: service.id,
                version: service.meta.version,
                change: Box::new(change(api, asked, &service).await?),
            };
            (service.id, service.name().to_owned(), op)
        }
    };
    let rehearsal = api.control.rehearse(&state, op, (id, &name))?;
    reply::ok(&rehearsal)
}

pub(super) async fn inspect(api: &Api, asked: &Asked, name: &str) -> Answer {
    let insert_defaults = asked.query.strict_flag("insertDefaults")?;
    let state = api.read().await?;
    let found = state.find_service(name)?;
    let mut service = wire::service::render(found, &state);
    if let (Some(status), Some(job)) = (&mut service.job_status, &found.job) {
        status.runs = wire::job::runs(job);
    }
    if insert_defaults {
        service.spec = wire::service::insert_defaults(&service.spec).into();
    }
    reply::ok(&service)
}

pub(super) async fn update(api: &Api, asked: &Asked, name: &str) -> Answer {
    let version = asked.query.version("service")?;
    let auth_from = asked.query.get("registryAuthFrom").unwrap_or_default();
    if !matches!(auth_from, "" | "spec" | "previous-spec") {
        return Err(ApiError::bad_request(format!(
            "invalid registryAuthFrom: got {auth_from:?}, want spec or previous-spec"
        )));
    }
    let warnings = credential_warnings(&asked.headers);
    let service = api.read().await?.find_service(name)?.clone();
    let change = change(api, asked, &service).await?;
    api.propose(Op::UpdateService {
        id: service.id,
        version,
        change: Box::new(change),
    })
    .await?;
    reply::ok(&ServiceUpdated {
        warnings: (!warnings.is_empty()).then_some(warnings),
    })
}

/// What a request asks for: another spec, or to roll back.
async fn change(api: &Api, asked: &Asked, service: &Service) -> Result<ServiceChange, ApiError> {
    match asked.query.get("rollback").unwrap_or_default() {
        "" => {}
        "previous" => return Ok(ServiceChange::RollBack),
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid rollback option: got {other:?}, want previous"
            )));
        }
    }
    let mut spec = admit::service(lenient::parse(&asked.body)?)?;
    resolve_networks(api, &mut spec).await?;
    // A client that knows Docker's fields only has lost ours on the way.
    spec.swarmr = spec.swarmr.or_else(|| service.spec.swarmr.clone());
    Ok(ServiceChange::Spec(spec))
}

pub(super) async fn remove(api: &Api, name: &str) -> Answer {
    let id = api.read().await?.find_service(name)?.id;
    api.propose(Op::RemoveService { id }).await?;
    reply::empty(StatusCode::OK)
}

/// Runs a job now, beside what its schedule says. Not Docker's.
pub(super) async fn run_now(api: &Api, name: &str) -> Answer {
    let service = api.read().await?.find_service(name)?.id;
    let request = RequestId::from_bits(api.control.fresh_id());
    api.propose(Op::RunJob {
        id: service,
        request,
    })
    .await?;
    let state = api.control.local_state();
    let run = state
        .service(service)
        .and_then(|service| service.job.as_ref())
        .and_then(|job| {
            let asked = Cause::Requested(request);
            job.runs().rev().find(|run| run.cause == asked)
        })
        .map(|run| run.number);
    reply::json(StatusCode::CREATED, &RunStarted { run })
}

/// Moves tasks until the service's nodes are even, once. The answer does not wait for that.
pub(super) async fn rebalance(api: &Api, name: &str) -> Answer {
    let state = api.read().await?;
    let service = state.find_service(name)?;
    if !matches!(service.spec.mode, Mode::Replicated(_)) {
        return Err(ApiError::bad_request(format!(
            "service {} is not replicated: only tasks of replicated services are moved",
            service.name()
        )));
    }
    let service = service.id;
    api.propose(Op::Rebalance { service }).await?;
    reply::empty(StatusCode::OK)
}

/// What a registry says of an image, by way of the engine. Clients only warn when it fails.
pub(super) async fn distribution(api: &Api, asked: &Asked) -> Answer {
    let headers: HeaderMap = asked
        .headers
        .get_all(REGISTRY_AUTH)
        .iter()
        .map(|value| {
            (
                hyper::header::HeaderName::from_static(REGISTRY_AUTH),
                value.clone(),
            )
        })
        .collect();
    let answer = api
        .engine
        .ask(Method::GET, &asked.target, headers, DISTRIBUTION_DEADLINE)
        .await;
    match answer {
        Ok((status, value)) if status.is_success() => reply::json(status, &value),
        Ok((status, value)) => Err(admit::engine_message(status, &value)),
        Err(error) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}

async fn resolve_networks(api: &Api, spec: &mut ServiceSpec) -> Result<(), ApiError> {
    if spec.task_template.networks.is_empty() {
        return Ok(());
    }
    let state = api.read().await?;
    admit::resolve_networks(spec, &state)
}

/// Registry credentials are not kept yet; who sends some is told so. `{}` means none, and what
/// cannot be read is no reason to fail.
fn credential_warnings(headers: &HeaderMap) -> Vec<String> {
    let Some(text) = headers
        .get(REGISTRY_AUTH)
        .and_then(|auth| auth.to_str().ok())
    else {
        return Vec::new();
    };
    let text = text.trim_end_matches('=');
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(text));
    let credentials = decoded
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    match credentials {
        Some(value) if lenient::is_trivial(&value) => Vec::new(),
        Some(_) => vec![
            "registry credentials are not kept with the service yet: log every node in to the registry".to_owned(),
        ],
        None => {
            tracing::warn!("the client's X-Registry-Auth cannot be read; it is ignored");
            Vec::new()
        }
    }
}

fn fits(service: &Service, filters: &Filters) -> bool {
    filters.fits_start("id", &service.id.to_string())
        && filters.fits_start("name", service.name())
        && filters.fits_labels("label", &service.spec.labels)
        && filters.fits("mode", |mode| mode_word(&service.spec.mode) == mode)
        && filters.fits("runtime", |runtime| runtime == "container")
}

const fn mode_word(mode: &Mode) -> &'static str {
    match mode {
        Mode::Replicated(_) => "replicated",
        Mode::Global(_) => "global",
        Mode::ReplicatedJob(_) => "replicated-job",
        Mode::GlobalJob(_) => "global-job",
    }
}
