//! swarmr's own verbs for services.

use serde_json::{Value, json};
use swarmr::spec::NodeId;
use swarmr::state::service::{Hold, Rollout};
use swarmr::state::{Change, Op};

use super::harness::{Recorded, Server};

fn web(image: &str) -> Value {
    json!({
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": image}},
        "Mode": {"Replicated": {"Replicas": 3}},
        "Swarmr": {
            "Update": {"Steps": ["10%", "2:5m"], "ProgressDeadline": 60_000_000_000_i64},
            "Restart": {"Backoff": 3, "MaxDelay": 60_000_000_000_i64},
            "RevisionsLimit": 5
        }
    })
}

async fn update(server: &Server, spec: &Value) {
    let service = server.get("/services/web").await.expect(200).json();
    let version = &service["Version"]["Index"];
    server
        .post(&format!("/services/web/update?version={version}"), spec)
        .await
        .expect(200);
}

async fn verb(server: &Server, verb: &str, status: u16) -> String {
    let answer = server
        .ask("POST", &format!("/swarmr/v1/services/web/{verb}"), "")
        .await
        .expect(status);
    if status == 200 {
        String::new()
    } else {
        answer.message()
    }
}

/// Lets the rollout be where the leader would have brought it.
fn roll(server: &Server, change: impl FnOnce(&mut Rollout)) {
    let state = server.control.state();
    let service = state.find_service("web").unwrap();
    let mut rollout = service.rollout.clone().unwrap();
    change(&mut rollout);
    server.control.apply(Op::Plan(vec![Change::SetRollout {
        service: service.id,
        spec_version: service.spec_version,
        rollout: Box::new(rollout),
    }]));
}

#[tokio::test]
async fn a_step_that_waits_is_paused_to_docker_and_goes_on_when_promoted() {
    let server = Server::manager();
    server
        .post("/services/create", &web("web:1"))
        .await
        .expect(201);
    let said = verb(&server, "promote", 409).await;
    assert!(said.contains("does not wait for a promotion"), "{said}");
    update(&server, &web("web:2")).await;
    roll(&server, |rollout| rollout.hold = Some(Hold::Promotion));
    let service = server.get("/services/web").await.expect(200).json();
    assert_eq!(service["UpdateStatus"]["State"], "paused");
    assert_eq!(service["Swarmr"], json!({"Hold": "promotion"}));
    assert_eq!(
        service["Spec"]["Swarmr"]["Update"]["Steps"],
        json!(["10%", "2:5m"])
    );
    verb(&server, "promote", 200).await;
    let service = server.get("/services/web").await.expect(200).json();
    assert_eq!(service["UpdateStatus"]["State"], "updating");
    assert_eq!(service.get("Swarmr"), None);
    let state = server.control.state();
    let rollout = state.find_service("web").unwrap().rollout.clone().unwrap();
    assert_eq!(rollout.step, 1);
    roll(&server, |rollout| rollout.hold = Some(Hold::Promotion));
    verb(&server, "promote?full=true", 200).await;
    let state = server.control.state();
    let rollout = state.find_service("web").unwrap().rollout.clone().unwrap();
    assert_eq!(rollout.step, u64::MAX);
}

#[tokio::test]
async fn updates_are_paused_and_resumed() {
    let server = Server::manager();
    server
        .post("/services/create", &web("web:1"))
        .await
        .expect(201);
    let said = verb(&server, "pause", 409).await;
    assert!(said.contains("no update is in progress"), "{said}");
    update(&server, &web("web:2")).await;
    for _ in 0..2 {
        verb(&server, "pause", 200).await;
    }
    let service = server.get("/services/web").await.expect(200).json();
    assert_eq!(service["UpdateStatus"]["State"], "paused");
    assert_eq!(
        service["UpdateStatus"]["Message"],
        "update paused by the user"
    );
    assert_eq!(service["Swarmr"], json!({"Hold": "user"}));
    let status = server.get("/swarmr/v1/status").await.expect(200).json();
    let problems = status["problems"].to_string();
    assert!(problems.contains("swarmr service resume web"), "{problems}");
    for _ in 0..2 {
        verb(&server, "resume", 200).await;
    }
    let service = server.get("/services/web").await.expect(200).json();
    assert_eq!(service["UpdateStatus"]["State"], "updating");
    assert_eq!(verb(&server, "explode", 404).await, "page not found");
}

