//! A server on a socket of its own, a plain client for it, and the recorded answers of engines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use swarmr::api::{EngineAddress, serve};
use swarmr::spec::{ClusterId, NetworkId, NodeId};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fake_control::FakeControl;

/// No single step of a test takes longer, on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) control: Arc<FakeControl>,
    pub(crate) socket: PathBuf,
    shutdown: CancellationToken,
    serving: Option<JoinHandle<()>>,
    _directory: TempDir,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The same answer, if it is the status that the test wants.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

impl Server {
    /// A manager's server with no engine behind it.
    pub(crate) fn manager() -> Self {
        Self::start(
            FakeControl::manager(&Recorded::load("api-1.41")),
            EngineAddress::Fake,
        )
    }

    pub(crate) fn start(control: FakeControl, engine: EngineAddress) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let control = Arc::new(control);
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, control.clone(), engine, shutdown.clone()));
        Self {
            control,
            socket,
            shutdown,
            serving: Some(serving),
            _directory: directory,
        }
    }

    /// Stops it and waits until everything it started has ended.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let serving = self.serving.take().unwrap();
        timeout(PATIENCE, serving).await.unwrap().unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &body.to_string()).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(Request::builder().method(method).uri(path), body)
            .await
    }

    pub(crate) async fn ask_with(
        &self,
        request: hyper::http::request::Builder,
        body: &str,
    ) -> Answer {
        let request = request
            .header("host", "docker")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let response = send(&self.socket, request).await;
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(socket: &Path, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    timeout(PATIENCE, sender.send_request(request))
        .await
        .unwrap()
        .unwrap()
}

/// Waits until `found` finds something.
pub(crate) async fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, search).await.unwrap()
}

/// What a real engine answered.
pub(crate) struct Recorded {
    directory: PathBuf,
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) ingress: NetworkId,
    pub(crate) root_pem: String,
}

impl Recorded {
    pub(crate) fn load(version: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/api/fixtures")
            .join(version);
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(directory.join(name)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let swarm = read("swarm.json");
        Self {
            // Recorded ids have more bits than ours, so these are not the recorded ones.
            cluster: ClusterId::from_bits(u128::MAX / 3),
            node: NodeId::from_bits(u128::MAX / 5),
            ingress: NetworkId::from_bits(u128::MAX / 7),
            root_pem: swarm["TLSInfo"]["TrustRoot"].as_str().unwrap().to_owned(),
            directory,
        }
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.directory.join(format!("{name}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}
