//! Jobs and schedules as clients see them.

use serde_json::{Value, json};
use swarmr::state::task::{Slot, TaskState};

use super::harness::{Recorded, Server};

fn job(schedule: &Value) -> Value {
    json!({
        "Name": "job", "TaskTemplate": {"ContainerSpec": {"Image": "job:1"}},
        "Mode": {"ReplicatedJob": {"TotalCompletions": 3}},
        "Swarmr": {"Schedule": schedule},
    })
}

async fn job_status(server: &Server) -> Value {
    server.get("/services/job").await.expect(200).json()["JobStatus"].clone()
}

#[tokio::test]
async fn a_job_shows_its_run_and_its_tasks_tell_which_they_belong_to() {
    let server = Server::manager();
    let mut spec = job(&Value::Null);
    spec.as_object_mut().unwrap().remove("Swarmr");
    server.post("/services/create", &spec).await.expect(201);
    let shown = server.get("/services/job?insertDefaults=true").await.json();
    assert_eq!(
        shown["Spec"]["Mode"],
        json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 3}})
    );
    assert!(shown["Spec"].get("UpdateConfig").is_none());
    assert_eq!(shown["JobStatus"]["JobIteration"], json!({}));
    assert_eq!(shown["JobStatus"]["Runs"][0]["State"], "running");
    assert_eq!(shown["JobStatus"]["Runs"][0]["Cause"], "created");

    let here = Recorded::load("api-1.41").node;
    let id = server.control.state().find_service("job").unwrap().id;
    for (number, state) in [(0, TaskState::Complete), (1, TaskState::Running)] {
        let slot = Slot::Completion { run: 0, number };
        server.control.run_task(id, slot, here, state);
    }
    let listed = server.get("/services?status=true").await.json();
    assert_eq!(
        listed[0]["ServiceStatus"],
        json!({"RunningTasks": 1, "DesiredTasks": 1, "CompletedTasks": 1})
    );
    let tasks = server
        .get("/tasks?filters=%7B%22desired-state%22%3A%5B%22complete%22%5D%7D")
        .await
        .expect(200)
        .json();
    let of = |task: &Value| (task["Slot"].as_u64(), task["JobIteration"].clone());
    let mut got: Vec<_> = tasks.as_array().unwrap().iter().map(of).collect();
    got.sort_by_key(|(slot, _)| *slot);
    assert_eq!(got, [(Some(0), json!({})), (Some(1), json!({}))]);

    // A new template is another iteration; scale is not.
    for (path, value, iteration) in [
        ("/Mode/ReplicatedJob/TotalCompletions", json!(5), json!({})),
        ("/TaskTemplate/ForceUpdate", json!(1), json!({"Index": 1})),
    ] {
        let shown = server.get("/services/job").await.json();
        let mut spec = shown["Spec"].clone();
        *spec.pointer_mut(path).unwrap() = value;
        let version = &shown["Version"]["Index"];
        let target = format!("/services/job/update?version={version}");
        server.post(&target, &spec).await.expect(200);
        assert_eq!(
            job_status(&server).await["JobIteration"],
            iteration,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_scheduled_job_runs_when_asked_and_clients_of_docker_keep_its_schedule() {
    let server = Server::manager();
    let schedule = json!({"Cron": "0 3 * * *", "TimeZone": "Europe/Rome"});
    let spec = job(&schedule);
    server.post("/services/create", &spec).await.expect(201);
    let status = job_status(&server).await;
    assert!(
        status["NextExecution"]
            .as_str()
            .unwrap()
            .ends_with(":00:00Z"),
        "{status}"
    );
    assert!(status.get("Runs").is_none(), "{status}");

    let started = server
        .post("/services/job/run", &json!({}))
        .await
        .expect(201)
        .json();
    assert_eq!(started, json!({"Run": 1}));
    assert_eq!(job_status(&server).await["Runs"][0]["Cause"], "request");
    // The schedule allows no second run.
    let refused = server
        .post("/services/job/run", &json!({}))
        .await
        .expect(409);
    assert!(
        refused.message().contains("run 1 of job goes on"),
        "{}",
        refused.message()
    );

    let shown = server.get("/services/job").await.json();
    let mut spec = shown["Spec"].clone();
    spec.as_object_mut().unwrap().remove("Swarmr");
    let target = format!("/services/job/update?version={}", shown["Version"]["Index"]);
    server.post(&target, &spec).await.expect(200);
    let shown = server.get("/services/job").await.json();
    assert_eq!(shown["Spec"]["Swarmr"]["Schedule"], schedule);

    let web = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}}});
    server.post("/services/create", &web).await.expect(201);
    let refused = server
        .post("/services/web/run", &json!({}))
        .await
        .expect(400);
    assert!(
        refused.message().contains("is no job"),
        "{}",
        refused.message()
    );
    server
        .post("/services/nothing/run", &json!({}))
        .await
        .expect(404);
}
