//! Whole commands.

use std::io::BufRead as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::canned::{Canned, run_with};

const NODE: &str = "d84zq49y3q1bkq6fne00uydd8";
const SERVICE: &str = "c9p59oes2f3wjhdmms15ynh99";
const INFO: &str = r#"{"Swarm":{"NodeID":"d84zq49y3q1bkq6fne00uydd8","NodeAddr":"10.0.0.1",
    "LocalNodeState":"active","ControlAvailable":true}}"#;

fn node() -> Value {
    json!({
        "ID": NODE, "Version": {"Index": 9},
        "CreatedAt": "2026-11-23T02:29:23Z", "UpdatedAt": "2026-11-23T02:29:23Z",
        "Spec": {"Labels": {}, "Role": "manager", "Availability": "active"},
        "Description": {"Hostname": "h1", "Engine": {"EngineVersion": "20.10.24"}},
        "Status": {"State": "ready", "Addr": "10.0.0.1"},
        "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}
    })
}

fn service(update: &Value) -> Value {
    let mut service = json!({
        "ID": SERVICE, "Version": {"Index": 33},
        "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
        "Spec": {
            "Name": "web", "Labels": {},
            "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Future": [1]}, "ForceUpdate": 0},
            "Mode": {"Replicated": {"Replicas": 1}},
            "UpdateConfig": {"Parallelism": 1, "Monitor": 1}
        },
        "Endpoint": {"Spec": {}}
    });
    if !update.is_null() {
        service["UpdateStatus"] = update.clone();
    }
    service
}

fn task(state: &str, err: &str) -> Value {
    json!([{
        "ID": "e".repeat(25), "Version": {"Index": 40},
        "CreatedAt": "2026-11-23T02:29:50Z", "UpdatedAt": "2026-11-23T02:29:50Z",
        "Spec": {"ContainerSpec": {"Image": "web:1"}}, "ServiceID": SERVICE, "Slot": 1,
        "NodeID": NODE, "DesiredState": "running",
        "Status": {"Timestamp": "2026-11-23T02:29:50Z", "State": state, "Err": err}
    }])
}

