//! Everything that is not the cluster's goes to the engine and back: answers, streams, uploads,
//! upgrades with both halves.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::json;
use swarmr::api::EngineAddress;
use swarmr::spec::NodeId;
use swarmr::state::task::{Slot, TaskState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::fake_control::FakeControl;
use super::fake_engine::FakeEngine;
use super::harness::{PATIENCE, Recorded, Server, send};

fn server(engine: &FakeEngine) -> Server {
    let recorded = Recorded::load("api-1.41");
    Server::start(FakeControl::manager(&recorded), engine.address())
}

#[tokio::test]
async fn the_engine_is_asked_in_a_version_that_it_speaks() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    for path in [
        "/v1.24/images/json",
        "/v1.41/images/json?all=1",
        "/v1.53/images/json",
        "/images/json",
    ] {
        let answer = server.get(path).await.expect(404);
        assert_eq!(answer.message(), "page not found");
        assert_eq!(
            answer.headers["api-version"], "1.53",
            "the client talks to us"
        );
    }
    assert_eq!(
        engine.asked(),
        [
            "GET /v1.41/images/json",
            "GET /v1.41/images/json?all=1",
            "GET /v1.41/images/json",
            "GET /v1.41/images/json"
        ]
    );
}

#[tokio::test]
async fn an_upgraded_connection_carries_both_halves() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    let request = Request::builder()
        .method("POST")
        .uri("/v1.41/exec/e/start")
        .header("host", "docker")
        .header("connection", "Upgrade")
        .header("upgrade", "tcp")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from("{\"Detach\":false,\"Tty\":true}")))
        .unwrap();
    let mut response = send(&server.socket, request).await;
    assert_eq!(response.status().as_u16(), 101);
    assert_eq!(response.headers()["upgrade"], "tcp");
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.docker.raw-stream"
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let conversation = async {
        for line in ["hello\n", "again\n"] {
            stream.write_all(line.as_bytes()).await.unwrap();
            let mut echo = vec![0; line.len()];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, line.as_bytes());
        }
        // The client is done writing and still reads.
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "got 12 bytes");
    };
    timeout(PATIENCE, conversation).await.unwrap();
}

#[tokio::test]
async fn streams_are_handed_on_as_they_come() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    let request = Request::builder()
        .uri("/containers/c/logs?follow=1")
        .header("host", "docker")
        .body(Full::default())
        .unwrap();
    let mut response = send(&server.socket, request).await;
    let frame = timeout(PATIENCE, response.body_mut().frame())
        .await
        .unwrap();
    let data = frame.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&data[..], b"first line\n");
    drop(response);
    server.stop().await;
}

#[tokio::test]
async fn large_uploads_are_handed_on() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    // Larger than any body that the server reads itself.
    let length = 16 << 20;
    let answer = server
        .ask("POST", "/v1.41/build?t=a", &"x".repeat(length))
        .await
        .expect(200);
    assert_eq!(answer.json(), json!({"Length": length}));
}

#[tokio::test]
async fn the_engines_answers_are_merged_with_ours() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    let info = server.get("/info").await.expect(200).json();
    assert_eq!(info["ID"], "engine");
    assert_eq!(info["Swarm"]["LocalNodeState"], "active");
    assert_eq!(info["Swarm"]["ControlAvailable"], true);
    let version = server.get("/version").await.expect(200).json();
    assert_eq!(version["ApiVersion"], "1.53");
    assert_eq!(version["MinAPIVersion"], "1.24");
    assert_eq!(version["Components"][0]["Name"], "swarmr");
    assert_eq!(version["Components"][1]["Name"], "Engine");

    let names = |list: serde_json::Value| -> Vec<String> {
        let networks = list.as_array().unwrap().clone();
        networks
            .iter()
            .map(|network| network["Name"].as_str().unwrap().to_owned())
            .collect()
    };
    let networks = names(server.get("/networks").await.expect(200).json());
    assert_eq!(
        networks,
        ["ingress", "bridge"],
        "not the bridge below an overlay"
    );
    let local = server.get("/networks/bridge").await.expect(200).json();
    assert_eq!(local["Scope"], "local");
    let body = json!({"Name": "mine", "Driver": "bridge"});
    let created = server
        .post("/v1.41/networks/create", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(created["Warning"], "mine", "the engine got the body");
    let pruned = server
        .post("/networks/prune", &json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(pruned["NetworksDeleted"], json!(["old"]));
    let prune = engine
        .asked()
        .into_iter()
        .find(|line| line.contains("prune"))
        .unwrap();
    assert!(
        prune.contains("label%21"),
        "bridges below overlays are spared: {prune}"
    );
}

#[tokio::test]
async fn a_registry_that_does_not_answer_holds_nobody_up() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    let digest = server
        .get("/distribution/host:1/a/b:c/json")
        .await
        .expect(200)
        .json();
    assert_eq!(digest["Descriptor"]["digest"], "sha256:0");
    let answer = server.get("/distribution/slow/json").await.expect(500);
    assert!(
        answer.message().contains("did not answer within 2 s"),
        "{}",
        answer.message()
    );
    let answer = server.get("/distribution/unknown/json").await.expect(404);
    assert_eq!(answer.message(), "page not found");
}

