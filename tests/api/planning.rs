//! Why tasks wait, and what a change would do, asked over HTTP.

use serde_json::{Value, json};
use swarmr::plan::Agenda;
use swarmr::state::Op;

use super::harness::Server;

fn zoned(zone: &str) -> Value {
    json!({
        "Name": "web", "Mode": {"Replicated": {"Replicas": 2}},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "nginx"},
            "Placement": {"Constraints": [format!("node.labels.zone=={zone}")]}
        }
    })
}

/// Lets a leader plan until it comes to rest.
pub(crate) fn plan(server: &Server) {
    for _ in 0..10 {
        let state = server.control.state();
        let plan = Agenda::new_leader().pass(&state, state.clock());
        if plan.changes.is_empty() {
            return;
        }
        server.control.apply(Op::Plan(plan.changes));
    }
    panic!("the leader finds no rest");
}

#[tokio::test]
async fn waiting_tasks_are_explained() {
    let server = Server::manager();
    let spec = zoned("a");
    server.post("/services/create", &spec).await.expect(201);
    plan(&server);
    let path = "/swarmr/v1/services/web/explain";
    let got = server.get(path).await.expect(200).json();
    assert_eq!(got["Service"], "web");
    let waiting = &got["Waiting"][0];
    assert_eq!(waiting["Tasks"], json!(["web.1", "web.2"]));
    let obstacle = &waiting["Nodes"][0]["Obstacles"][0];
    assert_eq!(
        *obstacle,
        json!({"Filter": "scheduling constraints not satisfied",
            "Reason": "constraint node.labels.zone==a is not met"})
    );
    let remedy = waiting["Remedies"][0].as_str().unwrap();
    assert!(remedy.starts_with("add label zone=a to "), "{remedy}");
    server
        .get("/swarmr/v1/services/nobody/explain")
        .await
        .expect(404);
}

#[tokio::test]
async fn a_change_is_rehearsed_and_not_made() {
    let server = Server::manager();
    let mut spec = zoned("a");
    spec["TaskTemplate"]["Placement"] = json!({});
    let path = "/swarmr/v1/services/plan";
    let got = server.post(path, &spec).await.expect(200).json();
    assert_eq!(server.get("/services").await.json(), json!([]));
    let actions = |got: &Value| -> Vec<String> {
        let steps = got["Steps"].as_array().unwrap().iter();
        steps
            .map(|step| format!("{} {}", step["Action"], step["Task"]).replace('"', ""))
            .collect()
    };
    assert_eq!(
        actions(&got),
        [
            "make web.1",
            "place web.1",
            "make web.2",
            "place web.2",
            "run web.1",
            "run web.2"
        ]
    );
    server.post("/services/create", &spec).await.expect(201);
    plan(&server);
    let before = server.get("/services/web").await.json();
    spec["TaskTemplate"]["Resources"] = json!({"Reservations": {"NanoCPUs": 64_000_000_000_i64}});
    let path = "/swarmr/v1/services/web/plan";
    let got = server.post(path, &spec).await.expect(200).json();
    let reason = got["Waiting"][0]["Reason"].as_str().unwrap();
    assert!(reason.contains("insufficient resources"), "{got}");
    assert_eq!(server.get("/services/web").await.json(), before);
    // What would be refused is refused.
    spec["Name"] = json!("other");
    server.post(path, &spec).await.expect(501);
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!("");
    server.post(path, &spec).await.expect(400);
    server
        .post("/swarmr/v1/services/nobody/plan", &zoned("a"))
        .await
        .expect(404);
}
