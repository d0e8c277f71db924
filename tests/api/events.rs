//! Events of the cluster: their shape, their order, their filters, and the engine's beside them.

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};
use swarmr::api::EngineAddress;
use swarmr::spec::NodeId;
use swarmr::state::node::NodeState;
use tokio::time::timeout;

use super::fake_control::FakeControl;
use super::fake_engine::FakeEngine;
use super::harness::{PATIENCE, Recorded, Server, send};

/// A client that reads events line by line.
struct Listener {
    body: Incoming,
    pending: Vec<u8>,
}

impl Listener {
    async fn at(server: &Server, query: &str) -> Self {
        let request = Request::builder()
            .uri(format!("/events{query}"))
            .header("host", "docker")
            .body(Full::default())
            .unwrap();
        let response = send(&server.socket, request).await;
        assert_eq!(response.status().as_u16(), 200);
        Self {
            body: response.into_body(),
            pending: Vec::new(),
        }
    }

    /// The next event, or none at the stream's end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .unwrap()?
                .unwrap();
            self.pending.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event of that kind and action.
    async fn find(&mut self, kind: &str, action: &str) -> Value {
        loop {
            let event = self.next().await.unwrap();
            if event["Type"] == kind && event["Action"] == action {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn changes_of_the_cluster_are_told_as_an_engine_tells_them() {
    let server = Server::manager();
    let mut listener = Listener::at(&server, "").await;
    let mut seen: Vec<Value> = Vec::new();

    server
        .post(
            "/networks/create",
            &json!({"Name": "some_stack_net", "Driver": "overlay"}),
        )
        .await
        .expect(201);
    seen.push(listener.find("network", "create").await);
    let spec = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    server.post("/services/create", &spec).await.expect(201);
    seen.push(listener.find("service", "create").await);
    let mut spec = server.get("/services/web").await.json();
    let version = spec["Version"]["Index"].clone();
    spec["Spec"]["TaskTemplate"]["ForceUpdate"] = json!(1);
    server
        .post(
            &format!("/services/web/update?version={version}"),
            &spec["Spec"],
        )
        .await
        .expect(200);
    let update = listener.find("service", "update").await;
    assert_eq!(
        update["Actor"]["Attributes"],
        json!({"name": "web", "updatestate.new": "updating"})
    );
    seen.push(update);
    server
        .post("/configs/create", &json!({"Name": "c", "Data": "Yw=="}))
        .await
        .expect(201);
    seen.push(listener.find("config", "create").await);
    server.ask("DELETE", "/configs/c", "").await.expect(204);
    seen.push(listener.find("config", "remove").await);
    server.ask("DELETE", "/services/web", "").await.expect(200);
    seen.push(listener.find("service", "remove").await);
    server
        .ask("DELETE", "/networks/some_stack_net", "")
        .await
        .expect(204);
    seen.push(listener.find("network", "remove").await);
    server.control.add_worker(NodeId::from_bits(5), "eco2");
    listener.find("node", "create").await;
    server
        .control
        .node_state(NodeId::from_bits(5), NodeState::Down);
    let down = loop {
        let event = listener.find("node", "update").await;
        if event["Actor"]["Attributes"]["state.new"] == "down" {
            break event;
        }
    };
    assert_eq!(down["Actor"]["Attributes"]["state.old"], "ready");

    // Each has the fields that an engine's event of that kind has.
    let recorded = Recorded::load("api-1.41").read("events");
    let mut compared = 0;
    for event in &seen {
        let same_kind = recorded.as_array().unwrap().iter().find(|recorded| {
            recorded["Type"] == event["Type"]
                && recorded["Action"] == event["Action"]
                && keys(&recorded["Actor"]["Attributes"]) == keys(&event["Actor"]["Attributes"])
        });
        if let Some(recorded) = same_kind {
            assert_eq!(keys(recorded), keys(event));
            assert_eq!(event["scope"], recorded["scope"]);
            assert!(event["time"].is_i64() && event["timeNano"].is_i64());
            compared += 1;
        }
    }
    assert_eq!(compared, seen.len());
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn scale_and_image_changes_name_both_sides() {
    let server = Server::manager();
    let mut listener =
        Listener::at(&server, "?filters=%7B%22type%22%3A%5B%22service%22%5D%7D").await;
    let spec = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    server.post("/services/create", &spec).await.expect(201);
    listener.find("service", "create").await;
    let changed = json!({"Name": "web", "Mode": {"Replicated": {"Replicas": 4}},
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx:2"}}});
    let version = server.get("/services/web").await.json()["Version"]["Index"].clone();
    server
        .post(&format!("/services/web/update?version={version}"), &changed)
        .await
        .expect(200);
    let event = listener.find("service", "update").await;
    assert_eq!(
        event["Actor"]["Attributes"],
        json!({"name": "web", "image.old": "nginx", "image.new": "nginx:2",
            "replicas.old": "1", "replicas.new": "4", "updatestate.new": "updating"})
    );
}

#[tokio::test]
async fn the_past_is_told_to_who_asks_and_ends_where_he_says() {
    let server = Server::manager();
    for name in ["a", "b"] {
        server
            .post("/configs/create", &json!({"Name": name, "Data": "Yw=="}))
            .await
            .expect(201);
    }
    // Told once they are there; the listener's own news come after the past.
    let mut live = Listener::at(&server, "?since=0").await;
    let first = live.find("config", "create").await;
    let second = live.find("config", "create").await;
    assert_eq!(first["Actor"]["Attributes"]["name"], "a");
    assert_eq!(second["Actor"]["Attributes"]["name"], "b");

    let until = second["timeNano"].as_i64().unwrap();
    let until = format!("{}.{:09}", until / 1_000_000_000, until % 1_000_000_000);
    let query = format!("?until={until}&filters=%7B%22config%22%3A%5B%22b%22%5D%7D");
    let mut past = Listener::at(&server, &query).await;
    assert_eq!(
        past.next().await.unwrap()["Actor"]["Attributes"]["name"],
        "b"
    );
    assert_eq!(past.next().await, None);
}

#[tokio::test]
async fn what_was_there_before_the_server_is_no_news() {
    let recorded = Recorded::load("api-1.41");
    let control = FakeControl::outside();
    let server = Server::start(control, EngineAddress::Fake);
    // As a manager that starts does: from nothing to a state with objects of long ago.
    let former = FakeControl::manager(&recorded);
    former.add_worker(NodeId::from_bits(5), "eco2");
    server.control.take_over(&former);
    server
        .post("/configs/create", &json!({"Name": "c", "Data": "Yw=="}))
        .await
        .expect(201);
    let mut listener = Listener::at(&server, "?since=0").await;
    let first = listener.next().await.unwrap();
    assert_eq!(first["Type"], "config", "{first}");
}

#[tokio::test]
async fn the_engines_events_come_beside_ours() {
    let engine = FakeEngine::start().await;
    let recorded = Recorded::load("api-1.41");
    let server = Server::start(FakeControl::manager(&recorded), engine.address());
    let mut listener = Listener::at(&server, "").await;
    let container = listener.find("container", "start").await;
    assert_eq!(container["scope"], "local");
    // The engine cuts its lines wherever it likes.
    listener.find("container", "die").await;
    server
        .post("/configs/create", &json!({"Name": "c", "Data": "Yw=="}))
        .await
        .expect(201);
    listener.find("config", "create").await;

    let only_ours = "?since=0&until=1&filters=%7B%22scope%22%3A%5B%22swarm%22%5D%7D";
    let mut swarm = Listener::at(&server, only_ours).await;
    assert_eq!(swarm.next().await, None);
}
