//! What we answer against what real engines were recorded to answer about the same objects: the
//! same fields, of the same types, left out where they leave them out, with the same values where
//! those do not depend on the run.

use serde_json::{Value, json};
use swarmr::api::EngineAddress;
use swarmr::spec::ServiceId;
use swarmr::state::task::{DesiredState, Slot, TaskState};

use super::fake_control::FakeControl;
use super::harness::{Recorded, Server};

const RECORDED: [&str; 2] = ["api-1.41", "api-1.56"];

/// Keys whose values differ from run to run; their types do not.
const OF_THE_RUN: [&str; 22] = [
    "ID",
    "Id",
    "Index",
    "CreatedAt",
    "UpdatedAt",
    "Created",
    "Timestamp",
    "StartedAt",
    "NetworkID",
    "ServiceID",
    "NodeID",
    "Target",
    "ContainerID",
    "PID",
    "ExitCode",
    "Slot",
    "DesiredState",
    "LastExecution",
    "Worker",
    "Manager",
    "time",
    "timeNano",
];
/// Fields that some engines show and others do not, and the option that tells the truth about
/// encryption.
const MAY_BE_MORE: [&str; 4] = ["Volumes", "EnableIPv4", "Containers", "encrypted"];

/// The services of the recording, made by the requests that made them there.
async fn recorded_services(server: &Server, recorded: &Recorded) -> Vec<Value> {
    let network = json!({"Name": "ov1", "Driver": "overlay", "CheckDuplicate": true});
    server.post("/networks/create", &network).await.expect(201);
    let wanted: Vec<Value> = recorded.read("services_status").as_array().unwrap().clone();
    for service in &wanted {
        let first = service.get("PreviousSpec").unwrap_or(&service["Spec"]);
        let created = server
            .post("/services/create", &with_network_names(first))
            .await
            .expect(201)
            .json();
        if service.get("PreviousSpec").is_some() {
            let id = created["ID"].as_str().unwrap();
            let version = &server.get(&format!("/services/{id}")).await.json()["Version"]["Index"];
            server
                .post(
                    &format!("/services/{id}/update?version={version}"),
                    &with_network_names(&service["Spec"]),
                )
                .await
                .expect(200);
        }
    }
    wanted
}

/// Clients may send names where engines show ids.
fn with_network_names(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(networks) = spec.pointer_mut("/TaskTemplate/Networks") {
        *networks = json!([{"Target": "ov1"}]);
    }
    spec
}

fn service_id(server: &Server, name: &str) -> ServiceId {
    server.control.state().find_service(name).unwrap().id
}

#[tokio::test]
async fn services_look_as_an_engine_shows_them() {
    for version in RECORDED {
        let recorded = Recorded::load(version);
        let server = Server::start(FakeControl::manager(&recorded), EngineAddress::Fake);
        let wanted = recorded_services(&server, &recorded).await;
        let node = recorded.node;
        let job = service_id(&server, "job");
        for number in 0..2 {
            let slot = Slot::Completion { run: 0, number };
            let control = &server.control;
            control.run_task(job, slot, node, TaskState::Complete);
        }
        for (name, slots) in [("web", vec![1, 2]), ("hostp", vec![0])] {
            for slot in slots {
                let slot = match slot {
                    0 => Slot::Node(node),
                    number => Slot::Replica(number),
                };
                let id = service_id(&server, name);
                server.control.run_task(id, slot, node, TaskState::Running);
            }
        }
        let got = server.get("/v1.41/services?status=true").await.json();
        for mut wanted in wanted {
            let name = wanted["Spec"]["Name"].clone();
            leave_out_the_mesh(&mut wanted["Endpoint"]["VirtualIPs"], |vip| {
                vip["Addr"].as_str().unwrap().starts_with("10.0.0.")
            });
            let got = got
                .as_array()
                .unwrap()
                .iter()
                .find(|service| service["Spec"]["Name"] == name)
                .unwrap();
            let mut got = got.clone();
            // How many ran at the time of the recording is of that run.
            wanted["ServiceStatus"]["RunningTasks"] = got["ServiceStatus"]["RunningTasks"].clone();
            wanted["ServiceStatus"]["DesiredTasks"] = got["ServiceStatus"]["DesiredTasks"].clone();
            assert_same(&mut got, &mut wanted, &format!("{version} service {name}"));
        }
    }
}

