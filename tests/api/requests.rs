//! What clients send, in all the spellings they use, and what they get.

use hyper::Request;
use serde_json::{Value, json};
use swarmr::api::EngineAddress;
use swarmr::spec::NodeId;
use swarmr::state::task::{Slot, TaskState};

use super::fake_control::FakeControl;
use super::harness::{Recorded, Server};

fn web() -> Value {
    json!({"Name": "web", "Labels": {"tier": "front"}, "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}})
}

fn encoded(filters: &str) -> String {
    filters.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            ["/Spec/Name", "/Name", "/Description/Hostname", "/ID"]
                .iter()
                .find_map(|pointer| object.pointer(pointer)?.as_str())
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

async fn version_of(server: &Server, path: &str) -> u64 {
    server.get(path).await.expect(200).json()["Version"]["Index"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn every_version_from_1_24_on_is_answered_in_ours() {
    let server = Server::manager();
    for prefix in ["", "/v1.24", "/v1.41", "/v1.53", "/v1.99"] {
        let answer = server.get(&format!("{prefix}/services")).await.expect(200);
        assert_eq!(answer.headers["api-version"], "1.53", "{prefix}");
        assert_eq!(answer.json(), json!([]));
    }
    for prefix in ["/v1.23", "/v1.12", "/v0.1"] {
        let answer = server.get(&format!("{prefix}/_ping")).await.expect(400);
        assert!(
            answer
                .message()
                .contains("Minimum supported API version is 1.24")
        );
    }
}

#[tokio::test]
async fn one_id_follows_a_request() {
    let server = Server::manager();
    let given = Request::builder()
        .uri("/services")
        .header("X-Swarmr-Request", "from-the-cli-1");
    let answer = server.ask_with(given, "").await;
    assert_eq!(answer.headers["x-swarmr-request"], "from-the-cli-1");
    let minted = server.get("/services").await.headers["x-swarmr-request"].clone();
    let other = server.get("/nothing/here").await.headers["x-swarmr-request"].clone();
    assert_eq!(minted.len(), 32);
    assert_ne!(minted, other);
}

#[tokio::test]
async fn a_service_lives_from_create_to_remove() {
    let server = Server::manager();
    let created = server
        .post("/services/create", &web())
        .await
        .expect(201)
        .json();
    let id = created["ID"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 25);
    for name in ["web", &id, &id[..6]] {
        let got = server
            .get(&format!("/services/{name}"))
            .await
            .expect(200)
            .json();
        assert_eq!(got["ID"], id.as_str());
    }
    let got = server.get("/services/web").await.json();
    assert_eq!(got["Spec"]["EndpointSpec"], json!({"Mode": "vip"}));
    assert_eq!(got["Spec"]["Mode"], json!({"Replicated": {"Replicas": 1}}));
    assert_eq!(got["Spec"]["TaskTemplate"]["Runtime"], "container");
    assert_eq!(got["Endpoint"], json!({"Spec": {}}));

    let mut spec = got["Spec"].clone();
    spec["Mode"]["Replicated"]["Replicas"] = json!(3);
    let version = version_of(&server, "/services/web").await;
    let path = format!("/services/web/update?version={version}");
    let answer = server.post(&path, &spec).await.expect(200).json();
    assert_eq!(answer, json!({"Warnings": null}));
    server.post(&path, &spec).await.expect(409);
    let got = server.get("/services/web").await.json();
    assert_eq!(got["PreviousSpec"]["Mode"]["Replicated"]["Replicas"], 1);
    // A change of scale alone is no new version for tasks.
    assert_eq!(got.get("UpdateStatus"), None);

    let version = version_of(&server, "/services/web").await;
    let path = format!("/services/{id}/update?version={version}&rollback=previous");
    server
        .ask("POST", &path, "the body is not read")
        .await
        .expect(200);
    let got = server.get("/services/web").await.json();
    assert_eq!(got["Spec"]["Mode"]["Replicated"]["Replicas"], 1);
    assert_eq!(got["UpdateStatus"]["State"], "rollback_started");

    let answer = server.ask("DELETE", "/services/web", "").await.expect(200);
    assert!(answer.body.is_empty());
    server.get("/services/web").await.expect(404);
}

#[tokio::test]
async fn what_a_client_reads_and_sends_back_is_no_change_of_tasks() {
    let server = Server::manager();
    server
        .post(
            "/networks/create",
            &json!({"Name": "app", "Driver": "overlay"}),
        )
        .await
        .expect(201);
    // An old client's spelling: networks at the top, nothing that newer ones say.
    let spec = json!({"Name": "web", "Networks": [{"Target": "app"}], "EndpointSpec": null,
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    server.post("/services/create", &spec).await.expect(201);
    let got = server.get("/services/web").await.json();
    let target = got["Spec"]["TaskTemplate"]["Networks"][0]["Target"]
        .as_str()
        .unwrap();
    assert_eq!(target.len(), 25, "names are stored as ids");
    let version = version_of(&server, "/services/web").await;
    server
        .post(
            &format!("/services/web/update?version={version}"),
            &got["Spec"],
        )
        .await
        .expect(200);
    let again = server.get("/services/web").await.json();
    assert_eq!(again.get("UpdateStatus"), None);
    assert_eq!(again["Spec"], got["Spec"]);
}

#[tokio::test]
async fn a_service_without_a_name_gets_one() {
    let server = Server::manager();
    for _ in 0..3 {
        let spec = json!({"Name": "", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
        server.post("/services/create", &spec).await.expect(201);
    }
    let list = server.get("/services").await.json();
    let names = names(&list);
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.contains('_')), "{names:?}");
}

#[tokio::test]
async fn credentials_are_warned_of_and_nonsense_is_ignored() {
    let server = Server::manager();
    // `{}`, a spec where credentials belong, text that is no base 64, and real credentials.
    for (name, auth, warnings) in [
        ("a", "e30=", 0),
        ("b", "!!", 0),
        ("c", "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==", 1),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/services/create")
            .header("X-Registry-Auth", auth);
        let spec = json!({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
        let got = server
            .ask_with(request, &spec.to_string())
            .await
            .expect(201)
            .json();
        let told = got["Warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(told, warnings, "{auth}");
    }
}

#[tokio::test]
async fn very_long_request_lines_are_read() {
    let server = Server::manager();
    server.post("/services/create", &web()).await.expect(201);
    let version = version_of(&server, "/services/web").await;
    // Some clients repeat the spec in the query.
    let path = format!(
        "/services/web/update?version={version}&junk={}",
        "x".repeat(60_000)
    );
    server.post(&path, &web()).await.expect(200);
}

#[tokio::test]
async fn lists_are_filtered_in_both_forms() {
    let server = Server::manager();
    let recorded = Recorded::load("api-1.41");
    let worker = NodeId::from_bits(77);
    server.control.add_worker(worker, "eco2");
    for (name, mode, tier) in [
        ("web", json!({"Replicated": {"Replicas": 2}}), "front"),
        ("worker", json!({"Replicated": {"Replicas": 1}}), "back"),
        ("agent", json!({"Global": {}}), "back"),
    ] {
        let spec = json!({"Name": name, "Mode": mode, "Labels": {"tier": tier},
            "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
        server.post("/services/create", &spec).await.expect(201);
    }
    for name in ["app", "app2"] {
        let network = json!({"Name": name, "Driver": "overlay", "Labels": {"team": name}});
        server.post("/networks/create", &network).await.expect(201);
        let config = json!({"Name": name, "Labels": {"team": name}, "Data": "Yw=="});
        server.post("/configs/create", &config).await.expect(201);
    }
    let id = server.get("/services/web").await.json()["ID"]
        .as_str()
        .unwrap()
        .to_owned();
    let node = recorded.node.to_string();
    for (path, filters, wanted) in [
        (
            "/services",
            r#"{"name":{"w":true}}"#.to_owned(),
            vec!["web", "worker"],
        ),
        (
            "/services",
            r#"{"name":["web","agent"]}"#.to_owned(),
            vec!["agent", "web"],
        ),
        (
            "/services",
            format!(r#"{{"id":["{}"]}}"#, &id[..5]),
            vec!["web"],
        ),
        (
            "/services",
            r#"{"label":["tier=back"],"mode":["global"]}"#.to_owned(),
            vec!["agent"],
        ),
        (
            "/services",
            r#"{"label":{"tier":true}}"#.to_owned(),
            vec!["agent", "web", "worker"],
        ),
        ("/services", r#"{"runtime":["plugin"]}"#.to_owned(), vec![]),
        ("/services", String::new(), vec!["agent", "web", "worker"]),
        ("/nodes", r#"{"role":["worker"]}"#.to_owned(), vec!["eco2"]),
        (
            "/nodes",
            r#"{"name":["eco"]}"#.to_owned(),
            vec!["eco1", "eco2"],
        ),
        (
            "/nodes",
            r#"{"label":["disk=ssd"]}"#.to_owned(),
            vec!["eco2"],
        ),
        ("/nodes", r#"{"node.label":["x"]}"#.to_owned(), vec![]),
        (
            "/nodes",
            format!(r#"{{"id":["{node}"],"membership":["accepted"]}}"#),
            vec!["eco1"],
        ),
        (
            "/networks",
            r#"{"name":["app"]}"#.to_owned(),
            vec!["app", "app2"],
        ),
        (
            "/networks",
            r#"{"name":["pp2"],"driver":["overlay"]}"#.to_owned(),
            vec!["app2"],
        ),
        (
            "/networks",
            r#"{"scope":["swarm"],"type":["custom"]}"#.to_owned(),
            vec!["app", "app2", "ingress"],
        ),
        ("/networks", r#"{"scope":["local"]}"#.to_owned(), vec![]),
        (
            "/networks",
            r#"{"label":["team=app2"]}"#.to_owned(),
            vec!["app2"],
        ),
        ("/networks", r#"{"driver":["bridge"]}"#.to_owned(), vec![]),
        (
            "/configs",
            r#"{"name":["app"]}"#.to_owned(),
            vec!["app", "app2"],
        ),
        ("/configs", r#"{"names":["app"]}"#.to_owned(), vec!["app"]),
        (
            "/configs",
            r#"{"label":["team=app2"]}"#.to_owned(),
            vec!["app2"],
        ),
        ("/secrets", r#"{"name":["x"]}"#.to_owned(), vec![]),
    ] {
        let list = server
            .get(&format!("{path}?filters={}", encoded(&filters)))
            .await
            .expect(200);
        assert_eq!(names(&list.json()), wanted, "{path} {filters}");
    }
}

#[tokio::test]
async fn tasks_are_found_by_service_node_state_and_version() {
    let server = Server::manager();
    let here = Recorded::load("api-1.41").node;
    let there = NodeId::from_bits(77);
    server.control.add_worker(there, "eco2");
    for name in ["web", "db"] {
        let spec = json!({"Name": name, "Labels": {"app": name}, "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
        server.post("/services/create", &spec).await.expect(201);
    }
    let id_of = |name: &str| server.control.state().find_service(name).unwrap().id;
    let old = server
        .control
        .run_task(id_of("web"), Slot::Replica(1), here, TaskState::Running);
    server
        .control
        .run_task(id_of("web"), Slot::Replica(2), there, TaskState::Running);
    server
        .control
        .run_task(id_of("db"), Slot::Replica(1), there, TaskState::Running);
    let mut spec = server.get("/services/web").await.json()["Spec"].clone();
    spec["TaskTemplate"]["ForceUpdate"] = json!(1);
    let version = version_of(&server, "/services/web").await;
    server
        .post(&format!("/services/web/update?version={version}"), &spec)
        .await
        .expect(200);
    server
        .control
        .set_desired(old, swarmr::state::task::DesiredState::Shutdown);
    let new = server
        .control
        .run_task(id_of("web"), Slot::Replica(1), here, TaskState::Running);

    let web = id_of("web").to_string();
    for (filters, wanted) in [
        (r#"{"service":["web"]}"#.to_owned(), 3),
        (
            format!(r#"{{"service":{{"{web}":true}},"_up-to-date":{{"true":true}}}}"#),
            1,
        ),
        (
            r#"{"service":["web"],"desired-state":["running"]}"#.to_owned(),
            2,
        ),
        (r#"{"desired-state":["shutdown","running"]}"#.to_owned(), 4),
        (r#"{"node":["eco2"]}"#.to_owned(), 2),
        (r#"{"node":["eco2"],"service":["db"]}"#.to_owned(), 1),
        (r#"{"label":["app=db"]}"#.to_owned(), 1),
        (r#"{"name":["web.1"]}"#.to_owned(), 2),
        (format!(r#"{{"id":["{new}"]}}"#), 1),
        (r#"{"runtime":["container"]}"#.to_owned(), 4),
        (String::new(), 4),
    ] {
        let list = server
            .get(&format!("/tasks?filters={}", encoded(&filters)))
            .await
            .expect(200)
            .json();
        assert_eq!(list.as_array().unwrap().len(), wanted, "{filters}");
    }
    let task = server
        .get(&format!("/tasks/{new}"))
        .await
        .expect(200)
        .json();
    assert_eq!(task["Spec"]["ForceUpdate"], 1);
    assert_eq!(task["Slot"], 1);
    let list = server.get("/services?status=1").await.json();
    let web = list
        .as_array()
        .unwrap()
        .iter()
        .find(|service| service["Spec"]["Name"] == "web")
        .unwrap();
    assert_eq!(
        web["ServiceStatus"],
        json!({"RunningTasks": 2, "DesiredTasks": 2, "CompletedTasks": 0})
    );
}

#[tokio::test]
async fn nodes_are_updated_and_removed() {
    let server = Server::manager();
    let worker = NodeId::from_bits(77);
    server.control.add_worker(worker, "eco2");
    let version = version_of(&server, "/nodes/eco2").await;
    let spec = json!({"Name": "second", "Labels": {"zone": "b"}, "Role": "worker", "Availability": "drain"});
    server
        .post(&format!("/nodes/eco2/update?version={version}"), &spec)
        .await
        .expect(200);
    let got = server.get("/nodes/second").await.expect(200).json();
    assert_eq!(got["Spec"], spec);
    assert_eq!(got["Swarmr"], json!({"Drain": {"Tasks": []}}));
    let version = version_of(&server, "/nodes/second").await;
    let path = format!("/nodes/second/update?version={version}&drainTimeout");
    for wrong in ["soon", "-5m"] {
        let answer = server.post(&format!("{path}={wrong}"), &spec).await;
        assert!(answer.expect(400).message().contains("drainTimeout"));
    }
    server.post(&format!("{path}=5m"), &spec).await.expect(200);
    let got = server.get("/nodes/second").await.expect(200).json();
    assert!(got["Swarmr"]["Drain"]["Deadline"].is_string(), "{got}");
    let answer = server.ask("DELETE", "/nodes/second", "").await.expect(400);
    assert!(answer.message().contains("is not down"));
    server
        .ask("DELETE", "/nodes/second?force=True", "")
        .await
        .expect(200);
    server.get("/nodes/second").await.expect(404);
}

#[tokio::test]
async fn only_replicated_services_are_rebalanced() {
    let server = Server::manager();
    for (name, mode) in [("web", "Replicated"), ("every", "Global")] {
        let spec = json!({"Name": name, "Mode": {mode: {}}, "TaskTemplate": {"ContainerSpec": {"Image": "web"}}});
        server.post("/services/create", &spec).await.expect(201);
    }
    let ask = async |name: &str| {
        let path = format!("/services/{name}/rebalance");
        server.ask("POST", &path, "").await
    };
    ask("web").await.expect(200);
    assert!(
        server
            .control
            .state()
            .find_service("web")
            .unwrap()
            .rebalance
    );
    let refused = ask("every").await.expect(400);
    assert!(refused.message().contains("not replicated"));
    ask("nothing").await.expect(404);
}

#[tokio::test]
async fn networks_of_the_cluster_come_and_go() {
    let server = Server::manager();
    // Unlike an engine's, its traffic is encrypted unless somebody says that it need not be.
    let created = server
        .post(
            "/networks/create",
            &json!({"Name": "app", "Scope": "swarm", "Attachable": true}),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(created["Warning"], "");
    let got = server.get("/networks/app").await.expect(200).json();
    assert_eq!(got["Options"]["encrypted"], "true");
    let body = json!({"Name": "plain", "Driver": "overlay", "Options": {"encrypted": "false"},
        "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.77.0.0/24"}]}});
    let created = server
        .post("/networks/create", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(created["Warning"], "");
    let got = server.get("/networks/plain").await.expect(200).json();
    assert_eq!(got["IPAM"]["Config"][0]["Subnet"], "10.77.0.0/24");
    assert_eq!(got["Options"]["encrypted"], "false");

    let spec = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}, "Networks": [{"Target": "app"}]}});
    server.post("/services/create", &spec).await.expect(201);
    let node = Recorded::load("api-1.41").node;
    let web = server.control.state().find_service("web").unwrap().id;
    let task = server
        .control
        .run_task(web, Slot::Replica(1), node, TaskState::Running);
    let got = server
        .get("/networks/app?verbose=true")
        .await
        .expect(200)
        .json();
    assert_eq!(got["Attachable"], true);
    assert_eq!(got["Peers"][0]["IP"], "10.99.0.1");
    assert_eq!(
        got["Services"]["web"]["Tasks"][0]["Name"],
        format!("web.1.{task}")
    );
    let containers = got["Containers"].as_object().unwrap();
    assert_eq!(
        containers.values().next().unwrap()["Name"],
        format!("web.1.{task}")
    );

    let answer = server.ask("DELETE", "/networks/app", "").await.expect(403);
    assert!(answer.message().contains("in use by service web"));
    let list = server
        .get(&format!(
            "/networks?filters={}",
            encoded(r#"{"dangling":["true"]}"#)
        ))
        .await
        .json();
    assert!(!names(&list).contains(&"app".to_owned()));
    let pruned = server
        .ask("POST", "/networks/prune", "")
        .await
        .expect(200)
        .json();
    assert_eq!(pruned, json!({"NetworksDeleted": ["plain"]}));
    server.ask("DELETE", "/services/web", "").await.expect(200);
    server.control.report(task, node, TaskState::Shutdown);
    server.control.apply(swarmr::state::Op::Plan(vec![
        swarmr::state::Change::DeleteTask { task },
    ]));
    server.ask("DELETE", "/networks/app", "").await.expect(204);
}

#[tokio::test]
async fn a_network_is_removed_once_the_last_container_has_stopped() {
    let server = Server::manager();
    let node = Recorded::load("api-1.41").node;
    let network = json!({"Name": "app", "Driver": "overlay"});
    server.post("/networks/create", &network).await.expect(201);
    let spec = json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"},
        "Networks": [{"Target": "app"}]}});
    server.post("/services/create", &spec).await.expect(201);
    let web = server.control.state().find_service("web").unwrap().id;
    let task = server
        .control
        .run_task(web, Slot::Replica(1), node, TaskState::Running);
    server.ask("DELETE", "/services/web", "").await.expect(200);
    let asked = server.control.state().index();
    let stopping = async {
        // The refusal that the removal waits after is an entry of its own.
        let control = &server.control;
        super::harness::eventually(|| (control.state().index() > asked).then_some(())).await;
        control.report(task, node, TaskState::Shutdown);
        control.apply(swarmr::state::Op::Plan(vec![
            swarmr::state::Change::DeleteTask { task },
        ]));
    };
    let (removed, ()) = tokio::join!(server.ask("DELETE", "/networks/app", ""), stopping);
    removed.expect(204);
    server.get("/networks/app").await.expect(404);
}

#[tokio::test]
async fn configs_change_their_labels_only() {
    let server = Server::manager();
    let body = json!({"Name": "c", "Labels": null, "Data": "YWJj"});
    let id = server
        .post("/configs/create", &body)
        .await
        .expect(201)
        .json()["ID"]
        .clone();
    let got = server.get("/configs/c").await.expect(200).json();
    assert_eq!(got["Spec"]["Data"], "YWJj");
    assert_eq!(got["Spec"]["Labels"], json!({}));
    let version = version_of(&server, "/configs/c").await;
    let changed = json!({"Name": "c", "Data": "eHl6"});
    let answer = server
        .post(&format!("/configs/c/update?version={version}"), &changed)
        .await
        .expect(400);
    assert!(
        answer
            .message()
            .contains("only updates to Labels are allowed")
    );
    let labels = json!({"Name": "c", "Labels": {"a": "b"}});
    server
        .post(&format!("/configs/c/update?version={version}"), &labels)
        .await
        .expect(200);
    let got = server
        .get(&format!("/configs/{}", id.as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        got["Spec"],
        json!({"Name": "c", "Labels": {"a": "b"}, "Data": "YWJj"})
    );
    server.ask("DELETE", "/configs/c", "").await.expect(204);
    assert_eq!(server.get("/configs").await.json(), json!([]));
}

#[tokio::test]
async fn a_cluster_begins_rotates_its_tokens_and_ends() {
    let server = Server::start(FakeControl::outside(), EngineAddress::Fake);
    let init = json!({"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "", "Availability": "",
        "ForceNewCluster": false, "Spec": {"Labels": null, "Orchestration": {}, "Raft": {}, "CAConfig": {}}});
    let node = server.post("/swarm/init", &init).await.expect(200).json();
    assert_eq!(node.as_str().unwrap().len(), 25);
    let swarm = server.get("/swarm").await.expect(200).json();
    assert_eq!(swarm["Spec"]["Name"], "default");
    let version = swarm["Version"]["Index"].as_u64().unwrap();
    let before = swarm["JoinTokens"].clone();
    server
        .post(
            &format!("/swarm/update?version={version}&rotateWorkerToken=true"),
            &swarm["Spec"],
        )
        .await
        .expect(200);
    let after = server.get("/swarm").await.json()["JoinTokens"].clone();
    assert_ne!(after["Worker"], before["Worker"]);
    assert_eq!(after["Manager"], before["Manager"]);
    assert_eq!(
        server.get("/swarm/unlockkey").await.json(),
        json!({"UnlockKey": ""})
    );
    server
        .ask("POST", "/swarm/leave?force=1", "")
        .await
        .expect(200);
    server.get("/swarm").await.expect(503);
}

#[tokio::test]
async fn a_server_stops_even_while_clients_listen() {
    let server = Server::manager();
    let request = Request::builder()
        .uri("/events")
        .header("host", "docker")
        .body(http_body_util::Full::default())
        .unwrap();
    let listening = super::harness::send(&server.socket, request).await;
    assert_eq!(listening.status().as_u16(), 200);
    server.stop().await;
    drop(listening);
}
