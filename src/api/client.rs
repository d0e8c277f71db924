//! A small HTTP/1.1 client over a unix socket: what the CLI talks to the daemon with, and to the
//! local engine where it has to. One connection per request, every request with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::wire::{ErrorBody, ErrorCode};

/// The header that carries the id of a request from the CLI to the container.
pub const REQUEST_ID_HEADER: &str = "x-swarmr-request";
/// How long an answer may take unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// Answers are lists of objects; anything longer than this is a mistake.
const BODY_LIMIT: usize = 1 << 30;

/// Sends requests to one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    request_id: String,
    deadline: Duration,
}

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody listens on it.
    #[error("nothing listens on {}", socket.display())]
    NotRunning { socket: PathBuf },
    /// The socket is there, but not for this user.
    #[error("no permission to use {}", socket.display())]
    NoPermission { socket: PathBuf },
    /// The connection broke before the whole answer had come.
    #[error("the connection to {} broke", socket.display())]
    Broken {
        socket: PathBuf,
        /// Whether the request may have changed something.
        may_have_happened: bool,
        #[source]
        source: std::io::Error,
    },
    #[error("no answer within {} s", after.as_secs_f32())]
    TimedOut {
        after: Duration,
        may_have_happened: bool,
    },
    /// The other side refused.
    #[error("{message}")]
    Refused {
        status: StatusCode,
        code: Option<ErrorCode>,
        message: String,
    },
    /// The answer is not what this version understands.
    #[error("the answer to {request} was not understood")]
    Undecodable {
        request: String,
        #[source]
        source: serde_json::Error,
    },
}

/// An answer that goes on: its body is read piece by piece.
#[derive(Debug)]
pub struct Streamed {
    socket: PathBuf,
    content_type: String,
    body: Incoming,
}

impl Streamed {
    /// What the other side says the body is.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The next piece; `None` at the end. Waits as long as it takes, for a stream may be quiet.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| ClientError::Broken {
                socket: self.socket.clone(),
                may_have_happened: false,
                source: std::io::Error::other(error),
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl Client {
    /// A client of `socket`. `request_id` goes with every request, so that a line in the daemon's
    /// log can be found from the command that caused it.
    pub fn new(socket: &Path, request_id: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            request_id: request_id.to_owned(),
            deadline: DEADLINE,
        }
    }