#[test]
fn nodes_are_listed_with_this_one_marked() {
    let nodes = json!([node()]).to_string();
    let daemon = Canned::start(&[
        ("GET /nodes", &[(200, &nodes)]),
        ("GET /info", &[(200, INFO)]),
    ]);
    let ran = daemon.run(&["node", "ls"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains(&format!("{NODE} *   h1")),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, "");
    let quiet = daemon.run(&["node", "ls", "-q", "--filter", "role=manager"]);
    assert_eq!(quiet.stdout, format!("{NODE}\n"));
    let asked = daemon.asked();
    assert_eq!(
        asked.last().unwrap().line,
        "GET /nodes?filters=%7B%22role%22%3A%7B%22manager%22%3Atrue%7D%7D"
    );
    assert_eq!(asked[0].request_id.len(), 16);
    assert_eq!(asked[0].request_id, asked[1].request_id);
    assert_ne!(asked[0].request_id, asked[2].request_id);
}

#[test]
fn an_inspected_object_is_printed_as_it_was_sent() {
    let body = r#"{"ID":"x","Zebra":1,"Apple":{"b":[],"a":{}}}"#;
    let daemon = Canned::start(&[("GET /services/x", &[(200, body)])]);
    let ran = daemon.run(&["service", "inspect", "x"]);
    assert_eq!(
        ran.stdout,
        "[\n    {\n        \"ID\": \"x\",\n        \"Zebra\": 1,\n        \"Apple\": {\n            \
         \"b\": [],\n            \"a\": {}\n        }\n    }\n]\n"
    );
    let ran = daemon.run(&[
        "service",
        "inspect",
        "-f",
        "{{.Zebra}} {{json .Apple}}",
        "x",
    ]);
    assert_eq!(ran.stdout, "1 {\"b\":[],\"a\":{}}\n");
}

#[test]
fn a_command_goes_on_after_a_failure_and_tells_them_all() {
    let body = r#"{"ID":"x"}"#;
    let daemon = Canned::start(&[
        ("GET /configs/here", &[(200, body)]),
        (
            "GET /configs/gone",
            &[(404, r#"{"message":"config gone not found"}"#)],
        ),
        (
            "GET /configs/lost",
            &[(404, r#"{"message":"config lost not found"}"#)],
        ),
    ]);
    let ran = daemon.run(&["config", "inspect", "-f", "{{.ID}}", "gone", "here", "lost"]);
    assert_eq!(ran.code, 3);
    assert_eq!(ran.stdout, "x\n");
    assert_eq!(
        ran.stderr,
        "swarmr: config gone not found\nswarmr: config lost not found\n"
    );
}

#[test]
fn exit_codes_follow_what_went_wrong() {
    let refusals: [(u16, &str, i32); 8] = [
        (400, r#"{"message":"name: got \"\": wrong"}"#, 1),
        (404, r#"{"message":"service x not found"}"#, 3),
        (409, r#"{"message":"in use"}"#, 4),
        (403, r#"{"message":"no"}"#, 5),
        (503, r#"{"message":"no quorum","code":"no-quorum"}"#, 6),
        (
            503,
            r#"{"message":"not a manager","code":"not-manager"}"#,
            4,
        ),
        (500, r#"{"message":"maybe","code":"outcome-unknown"}"#, 7),
        (501, r#"{"message":"not built","code":"not-built"}"#, 1),
    ];
    for (status, body, code) in refusals {
        let daemon = Canned::start(&[("DELETE /services/x", &[(status, body)])]);
        let ran = daemon.run(&["service", "rm", "x"]);
        assert_eq!(ran.code, code, "{status} {body}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("swarmr: "), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    let nowhere = std::path::Path::new("/nonexistent/docker.sock");
    let ran = run_with(nowhere, &["service", "ls"]);
    assert_eq!(ran.code, 6);
    assert!(
        ran.stderr.contains("the daemon is not running"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("swarmr daemon"), "{}", ran.stderr);
    assert_eq!(run_with(nowhere, &["service", "scale", "web=-1"]).code, 2);
    assert_eq!(run_with(nowhere, &["no-such-command"]).code, 2);
    assert_eq!(run_with(nowhere, &["--help"]).code, 0);
}

#[test]
fn a_service_is_created_and_waited_for() {
    let created = json!({"ID": SERVICE}).to_string();
    let shown = service(&Value::Null).to_string();
    let preparing = task("preparing", "").to_string();
    let running = task("running", "").to_string();
    let nodes = json!([node()]).to_string();
    let daemon = Canned::start(&[
        ("POST /services/create", &[(201, &created)]),
        ("GET /services/", &[(200, &shown)]),
        ("GET /tasks", &[(200, &preparing), (200, &running)]),
        ("GET /nodes", &[(200, &nodes)]),
    ]);
    let ran = daemon.run(&[
        "service",
        "create",
        "--name",
        "web",
        "-p",
        "8080:80",
        "--depends-on",
        "db:healthy,update",
        "--depends-on",
        "migrate:completed",
        "--rebalance",
        "auto",
        "--sticky",
        "--prefer-local",
        "--weight-label",
        "size",
        "--init-container",
        "wait=tools:1,until,db",
        "web:1",
        "serve",
        "--port",
        "80",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("{SERVICE}\n"));
    assert!(
        ran.stderr.contains("overall progress: 0 out of 1 tasks\n")
            && ran.stderr.contains("overall progress: 1 out of 1 tasks\n")
            && ran.stderr.contains("verify: Service web converged\n"),
        "{}",
        ran.stderr
    );
    let sent: Value = serde_json::from_str(&daemon.asked()[0].body).unwrap();
    assert_eq!(sent["Name"], "web");
    assert_eq!(
        sent["TaskTemplate"]["ContainerSpec"]["Args"],
        json!(["serve", "--port", "80"])
    );
    assert_eq!(sent["EndpointSpec"]["Ports"][0]["PublishedPort"], 8080);
    assert_eq!(
        sent["Swarmr"]["DependsOn"],
        json!([
            {"Service": "db", "Condition": "healthy", "OnUpdate": true},
            {"Service": "migrate", "Condition": "completed"}
        ])
    );
    assert_eq!(sent["Swarmr"]["Rebalance"], "auto");
    assert_eq!(
        sent["Swarmr"]["Connections"],
        json!({"Sticky": true, "PreferLocal": true, "WeightLabel": "size"})
    );
    assert_eq!(
        sent["Swarmr"]["InitContainers"],
        json!([{"Name": "wait", "Image": "tools:1", "Args": ["until", "db"]}])
    );
}

#[test]
fn an_update_is_written_with_what_the_spec_held_and_this_program_does_not_know() {
    let shown = service(&Value::Null).to_string();
    let daemon = Canned::start(&[
        ("GET /services/web", &[(200, &shown)]),
        ("POST /services/", &[(200, "{}")]),
    ]);
    let ran = daemon.run(&["service", "update", "-d", "--image", "web:2", "web"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "web\n");
    let asked = daemon.asked();
    let write = asked.last().unwrap();
    assert_eq!(
        write.line,
        format!("POST /services/{SERVICE}/update?version=33")
    );
    let sent: Value = serde_json::from_str(&write.body).unwrap();
    let container = &sent["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Image"], "web:2");
    assert_eq!(container["Future"], json!([1]));
}

#[test]
fn a_change_that_came_second_is_made_anew() {
    let shown = service(&Value::Null).to_string();
    let stale = r#"{"message":"update out of sequence","code":"stale"}"#;
    let daemon = Canned::start(&[
        ("GET /services/web", &[(200, &shown)]),
        ("POST /services/", &[(409, stale), (200, "{}")]),
    ]);
    let ran = daemon.run(&["service", "scale", "-d", "web=4"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "web scaled to 4\n");
    assert_eq!(daemon.asked().len(), 4);
}

#[test]
fn an_update_that_rolled_back_is_told_by_its_exit_code() {
    let before = service(&json!({"State": "rollback_completed",
        "StartedAt": "2026-11-23T02:00:00Z", "Message": "an older one"}));
    let back = service(&json!({"State": "rollback_completed",
        "StartedAt": "2026-11-23T02:31:00Z", "Message": "rollback completed"}));
    let updating = service(&json!({"State": "updating",
        "StartedAt": "2026-11-23T02:30:00Z", "Message": "update in progress"}));
    let running = task("running", "").to_string();
    let nodes = json!([node()]).to_string();
    let daemon = Canned::start(&[
        (
            "GET /services/",
            &[
                (200, &before.to_string()),
                (200, &updating.to_string()),
                (200, &back.to_string()),
            ],
        ),
        ("POST /services/", &[(200, "{}")]),
        ("GET /tasks", &[(200, &running)]),
        ("GET /nodes", &[(200, &nodes)]),
    ]);
    let ran = daemon.run(&["service", "update", "--image", "bad", "web"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("service rolled back: rollback completed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_paused_update_is_told_by_its_exit_code() {
    let paused = service(
        &json!({"State": "paused", "StartedAt": "2026-11-23T02:31:00Z",
        "Message": "update paused due to failure"}),
    );
    let failed = task("failed", "task: non-zero exit (1)").to_string();
    let daemon = Canned::start(&[
        (
            "GET /services/",
            &[
                (200, &service(&Value::Null).to_string()),
                (200, &paused.to_string()),
            ],
        ),
        ("POST /services/", &[(200, "{}")]),
        ("GET /tasks", &[(200, &failed)]),
        ("GET /nodes", &[(200, "[]")]),
    ]);
    let ran = daemon.run(&["service", "update", "--image", "bad", "web"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("update paused due to failure"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("swarmr service rollback"),
        "{}",
        ran.stderr
    );
}

fn unplaced() -> Canned {
    let shown = service(&Value::Null).to_string();
    let pending = task(
        "pending",
        "no suitable node (insufficient resources on 3 nodes)",
    )
    .to_string();
    let nodes = json!([node()]).to_string();
    Canned::start(&[
        ("GET /services/", &[(200, &shown)]),
        ("POST /services/", &[(200, "{}")]),
        ("GET /tasks", &[(200, &pending)]),
        ("GET /nodes", &[(200, &nodes)]),
    ])
}

#[test]
fn a_wait_for_tasks_that_fit_nowhere_ends_when_it_is_told_to() {
    let ran = unplaced().run(&["service", "scale", "--wait-timeout", "300ms", "web=4"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("insufficient resources on 3 nodes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_interrupted_wait_leaves_the_operation_going() {
    let daemon = unplaced();
    let mut child = Command::new(env!("CARGO_BIN_EXE_swarmr"))
        .env("SWARMR_SOCKET", daemon.socket())
        .args(["service", "scale", "web=4"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    // It waits once it shows progress.
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("overall progress"), "{first}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(
        rest.join("\n").contains("goes on in the background"),
        "{rest:?}"
    );
}

#[test]
fn join_tokens_are_shown_and_replaced_in_both_wordings() {
    let swarm = json!({
        "ID": "0r61qt5yov4jm06jyqxgzw3bz", "Version": {"Index": 10},
        "CreatedAt": "2026-11-23T02:29:23Z", "UpdatedAt": "2026-11-23T02:29:23Z",
        "Spec": {"Name": "default", "Labels": {}},
        "TLSInfo": {"TrustRoot": "PEM"}, "RootRotationInProgress": false,
        "DefaultAddrPool": null, "SubnetSize": 24, "DataPathPort": 4789,
        "JoinTokens": {"Worker": "SWMTKN-1-w", "Manager": "SWMTKN-1-m"}
    })
    .to_string();
    let shown = node().to_string();
    let daemon = Canned::start(&[
        ("GET /swarm", &[(200, &swarm)]),
        ("POST /swarm/update", &[(200, "")]),
        ("GET /info", &[(200, INFO)]),
        ("GET /nodes/", &[(200, &shown)]),
    ]);
    let quiet = daemon.run(&["join-token", "-q", "worker"]);
    assert_eq!(quiet.stdout, "SWMTKN-1-w\n");
    let told = daemon.run(&["swarm", "join-token", "--rotate", "manager"]);
    assert!(
        told.stdout
            .contains("    swarmr join --token SWMTKN-1-m 10.0.0.1:2377\n"),
        "{}",
        told.stdout
    );
    assert!(
        daemon
            .asked()
            .iter()
            .any(|asked| asked.line == "POST /swarm/update?version=10&rotateManagerToken=true")
    );
    assert_eq!(daemon.run(&["swarm", "ca"]).stdout, "PEM\n");
    assert_eq!(daemon.run(&["swarm", "update"]).code, 2);
}

#[test]
fn replicated_services_are_rebalanced() {
    let mut every = service(&Value::Null);
    every["Spec"]["Name"] = "every".into();
    every["Spec"]["Mode"] = json!({"Global": {}});
    let all = json!([service(&Value::Null), every]).to_string();
    let daemon = Canned::start(&[
        ("GET /services", &[(200, &all)]),
        ("POST /services/", &[(200, "")]),
    ]);
    let ran = daemon.run(&["service", "rebalance", "--all"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "web\n"),
        "{}",
        ran.stderr
    );
    let asked = daemon.asked();
    assert_eq!(asked.last().unwrap().line, "POST /services/web/rebalance");
    assert_eq!(daemon.run(&["service", "rebalance"]).code, 2);
}

#[test]
fn a_drain_says_what_is_left_and_why() {
    let mut draining = node();
    draining["Spec"]["Availability"] = "drain".into();
    let mut done = draining.clone();
    draining["Swarmr"] = json!({"Drain": {"Tasks": [
        {"ID": "x", "Name": "db.1", "Reason": "cannot leave its node: no room", "Blocked": true},
        {"ID": "y", "Name": "web.3", "Reason": "waits for its turn to leave its node"}
    ]}});
    done["Swarmr"] = json!({"Drain": {"Tasks": []}});
    let (active, draining, done) = (node().to_string(), draining.to_string(), done.to_string());
    let daemon = Canned::start(&[
        ("POST /nodes/", &[(200, "")]),
        (
            "GET /nodes/",
            &[(200, &active), (200, &draining), (200, &done)],
        ),
    ]);
    let ran = daemon.run(&["node", "drain", "--wait", "--timeout", "5m", NODE]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("{NODE}\n"));
    for said in [
        "2 left, 1 blocked",
        "db.1: cannot leave its node: no room",
        "web.3: waits for its turn",
        ": drained",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    let asked = daemon.asked();
    let update = asked.iter().find(|it| it.line.starts_with("POST")).unwrap();
    assert!(
        update.line.ends_with("&drainTimeout=300000000000ns"),
        "{}",
        update.line
    );
    assert!(update.body.contains("\"drain\""), "{}", update.body);
    // Nothing is stopped at once by mistake.
    let ran = daemon.run(&["node", "update", "--force", "--availability", "pause", NODE]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn init_and_join_use_the_daemon_that_runs() {
    let node_id = format!("\"{NODE}\"");
    let daemon = Canned::start(&[
        ("GET /_ping", &[(200, "OK")]),
        ("POST /swarm/init", &[(200, &node_id)]),
        ("POST /swarm/join", &[(200, "")]),
        ("GET /info", &[(200, INFO)]),
    ]);
    let ran = daemon.run(&["init", "-q", "--advertise-addr", "10.0.0.1"]);
    assert_eq!(ran.stdout, format!("{NODE}\n"), "{}", ran.stderr);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "SWMTKN-1-abc\n").unwrap();
    let file = token.path().to_str().unwrap();
    let ran = daemon.run(&["join", "--token-file", file, "10.0.0.1"]);
    assert_eq!(
        ran.stdout, "This node joined a swarm as a manager.\n",
        "{}",
        ran.stderr
    );
    let join = daemon
        .asked()
        .into_iter()
        .find(|asked| asked.line == "POST /swarm/join")
        .unwrap();
    let sent: Value = serde_json::from_str(&join.body).unwrap();
    assert_eq!(sent["JoinToken"], "SWMTKN-1-abc");
    assert_eq!(sent["RemoteAddrs"], json!(["10.0.0.1:2377"]));
}

#[test]
fn completions_are_printed_without_a_daemon() {
    let nowhere = std::path::Path::new("/nonexistent/docker.sock");
    for shell in ["bash", "zsh", "fish"] {
        let ran = run_with(nowhere, &["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("swarmr"), "{shell}");
    }
}
