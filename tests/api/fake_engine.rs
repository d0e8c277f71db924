//! A Docker engine of a few paths on a socket of its own: what the pass-through is tried against.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use swarmr::api::EngineAddress;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) struct FakeEngine {
    directory: TempDir,
    serving: JoinHandle<()>,
    /// Methods and paths that were asked, in order.
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeEngine {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                let service = service_fn(move |request| {
                    let line = format!("{} {}", request.method(), request.uri());
                    noted.lock().unwrap().push(line);
                    async move { Ok::<_, Infallible>(answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self {
            directory,
            serving,
            asked,
        }
    }

    pub(crate) fn address(&self) -> EngineAddress {
        EngineAddress::Unix(self.directory.path().join("engine.sock"))
    }

    /// What was asked but for the question after the version.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|line| *line != "GET /version")
            .cloned()
            .collect()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let path = path.strip_prefix("/v1.41").unwrap_or(&path).to_owned();
    match (request.method().as_str(), path.as_str()) {
        ("GET", "/version") => json_body(&json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12",
            "Version": "20.10", "Os": "linux", "Arch": "amd64", "Components": [{"Name": "Engine", "Version": "20.10"}]})),
        ("GET", "/info") => json_body(&json!({"ID": "engine", "NCPU": 2, "Name": "eco1",
            "Swarm": {"LocalNodeState": "inactive"}})),
        ("GET", "/networks") => json_body(&json!([
            {"Name": "bridge", "Id": "b".repeat(64), "Scope": "local", "Driver": "bridge", "Labels": {}},
            {"Name": "swr-app", "Id": "c".repeat(64), "Scope": "local", "Driver": "bridge",
                "Labels": {"io.swarmr.cluster": "x"}}
        ])),
        ("GET", "/networks/bridge") => json_body(&json!({"Name": "bridge", "Scope": "local"})),
        ("POST", "/networks/create") => created(request).await,
        ("POST", "/networks/prune") => json_body(&json!({"NetworksDeleted": ["old"]})),
        ("GET", "/events") => events(),
        ("GET", "/containers/c/logs") => lines(),
        ("GET", path) if path.starts_with("/containers/") && path.ends_with("/logs") => entries(),
        ("GET", "/distribution/slow/json") => std::future::pending().await,
        ("GET", "/distribution/host:1/a/b:c/json") => {
            json_body(&json!({"Descriptor": {"digest": "sha256:0"}, "Platforms": []}))
        }
        ("POST", "/build") => echo_length(request).await,
        ("POST", "/exec/e/start") => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                echo_until_half_close(&mut stream).await;
            });
            Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "Upgrade")
                .header("upgrade", "tcp")
                .header("content-type", "application/vnd.docker.raw-stream")
                .body(whole(""))
                .unwrap()
        }
        _ => {
            let mut response = json_body(&json!({"message": "page not found"}));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Gives back what comes; when the client has closed its half, says how much it was.
async fn echo_until_half_close(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) {
    let mut total = 0;
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                total += length;
                stream.write_all(&buffer[..length]).await.unwrap();
            }
            Err(_) => return,
        }
    }
    stream
        .write_all(format!("got {total} bytes").as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
}

async fn created(request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut response = json_body(&json!({"Id": "d".repeat(64), "Warning": body["Name"]}));
    *response.status_mut() = StatusCode::CREATED;
    response
}

async fn echo_length(request: Request<Incoming>) -> Response<Body> {
    let mut length = 0;
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    json_body(&json!({"Length": length}))
}

/// Two events in three pieces, and then nothing for ever.
fn events() -> Response<Body> {
    let event = |action: &str| {
        json!({"Type": "container", "Action": action, "Actor": {"ID": "c", "Attributes": {}}, "scope": "local",
            "time": 1, "timeNano": 1})
        .to_string()
    };
    let text = format!("{}\n{}\n", event("start"), event("die"));
    let (first, rest) = text.split_at(20);
    let (second, third) = rest.split_at(text.len() / 2);
    let pieces: Vec<Bytes> = [first, second, third]
        .into_iter()
        .map(|piece| Bytes::from(piece.to_owned()))
        .collect();
    let stream = futures::stream::iter(pieces)
        .chain(futures::stream::pending())
        .map(|piece| Ok(Frame::data(piece)));
    Response::new(StreamBody::new(stream).boxed_unsync())
}

/// One line at once, and then nothing for ever, as `logs -f` has it.
fn lines() -> Response<Body> {
    let stream = futures::stream::iter([Bytes::from_static(b"first line\n")])
        .chain(futures::stream::pending())
        .map(|piece| Ok(Frame::data(piece)));
    Response::new(StreamBody::new(stream).boxed_unsync())
}

/// Two entries of a log, with times, in pieces that are cut anywhere.
fn entries() -> Response<Body> {
    let mut wire = Vec::new();
    for (stream, text) in [
        (1, "2026-11-23T00:00:00.000000001Z out\n"),
        (2, "2026-11-23T00:00:00.000000002Z err\n"),
    ] {
        wire.extend([stream, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()]);
        wire.extend(text.as_bytes());
    }
    let pieces: Vec<Bytes> = wire.chunks(11).map(Bytes::copy_from_slice).collect();
    let stream = futures::stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    Response::new(StreamBody::new(stream).boxed_unsync())
}

fn json_body(value: &serde_json::Value) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .header("api-version", "1.41")
        .body(whole(&value.to_string()))
        .unwrap()
}

fn whole(text: &str) -> Body {
    Full::new(Bytes::from(text.to_owned())).boxed_unsync()
}