#[tokio::test]
async fn revisions_are_listed_shown_and_returned_to() {
    let server = Server::manager();
    server
        .post("/services/create", &web("web:1"))
        .await
        .expect(201);
    update(&server, &web("web:2")).await;
    let mut scaled = web("web:2");
    scaled["Mode"]["Replicated"]["Replicas"] = json!(7);
    update(&server, &scaled).await;
    let list = server
        .get("/swarmr/v1/services/web/revisions")
        .await
        .expect(200)
        .json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["Revision"], 2);
    assert_eq!(list[0]["Cause"], "updated");
    assert_eq!(list[0]["Current"], true);
    let changes = json!(["image web:1 to web:2", "replicas 3 to 7"]);
    assert_eq!(list[0]["Changes"], changes);
    assert_eq!(list[1]["Current"], false);
    let first = server
        .get("/swarmr/v1/services/web/revisions/1")
        .await
        .expect(200)
        .json();
    let image = "/Spec/TaskTemplate/ContainerSpec/Image";
    assert_eq!(first.pointer(image).unwrap(), "web:1");
    verb(&server, "rollback?revision=1", 200).await;
    let service = server.get("/services/web").await.expect(200).json();
    assert_eq!(service.pointer(image).unwrap(), "web:1");
    assert_eq!(service["Spec"]["Mode"]["Replicated"]["Replicas"], 7);
    assert_eq!(service["UpdateStatus"]["State"], "rollback_started");
    let list = server
        .get("/swarmr/v1/services/web/revisions")
        .await
        .expect(200)
        .json();
    assert_eq!(list[0]["Cause"], "rolled back to 1");
    for (path, status, says) in [
        ("rollback?revision=9", 404, "no revision 9"),
        ("rollback?revision=x", 400, "want a number"),
        ("rollback", 400, "want a number"),
        ("rollback?revision=3", 409, "revision 3 already"),
    ] {
        let said = verb(&server, path, status).await;
        assert!(said.contains(says), "{path}: {said}");
    }
    server
        .get("/swarmr/v1/services/web/revisions/9")
        .await
        .expect(404);
}

#[tokio::test]
async fn services_are_stopped_started_and_restarted() {
    let server = Server::manager();
    let here: NodeId = Recorded::load("api-1.41").node;
    server
        .post("/services/create", &web("web:1"))
        .await
        .expect(201);
    let id = server.control.state().find_service("web").unwrap().id;
    let slot = swarmr::state::task::Slot::Replica(1);
    let running = swarmr::state::task::TaskState::Running;
    server.control.run_task(id, slot, here, running);
    for _ in 0..2 {
        verb(&server, "stop", 200).await;
    }
    let services = server.get("/services?status=true").await.expect(200).json();
    assert_eq!(services[0]["Swarmr"], json!({"Stopped": true}));
    assert_eq!(services[0]["ServiceStatus"]["DesiredTasks"], 3);
    let said = verb(&server, "restart", 409).await;
    assert!(said.contains("swarmr service start"), "{said}");
    verb(&server, "start", 200).await;
    let before = server.get("/services/web").await.expect(200).json();
    assert_eq!(before.get("Swarmr"), None);
    verb(&server, "restart", 200).await;
    let after = server.get("/services/web").await.expect(200).json();
    assert_eq!(after["UpdateStatus"]["Message"], "restart in progress");
    assert_eq!(after["Spec"], before["Spec"]);
    assert_eq!(after.get("PreviousSpec"), None);
    let revisions = server
        .get("/swarmr/v1/services/web/revisions")
        .await
        .expect(200)
        .json();
    assert_eq!(revisions.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_with_what_to_do() {
    let server = Server::manager();
    for (pointer, value, says) in [
        (
            "/Swarmr/Update/Steps",
            json!(["50%", "10%"]),
            "each step takes more",
        ),
        (
            "/Swarmr/Update/Steps",
            json!(["0%"]),
            "a share or a number of tasks",
        ),
        ("/Swarmr/Update/ProgressDeadline", json!(-1), "0 or more"),
        ("/Swarmr/Restart/Backoff", json!(0.5), "1 to 100 times"),
        (
            "/Swarmr/Restart/MaxDelay",
            json!(1),
            "no shorter than the first delay, which is 5s",
        ),
        ("/Swarmr/RevisionsLimit", json!(0), "1 to 100 revisions"),
    ] {
        let mut spec = web("web:1");
        *spec.pointer_mut(pointer).unwrap() = value;
        let answer = server.post("/services/create", &spec).await.expect(400);
        let said = answer.message();
        assert!(said.contains(says), "{pointer}: {said}");
    }
    let mut unknown = web("web:1");
    unknown["Swarmr"]["Update"]["Canary"] = json!(true);
    let answer = server.post("/services/create", &unknown).await.expect(400);
    assert!(answer.message().contains("Swarmr.Update.Canary"));
}
