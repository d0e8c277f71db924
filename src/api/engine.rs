//! The local Docker engine: where every request goes that is not swarmr's own, streams and
//! upgrades included. Used by the server for its pass-through and by the handlers that merge the
//! engine's answer with the cluster's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ApiError;
use super::query::ApiVersion;
use super::server::Asked;
use super::{Body, reply};

/// To reach the engine's socket; it is on this machine.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Most bytes of an answer that is read whole; `/info` of a large engine is below a megabyte.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the local engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// Its unix socket.
    Unix(PathBuf),
    /// There is none: containers are pretended.
    Fake,
}

/// Why a text is no engine's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is no engine address: want unix:///PATH or fake")]
pub struct ParseEngineAddressError {
    got: String,
}

impl FromStr for EngineAddress {
    type Err = ParseEngineAddressError;

    fn from_str(text: &str) -> Result<Self, ParseEngineAddressError> {
        if text == "fake" {
            return Ok(Self::Fake);
        }
        text.strip_prefix("unix://")
            .filter(|path| path.starts_with('/'))
            .map(|path| Self::Unix(PathBuf::from(path)))
            .ok_or_else(|| ParseEngineAddressError {
                got: text.to_owned(),
            })
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Fake => f.write_str("fake"),
        }
    }
}

/// What an engine speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EngineVersions {
    newest: ApiVersion,
    oldest: ApiVersion,
}

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("there is no Docker engine behind this daemon: it runs with --engine fake")]
    Fake,
    #[error("cannot reach the Docker engine at {address}: {reason}; is it running?")]
    Unreachable {
        address: EngineAddress,
        reason: String,
    },
    #[error("the Docker engine at {address} did not answer within {} s", limit.as_secs())]
    Slow {
        address: EngineAddress,
        limit: Duration,
    },
    #[error("the Docker engine at {address} broke off its answer: {reason}")]
    Broken {
        address: EngineAddress,
        reason: String,
    },
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        Self::engine_unreachable(error.to_string())
    }
}

/// A client of the local engine.
#[derive(Debug)]
pub(super) struct Engine {
    address: EngineAddress,
    /// Asked once, forgotten when a request fails: the engine may have been upgraded.
    versions: ArcSwapOption<EngineVersions>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Engine {
    pub(super) fn new(
        address: EngineAddress,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            address,
            versions: ArcSwapOption::empty(),
            tasks,
            shutdown,
        }
    }

    /// Whether containers are only pretended.
    pub(super) fn is_fake(&self) -> bool {
        self.address == EngineAddress::Fake
    }

    /// Cancelled when the server stops: streams end then.
    pub(super) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Hands a request over and its answer back. `path` is without a version. There is no deadline
    /// here: `wait`, `logs -f` and pulls last as long as their client stays.
    pub(super) async fn forward(
        &self,
        mut request: Request<Incoming>,
        version: ApiVersion,
        path: &str,
    ) -> Result<Response<Body>, EngineError> {
        let uri = self.versioned(version, path, request.uri().query()).await?;
        let upgrades = wants_upgrade(request.headers());
        let client = upgrades.then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let outgoing = self.request(
            parts.method,
            &uri,
            end_to_end(parts.headers, upgrades),
            body.map_err(Into::into).boxed_unsync(),
        )?;
        let mut response = self.send(outgoing).await?;
        if response.status() == StatusCode::BAD_REQUEST {
            // Perhaps it speaks other versions than it did.
            self.versions.store(None);
        }
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let (true, Some(client)) = (switched, client) {
            let engine = hyper::upgrade::on(&mut response);
            self.tasks
                .spawn(couple(client, engine, self.shutdown.clone()));
        }
        let (parts, body) = response.into_parts();
        let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = end_to_end(parts.headers, switched);
        Ok(answer)
    }

    /// A `GET` whose answer is read as a stream; `path` may have a query. It must begin within
    /// `limit` and may last for ever.
    pub(super) async fn stream(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Response<Incoming>, EngineError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Some(query).filter(|query| !query.is_empty());
        let answer = async {
            let uri = self.versioned(ApiVersion::OURS, path, query).await?;
            self.send(self.request(Method::GET, &uri, HeaderMap::new(), empty())?)
                .await
        };
        timeout(limit, answer)
            .await
            .unwrap_or_else(|_| Err(self.slow(limit)))
    }

