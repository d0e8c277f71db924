//! Accepting connections and answering requests: the version in the path, the headers of every
//! answer, the id that follows a request, and the way to the handler.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::control::{Control, ProposeError, Standing, Unavailable};
use super::engine::{Engine, EngineAddress};
use super::error::ApiError;
use super::events::EventHub;
use super::query::{ApiVersion, Query, split_version};
use super::route::{Route, route};
use super::{
    Answer, Body, configs, doctor, events, info, logs, networks, nodes, reply, services, status,
    steer, swarm, tasks,
};
use crate::spec::{NodeId, Role};
use crate::state::{Op, Reply, State};

/// Clients at once; more wait.
const MAX_CONNECTIONS: usize = 1024;
/// A connection may be idle for so long between requests.
const IDLE_DEADLINE: Duration = Duration::from_secs(300);
/// To read a request's body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// A config of the greatest size, in base 64, with room to spare.
const MAX_BODY_BYTES: usize = 4 << 20;
/// What is read of a body that is too large, so that its sender hears why it is refused.
const MAX_DISCARDED_BYTES: usize = 256 << 20;
/// Docker's own deadline for a request to the managers.
const MANAGER_DEADLINE: Duration = Duration::from_secs(20);
/// For requests that are being answered when the server stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// After an accept that failed: it will be for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Names one request in every log line that it leads to, on every node.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-swarmr-request");
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Serves the API on `listener` until `shutdown`, then lets requests finish for a moment.
/// Everything that it starts has ended when it returns.
pub async fn serve(
    listener: UnixListener,
    control: Arc<dyn Control>,
    engine: EngineAddress,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let events = Arc::new(EventHub::default());
    tasks.spawn(events::follow(
        events.clone(),
        control.clone(),
        shutdown.clone(),
    ));
    let api = Arc::new(Api {
        engine: Engine::new(engine, tasks.clone(), shutdown.clone()),
        control,
        events,
        shutdown: shutdown.clone(),
    });
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            // The semaphore is never closed, so there is always a place in the end.
            let place = places.clone().acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(api.clone(), stream);
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// What handlers work with.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) control: Arc<dyn Control>,
    pub(super) engine: Engine,
    pub(super) events: Arc<EventHub>,
    shutdown: CancellationToken,
}

impl Api {
    /// A state that holds every write acknowledged before now.
    pub(super) async fn read(&self) -> Result<Arc<State>, Unavailable> {
        timeout(MANAGER_DEADLINE, self.control.read())
            .await
            .unwrap_or_else(|_| {
                Err(Unavailable::NoQuorum(format!(
                    "the managers did not answer within {} s",
                    MANAGER_DEADLINE.as_secs()
                )))
            })
    }

    /// Proposes a change; a refusal is an error.
    pub(super) async fn propose(&self, op: Op) -> Result<Reply, ApiError> {
        let reply = timeout(MANAGER_DEADLINE, self.control.propose(op))
            .await
            .unwrap_or_else(|_| {
                Err(ProposeError::Unknown(format!(
                    "the managers did not answer within {} s",
                    MANAGER_DEADLINE.as_secs()
                )))
            })?;
        match reply {
            Reply::Rejected(rejected) => Err(rejected.into()),
            reply => Ok(reply),
        }
    }

    /// This node's id, if it has one.
    pub(super) fn here(&self) -> Option<NodeId> {
        match self.control.standing() {
            Standing::Member { node, .. } => Some(node),
            Standing::Inactive | Standing::Pending => None,
        }
    }
}

/// One request on its way to a handler, read whole: a client that is still writing when the answer
/// comes would take it for a broken connection.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) version: ApiVersion,
    pub(super) method: Method,
    /// Without the version, as the client encoded it, with its query.
    pub(super) target: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    async fn read(
        version: ApiVersion,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Self, ApiError> {
        let query = request.uri().query();
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let query = Query::parse(query);
        let (parts, body) = request.into_parts();
        let body = timeout(BODY_DEADLINE, read_body(body))
            .await
            .unwrap_or_else(|_| {
                Err(ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!(
                        "the request's body did not come within {} s",
                        BODY_DEADLINE.as_secs()
                    ),
                ))
            })?;
        Ok(Self {
            version,
            method: parts.method,
            target,
            query,
            headers: parts.headers,
            body,
        })
    }
}

/// Reads a body of moderate size; one that is too large is read to its end, within reason, and
/// refused.
async fn read_body(mut body: Incoming) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(format!("the request's body broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        } else if length > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is larger than {MAX_BODY_BYTES} bytes"),
        ));
    }
    Ok(kept.freeze())
}

async fn connection(api: Arc<Api>, stream: UnixStream) {
    let shutdown = api.shutdown.clone();
    let service = service_fn(move |request| answer(api.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_DEADLINE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let id = request_id(&request, &*api.control);
    let span = tracing::info_span!(
        "request",
        id = %String::from_utf8_lossy(id.as_bytes()),
        method = %request.method(),
        path = %request.uri().path(),
    );
    let worked = AssertUnwindSafe(dispatch(&api, request))
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let mut response = match worked {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            span.in_scope(|| {
                tracing::debug!(status = %error.status, message = %error.body.message, "refused");
            });
            error.into_response()
        }
        Err(_) => {
            span.in_scope(|| tracing::error!("a handler panicked"));
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "swarmr failed to answer this request; its log says why",
            )
            .into_response()
        }
    };
    add_headers(response.headers_mut(), &api.control.standing(), id);
    Ok(response)
}