#[tokio::test]
async fn defaults_are_inserted_where_an_engine_inserts_them() {
    for version in RECORDED {
        let recorded = Recorded::load(version);
        let server = Server::start(FakeControl::manager(&recorded), EngineAddress::Fake);
        recorded_services(&server, &recorded).await;
        let mut wanted = recorded.read("service_insert_defaults");
        let mut got = server
            .get("/services/web?insertDefaults=true")
            .await
            .expect(200)
            .json();
        // The two answers were recorded at different times of the same service.
        assert_same(
            &mut got["Spec"]["TaskTemplate"]["RestartPolicy"],
            &mut wanted["Spec"]["TaskTemplate"]["RestartPolicy"],
            version,
        );
        for key in ["UpdateConfig", "RollbackConfig", "Mode", "EndpointSpec"] {
            let (got, wanted) = (&mut got["Spec"][key], &mut wanted["Spec"][key]);
            assert_same(got, wanted, &format!("{version} {key}"));
        }
        let keys =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(
            keys(&got["Spec"]["TaskTemplate"]["ContainerSpec"]),
            keys(&wanted["Spec"]["TaskTemplate"]["ContainerSpec"]),
            "{version}"
        );
    }
}

#[tokio::test]
async fn tasks_look_as_an_engine_shows_them() {
    for version in RECORDED {
        let recorded = Recorded::load(version);
        let server = Server::start(FakeControl::manager(&recorded), EngineAddress::Fake);
        recorded_services(&server, &recorded).await;
        let (control, node) = (&server.control, recorded.node);
        let (web, hostp) = (service_id(&server, "web"), service_id(&server, "hostp"));
        let running = DesiredState::Running;
        control.task(web, Slot::Replica(1), node, running, TaskState::Running);
        control.task(
            web,
            Slot::Replica(2),
            node,
            DesiredState::Ready,
            TaskState::Ready,
        );
        let stopped = control.run_task(web, Slot::Replica(3), node, TaskState::Running);
        control.set_desired(stopped, DesiredState::Shutdown);
        control.report(stopped, node, TaskState::Shutdown);
        control.task(hostp, Slot::Node(node), node, running, TaskState::Running);
        let got = server.get("/tasks").await.expect(200).json();
        let image_env = |spec: &Value| spec["ContainerSpec"]["Args"].clone();
        let mut compared = 0;
        for mut wanted in recorded.read("tasks").as_array().unwrap().clone() {
            let found = got.as_array().unwrap().iter().find(|task| {
                task["Status"]["State"] == wanted["Status"]["State"]
                    && image_env(&task["Spec"]) == image_env(&wanted["Spec"])
            });
            let Some(got) = found else { continue };
            let mut got = got.clone();
            leave_out_the_mesh(&mut wanted["NetworksAttachments"], |attachment| {
                attachment["Network"]["Spec"]["Ingress"] == true
            });
            // The recorded engine lists each host port twice; and its tasks ran several specs.
            if let Some(ports) = wanted["Status"]["PortStatus"]["Ports"].as_array_mut() {
                ports.dedup();
            }
            wanted["Spec"]["ContainerSpec"] = got["Spec"]["ContainerSpec"].clone();
            if let Some(attachments) = wanted["NetworksAttachments"].as_array_mut() {
                // Ours says besides that it is not encrypted.
                let driver =
                    &mut got["NetworksAttachments"][0]["Network"]["Spec"]["DriverConfiguration"];
                driver.as_object_mut().unwrap().remove("Options");
                attachments[0]["Addresses"] = got["NetworksAttachments"][0]["Addresses"].clone();
            }
            drop_nulls(&mut wanted);
            drop_nulls(&mut got);
            assert_same(&mut got, &mut wanted, &format!("{version} task"));
            compared += 1;
        }
        assert!(compared >= 2, "{version}: only {compared} tasks compared");
    }
}

#[tokio::test]
async fn nodes_networks_and_configs_look_as_an_engine_shows_them() {
    for version in RECORDED {
        let recorded = Recorded::load(version);
        let server = Server::start(FakeControl::manager(&recorded), EngineAddress::Fake);
        recorded_services(&server, &recorded).await;

        let mut got = server.get("/nodes").await.expect(200).json();
        let mut wanted = recorded.read("nodes");
        wanted[0]["Description"]["Engine"]["Plugins"] =
            got[0]["Description"]["Engine"]["Plugins"].clone();
        for (key, value) in [
            ("Hostname", json!("eco1")),
            ("Engine", got[0]["Description"]["Engine"].clone()),
        ] {
            wanted[0]["Description"][key] = value;
        }
        wanted[0]["Status"]["Addr"] = json!("10.99.0.1");
        wanted[0]["ManagerStatus"]["Addr"] = json!("10.99.0.1:2377");
        assert_same(&mut got, &mut wanted, &format!("{version} nodes"));

        let got = server.get("/networks").await.expect(200).json();
        let list = recorded.read("networks");
        for name in ["ov1", "ingress"] {
            let of = |networks: &Value| {
                let networks = networks.as_array().unwrap();
                networks
                    .iter()
                    .find(|network| network["Name"] == name)
                    .unwrap()
                    .clone()
            };
            assert_same(
                &mut of(&got),
                &mut of(&list),
                &format!("{version} network {name}"),
            );
        }

        let config = recorded.read("configs")[0]["Spec"].clone();
        server.post("/configs/create", &config).await.expect(201);
        let mut got = server.get("/configs").await.expect(200).json();
        let mut wanted = recorded.read("configs");
        assert_same(&mut got, &mut wanted, &format!("{version} configs"));
    }
}