#[tokio::test]
async fn an_engine_that_is_down_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nobody.sock");
    let recorded = Recorded::load("api-1.41");
    let server = Server::start(
        FakeControl::manager(&recorded),
        EngineAddress::Unix(socket.clone()),
    );
    let answer = server.get("/containers/json").await.expect(503);
    assert!(
        answer.message().contains(&socket.display().to_string()),
        "{}",
        answer.message()
    );
    assert_eq!(answer.json()["code"], "engine-unreachable");
    let info = server.get("/info").await.expect(200).json();
    assert_eq!(info["Swarm"]["ControlAvailable"], true);
    assert!(
        info["Warnings"][0]
            .as_str()
            .unwrap()
            .contains("nobody.sock")
    );
    assert_eq!(
        server.get("/version").await.expect(200).json()["ApiVersion"],
        "1.53"
    );
    server.get("/networks").await.expect(200);
    server.get("/networks/none").await.expect(503);
}

#[tokio::test]
async fn an_engine_that_comes_back_in_another_version_is_asked_again() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    server.get("/images/json").await.expect(404);
    let EngineAddress::Unix(socket) = engine.address() else {
        panic!("a fake engine has a socket");
    };
    std::fs::remove_file(&socket).unwrap();
    server.get("/images/json").await.expect(503);
    // Now another engine listens there, whose oldest version is above what was asked before.
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(async move {
        let mut paths = Vec::new();
        while paths.len() < 2 {
            let (stream, _) = listener.accept().await.unwrap();
            let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
            let service =
                hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let sender = sender.clone();
                    async move {
                        sender.send(request.uri().to_string()).await.unwrap();
                        let body =
                            json!({"ApiVersion": "1.60", "MinAPIVersion": "1.44"}).to_string();
                        Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(
                            Bytes::from(body),
                        )))
                    }
                });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
            paths.push(receiver.recv().await.unwrap());
        }
        paths
    });
    server.get("/v1.41/images/json").await.expect(200);
    let paths = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert_eq!(paths, ["/version", "/v1.44/images/json"]);
}

#[tokio::test]
async fn logs_of_local_tasks_say_which_task_spoke() {
    let engine = FakeEngine::start().await;
    let server = server(&engine);
    let here = Recorded::load("api-1.41").node;
    let there = NodeId::from_bits(77);
    server.control.add_worker(there, "eco2");
    let spec = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    server.post("/services/create", &spec).await.expect(201);
    let web = server.control.state().find_service("web").unwrap().id;
    let task = server
        .control
        .run_task(web, Slot::Replica(1), here, TaskState::Running);

    let query = "stdout=1&stderr=1&timestamps=1&details=1&tail=all";
    for path in [
        format!("/v1.53/services/web/logs?{query}"),
        format!("/v1.53/tasks/{task}/logs?{query}"),
    ] {
        let answer = server.get(&path).await.expect(200);
        assert_eq!(
            answer.headers["content-type"],
            "application/vnd.docker.multiplexed-stream"
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let details = format!(
            "Z com.docker.swarm.node.id={here},com.docker.swarm.service.id={web},com.docker.swarm.task.id={task} "
        );
        assert_eq!(text.matches(&details).count(), 2, "{text}");
        assert!(text.contains(" out\n") && text.contains(" err\n"), "{text}");
    }
    let old = server
        .get("/v1.41/services/web/logs?stdout=1")
        .await
        .expect(200);
    assert_eq!(
        old.headers["content-type"],
        "application/vnd.docker.raw-stream"
    );

    server
        .control
        .run_task(web, Slot::Replica(2), there, TaskState::Running);
    let answer = server
        .get(&format!("/services/web/logs?{query}"))
        .await
        .expect(501);
    assert!(
        answer.message().contains("is on eco2"),
        "{}",
        answer.message()
    );
}