async fn dispatch(api: &Api, request: Request<Incoming>) -> Answer {
    let (version, path) = split_version(request.uri().path())?;
    let path = path.to_owned();
    let route = route(request.method(), &path);
    if route == Route::Engine {
        return Ok(api.engine.forward(request, version, &path).await?);
    }
    let asked = Asked::read(version, &path, request).await?;
    match route {
        Route::Ping => info::ping(&asked.method),
        Route::Version => info::version(api).await,
        Route::Info => info::info(api).await,
        Route::Events => events::stream(api, &asked).await,
        Route::Distribution => services::distribution(api, &asked).await,
        Route::SwarmInspect => swarm::inspect(api).await,
        Route::SwarmInit => swarm::init(api, &asked).await,
        Route::SwarmJoin => swarm::join(api, &asked).await,
        Route::SwarmLeave => swarm::leave(api, &asked).await,
        Route::SwarmUpdate => swarm::update(api, &asked).await,
        Route::SwarmUnlockKey => swarm::unlock_key(api).await,
        Route::SwarmUnlock => swarm::unlock(api),
        Route::NodeList => nodes::list(api, &asked).await,
        Route::NodeInspect(name) => nodes::inspect(api, &name).await,
        Route::NodeUpdate(name) => nodes::update(api, &asked, &name).await,
        Route::NodeRemove(name) => nodes::remove(api, &asked, &name).await,
        Route::ServiceList => services::list(api, &asked).await,
        Route::ServiceCreate => services::create(api, &asked).await,
        Route::ServiceInspect(name) => services::inspect(api, &asked, &name).await,
        Route::ServiceUpdate(name) => services::update(api, &asked, &name).await,
        Route::ServiceRemove(name) => services::remove(api, &name).await,
        Route::ServiceSteer(name, verb) => steer::steer(api, &asked, &name, verb).await,
        Route::ServiceRevisions(name) => steer::revisions(api, &name).await,
        Route::ServiceRevision(name, revision) => steer::revision(api, &name, &revision).await,
        Route::ServiceRun(name) => services::run_now(api, &name).await,
        Route::ServiceRebalance(name) => services::rebalance(api, &name).await,
        Route::ServiceLogs(name) => logs::of_service(api, &asked, &name).await,
        Route::TaskList => tasks::list(api, &asked).await,
        Route::TaskInspect(name) => tasks::inspect(api, &name).await,
        Route::TaskLogs(name) => logs::of_task(api, &asked, &name).await,
        Route::NetworkList => networks::list(api, &asked).await,
        Route::NetworkCreate => networks::create(api, &asked).await,
        Route::NetworkPrune => networks::prune(api, &asked).await,
        Route::NetworkInspect(name) => networks::inspect(api, &asked, &name).await,
        Route::NetworkRemove(name) => networks::remove(api, &asked, &name).await,
        Route::NetworkConnect(name) => networks::connect(api, &asked, &name).await,
        Route::ConfigList => configs::list(api, &asked).await,
        Route::ConfigCreate => configs::create(api, &asked).await,
        Route::ConfigInspect(name) => configs::inspect(api, &name).await,
        Route::ConfigUpdate(name) => configs::update(api, &asked, &name).await,
        Route::ConfigRemove(name) => configs::remove(api, &name).await,
        Route::SecretList => configs::list_secrets(api).await,
        Route::SecretCreate => configs::create_secret(api).await,
        Route::SecretOne(name) => configs::no_secret(api, &name).await,
        Route::ServiceExplain(name) => services::explain(api, &name).await,
        Route::ServicePlan(name) => services::plan(api, &asked, name.as_deref()).await,
        Route::NetworkDoctor => doctor::examine(api, &asked).await,
        Route::Status => reply::ok(&status::now(api).await),
        Route::Engine | Route::Unknown => Err(ApiError::page_not_found()),
    }
}

/// The id that the client gave, or a fresh one.
fn request_id(request: &Request<Incoming>, control: &dyn Control) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|id| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID_BYTES
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&format!("{:032x}", control.fresh_id()))
            .expect("hex digits are a header value")
    })
}

/// What every answer says, the engine's too.
fn add_headers(headers: &mut HeaderMap, standing: &Standing, id: HeaderValue) {
    let part = match standing {
        Standing::Inactive => "inactive",
        Standing::Pending => "pending",
        Standing::Member { role, .. } => match role {
            Role::Manager => "active/manager",
            Role::Worker => "active/worker",
        },
    };
    headers.insert(
        "api-version",
        HeaderValue::from_static(ApiVersion::OURS_TEXT),
    );
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("swarm", HeaderValue::from_static(part));
    headers.insert(
        header::SERVER,
        HeaderValue::from_static(concat!("swarmr/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    headers.insert(REQUEST_ID, id);
}