    /// The same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether somebody answers.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.exchange(Method::GET, "/_ping", None).await.map(drop)
    }

    /// The process that listens on the socket.
    pub async fn server_pid(&self) -> Option<i32> {
        let stream = self.connect().await.ok()?;
        stream.peer_cred().ok()?.pid()
    }

    pub async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        let body = self.get_bytes(target).await?;
        decode(target, &body)
    }

    pub async fn get_bytes(&self, target: &str) -> Result<Bytes, ClientError> {
        self.exchange(Method::GET, target, None).await
    }

    pub async fn post<B, T>(&self, target: &str, body: &B) -> Result<T, ClientError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        let body = self.post_bytes(target, body).await?;
        decode(target, &body)
    }

    /// For requests whose answer says nothing.
    pub async fn post_bytes<B: Serialize + Sync>(
        &self,
        target: &str,
        body: &B,
    ) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(body).map_err(|source| ClientError::Undecodable {
            request: target.to_owned(),
            source,
        })?;
        self.exchange(Method::POST, target, Some(body)).await
    }

    pub async fn post_empty(&self, target: &str) -> Result<Bytes, ClientError> {
        self.exchange(Method::POST, target, None).await
    }

    pub async fn delete(&self, target: &str) -> Result<(), ClientError> {
        self.exchange(Method::DELETE, target, None).await.map(drop)
    }

    /// Starts reading an answer that goes on. The deadline covers its beginning only.
    pub async fn stream(&self, target: &str) -> Result<Streamed, ClientError> {
        let response = self
            .within_deadline(false, self.send(Method::GET, target, None))
            .await?;
        if !response.status().is_success() {
            return Err(self
                .within_deadline(false, self.collect(false, response))
                .await
                .err()
                .unwrap_or(ClientError::TimedOut {
                    after: self.deadline,
                    may_have_happened: false,
                }));
        }
        let content_type = response
            .headers()
            .get(hyper::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        Ok(Streamed {
            socket: self.socket.clone(),
            content_type,
            body: response.into_body(),
        })
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClientError> {
        let writes = method != Method::GET;
        self.within_deadline(writes, async {
            let response = self.send(method, target, body).await?;
            self.collect(writes, response).await
        })
        .await
    }

    async fn within_deadline<T>(
        &self,
        writes: bool,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.deadline, work)
            .await
            .unwrap_or(Err(ClientError::TimedOut {
                after: self.deadline,
                may_have_happened: writes,
            }))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning { socket }
                }
                std::io::ErrorKind::PermissionDenied => ClientError::NoPermission { socket },
                _ => ClientError::Broken {
                    socket,
                    may_have_happened: false,
                    source,
                },
            }
        })
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let writes = method != Method::GET;
        let broken = |source: std::io::Error| ClientError::Broken {
            socket: self.socket.clone(),
            may_have_happened: writes,
            source,
        };
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(std::io::Error::other(error)))?;
        // Ends when the sender and the body are dropped, that is, with this request.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(hyper::header::HOST, "swarmr")
            .header(
                hyper::header::USER_AGENT,
                concat!("swarmr/", env!("CARGO_PKG_VERSION")),
            )
            .header(REQUEST_ID_HEADER, &self.request_id);
        if body.is_some() {
            request = request.header(hyper::header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| broken(std::io::Error::other(error)))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| broken(std::io::Error::other(error)))
    }

    async fn collect(
        &self,
        writes: bool,
        response: Response<Incoming>,
    ) -> Result<Bytes, ClientError> {
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), BODY_LIMIT)
            .collect()
            .await
            .map_err(|source| ClientError::Broken {
                socket: self.socket.clone(),
                may_have_happened: writes,
                source: std::io::Error::other(source),
            })?
            .to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status, &body))
    }
}

/// A request target: the parts of the path and the query, percent-encoded.
pub fn target(path: &[&str], query: &[(&str, &str)]) -> String {
    let mut target = String::new();
    for part in path {
        target.push('/');
        percent_encode(part, &mut target);
    }
    for (place, (key, value)) in query.iter().enumerate() {
        target.push(if place == 0 { '?' } else { '&' });
        percent_encode(key, &mut target);
        target.push('=');
        percent_encode(value, &mut target);
    }
    target
}

fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn decode<T: DeserializeOwned>(request: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|source| ClientError::Undecodable {
        request: request.to_owned(),
        source,
    })
}

/// What a refusal says: Docker's `{"message": …}`, or whatever the body is.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let error = serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody {
        message: String::from_utf8_lossy(body).trim().to_owned(),
        ..ErrorBody::default()
    });
    let message = if error.message.is_empty() {
        format!("the daemon answered {status} and said no more")
    } else {
        error.message
    };
    ClientError::Refused {
        status,
        code: error.code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_percent_encoded() {
        assert_eq!(target(&["services", "web"], &[]), "/services/web");
        assert_eq!(
            target(
                &["services", "a/b c"],
                &[("filters", r#"{"x":1}"#), ("force", "1")]
            ),
            "/services/a%2Fb%20c?filters=%7B%22x%22%3A1%7D&force=1"
        );
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let status = StatusCode::NOT_FOUND;
        let told = |body: &[u8]| refusal(status, body).to_string();
        assert_eq!(
            told(br#"{"message":"service x not found"}"#),
            "service x not found"
        );
        assert_eq!(told(b"plain\n"), "plain");
        assert_eq!(
            told(b""),
            "the daemon answered 404 Not Found and said no more"
        );
        let coded = refusal(status, br#"{"message":"m","code":"no-quorum"}"#);
        assert!(matches!(
            coded,
            ClientError::Refused {
                code: Some(ErrorCode::NoQuorum),
                ..
            }
        ));
    }
}