#[tokio::test]
async fn the_cluster_looks_as_an_engine_shows_it() {
    for version in RECORDED {
        let recorded = Recorded::load(version);
        let server = Server::start(FakeControl::manager(&recorded), EngineAddress::Fake);
        let pool = json!(["10.0.0.0/8"]);

        let mut got = server.get("/swarm").await.expect(200).json();
        let mut wanted = recorded.read("swarm");
        // Newer engines show the default pool, older ones null.
        wanted["DefaultAddrPool"] = pool.clone();
        assert_same(&mut got, &mut wanted, &format!("{version} swarm"));

        let mut got = server.get("/info").await.expect(200).json()["Swarm"].clone();
        let mut wanted = recorded.read("info_swarm");
        wanted["Cluster"]["DefaultAddrPool"] = pool;
        wanted["NodeAddr"] = json!("10.99.0.1");
        wanted["RemoteManagers"][0]["Addr"] = json!("10.99.0.1:2377");
        assert_same(&mut got, &mut wanted, &format!("{version} info"));

        let keys =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let got = server.get("/version").await.expect(200).json();
        assert_eq!(keys(&got), keys(&recorded.read("version")), "{version}");
    }
}

#[tokio::test]
async fn a_ping_has_the_headers_of_an_engine() {
    let server = Server::manager();
    for version in RECORDED {
        let wanted = Recorded::load(version).read("ping_headers");
        for method in ["HEAD", "GET"] {
            let got = server.ask(method, "/_ping", "").await.expect(200);
            for (name, value) in wanted.as_object().unwrap() {
                let of_the_engine = [
                    "Api-Version",
                    "Server",
                    "Date",
                    "Builder-Version",
                    "Content-Length",
                ];
                let header = got.headers.get(name).map(|value| value.to_str().unwrap());
                if !of_the_engine.contains(&name.as_str()) {
                    assert_eq!(header, value.as_str(), "{method} {name}");
                }
            }
            assert_eq!(got.headers["api-version"], "1.53");
            assert_eq!(got.headers["swarm"], "active/manager");
            assert_eq!(
                &got.body[..],
                if method == "GET" {
                    b"OK".as_slice()
                } else {
                    b""
                }
            );
        }
    }
}

/// Our services are reached through their own networks, so they have no address on the mesh's.
fn leave_out_the_mesh(list: &mut Value, is_of_the_mesh: impl Fn(&Value) -> bool) {
    if let Some(items) = list.as_array_mut() {
        items.retain(|item| !is_of_the_mesh(item));
    }
}

/// Indexing with a new key leaves a null behind.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[track_caller]
pub(crate) fn assert_same(got: &mut Value, wanted: &mut Value, what: &str) {
    if wanted["Endpoint"]["VirtualIPs"].is_null() {
        if let Some(endpoint) = wanted.get_mut("Endpoint").and_then(Value::as_object_mut) {
            endpoint.remove("VirtualIPs");
        }
        if wanted.get("Endpoint").is_some_and(Value::is_null) {
            wanted.as_object_mut().unwrap().remove("Endpoint");
        }
    }
    let mut differences = Vec::new();
    compare(got, wanted, "", "", &mut differences);
    assert!(
        differences.is_empty(),
        "{what} differs:\n{}\ngot {got:#}",
        differences.join("\n")
    );
}

fn compare(got: &Value, wanted: &Value, path: &str, key: &str, differences: &mut Vec<String>) {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                match got.get(name) {
                    Some(got) => compare(got, wanted, &format!("{path}.{name}"), name, differences),
                    None => differences.push(format!("{path}.{name} is missing")),
                }
            }
            for name in got.keys().filter(|name| !wanted.contains_key(*name)) {
                if !MAY_BE_MORE.contains(&name.as_str()) {
                    differences.push(format!("{path}.{name} is too much"));
                }
            }
        }
        (Value::Array(got), Value::Array(wanted)) => {
            if got.len() != wanted.len() {
                differences.push(format!(
                    "{path} has {} items, not {}",
                    got.len(),
                    wanted.len()
                ));
            }
            for (place, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                compare(got, wanted, &format!("{path}[{place}]"), key, differences);
            }
        }
        (got, wanted) if OF_THE_RUN.contains(&key) => {
            if std::mem::discriminant(got) != std::mem::discriminant(wanted) {
                differences.push(format!("{path} is {got}, of another type than {wanted}"));
            }
        }
        (got, wanted) => {
            if got != wanted {
                differences.push(format!("{path} is {got}, not {wanted}"));
            }
        }
    }
}