    /// A request without a body whose whole answer is read, within `limit`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        limit: Duration,
    ) -> Result<(StatusCode, Value), EngineError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Some(query).filter(|query| !query.is_empty());
        let answer = async {
            let uri = self.versioned(ApiVersion::OURS, path, query).await?;
            let request = self.request(method, &uri, end_to_end(headers, false), empty())?;
            self.collect(self.send(request).await?).await
        };
        timeout(limit, answer)
            .await
            .unwrap_or_else(|_| Err(self.slow(limit)))
    }

    /// Hands over a request that was read already.
    pub(super) async fn pass(&self, asked: &Asked) -> Result<Response<Body>, EngineError> {
        let uri = self.versioned(asked.version, &asked.target, None).await?;
        let request = self.request(
            asked.method.clone(),
            &uri,
            end_to_end(asked.headers.clone(), false),
            reply::whole(asked.body.clone()),
        )?;
        let (parts, body) = self.send(request).await?.into_parts();
        let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = end_to_end(parts.headers, false);
        Ok(answer)
    }

    async fn collect(
        &self,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, Value), EngineError> {
        let status = response.status();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| self.broken(error))?
            .to_bytes();
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|error| self.broken(error))?
        };
        Ok((status, value))
    }

    /// The path in the lower of the version that was asked and the one that the engine speaks.
    async fn versioned(
        &self,
        asked: ApiVersion,
        path: &str,
        query: Option<&str>,
    ) -> Result<String, EngineError> {
        let speaks = self.versions().await?;
        let version = asked
            .min(speaks.newest)
            .max(speaks.oldest)
            .max(ApiVersion::ENGINE_FLOOR);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("/v{version}{path}{query}"))
    }

    async fn versions(&self) -> Result<EngineVersions, EngineError> {
        if let Some(known) = self.versions.load_full() {
            return Ok(*known);
        }
        let request = self.request(Method::GET, "/version", HeaderMap::new(), empty())?;
        let answer = async { self.collect(self.send(request).await?).await };
        let (_, value) = timeout(CONNECT_DEADLINE, answer)
            .await
            .unwrap_or_else(|_| Err(self.slow(CONNECT_DEADLINE)))?;
        let read = |name: &str| value.get(name)?.as_str().and_then(ApiVersion::parse);
        let newest = read("ApiVersion").ok_or_else(|| self.broken("it names no ApiVersion"))?;
        let versions = EngineVersions {
            newest,
            oldest: read("MinAPIVersion").unwrap_or(ApiVersion::OLDEST),
        };
        self.versions.store(Some(Arc::new(versions)));
        Ok(versions)
    }

    fn request(
        &self,
        method: Method,
        uri: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Request<Body>, EngineError> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(body)
            .map_err(|error| self.broken(error))?;
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_static("docker"));
        Ok(request)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, EngineError> {
        let EngineAddress::Unix(path) = &self.address else {
            return Err(EngineError::Fake);
        };
        let stream = timeout(CONNECT_DEADLINE, UnixStream::connect(path))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream))
                .await
                .map_err(|error| self.unreachable(error))?;
        let shutdown = self.shutdown.clone();
        // Ends with the answer's body, whose receiver the caller holds.
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection to the engine ended");
                    }
                }
                () = shutdown.cancelled() => {}
            }
        });
        sender.send_request(request).await.map_err(|error| {
            self.versions.store(None);
            self.broken(error)
        })
    }

    fn unreachable(&self, reason: impl ToString) -> EngineError {
        self.versions.store(None);
        EngineError::Unreachable {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }

    fn slow(&self, limit: Duration) -> EngineError {
        EngineError::Slow {
            address: self.address.clone(),
            limit,
        }
    }

    fn broken(&self, reason: impl ToString) -> EngineError {
        EngineError::Broken {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Copies both ways until both sides have closed; each side may close its half first.
async fn couple(
    client: hyper::upgrade::OnUpgrade,
    engine: hyper::upgrade::OnUpgrade,
    shutdown: CancellationToken,
) {
    let copied = async {
        let (client, engine) = tokio::try_join!(client, engine).map_err(std::io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(engine)).await
    };
    tokio::select! {
        ended = copied => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upgraded connection ended");
            }
        }
        () = shutdown.cancelled() => {}
    }
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Headers without those that concern one connection only. An upgrade keeps what asks for it.
fn end_to_end(mut headers: HeaderMap, upgrades: bool) -> HeaderMap {
    const CONNECTION_ONLY: [HeaderName; 6] = [
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::EXPECT,
    ];
    for name in CONNECTION_ONLY {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove(header::CONNECTION);
    if upgrades {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_addresses_read_back() {
        for text in ["unix:///run/docker.sock", "fake"] {
            assert_eq!(text.parse::<EngineAddress>().unwrap().to_string(), text);
        }
        for text in ["", "unix://relative", "tcp://host:1", "/run/docker.sock"] {
            assert!(text.parse::<EngineAddress>().is_err(), "{text}");
        }
    }
}
