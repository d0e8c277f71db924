//! The status report is right with and without a quorum.

use swarmr::api::control::{Consensus, Standing};
use swarmr::api::status_report;
use swarmr::spec::NodeId;
use swarmr::state::node::NodeState;
use swarmr::state::task::{Slot, TaskState};

use super::fake_control::FakeControl;
use super::harness::{Recorded, Server};
use serde_json::json;
use swarmr::api::Control as _;

#[tokio::test]
async fn it_says_who_leads_who_is_missing_and_what_is_converging() {
    let server = Server::manager();
    let here = Recorded::load("api-1.41").node;
    let worker = NodeId::from_bits(77);
    server.control.add_worker(worker, "eco2");
    let spec = json!({"Name": "web", "Mode": {"Replicated": {"Replicas": 3}},
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}});
    server.post("/services/create", &spec).await.expect(201);
    let web = server.control.state().find_service("web").unwrap().id;
    server
        .control
        .run_task(web, Slot::Replica(1), here, TaskState::Running);
    server
        .control
        .run_task(web, Slot::Replica(2), worker, TaskState::Running);
    server.control.node_state(worker, NodeState::Down);

    let report = server.get("/swarmr/v1/status").await.expect(200).json();
    assert_eq!(report["has_quorum"], true);
    assert_eq!(report["leader"], "eco1");
    assert_eq!(report["managers"][0]["tasks"], 1);
    assert_eq!(report["workers"][0]["state"], "down");
    assert_eq!(report["converging"], json!(["web: 1/3 running"]));
    let problem = &report["problems"][0];
    let what = problem["what"].as_str().unwrap();
    assert!(
        what.starts_with("node eco2 (10.99.0.2:2377) is down since "),
        "{what}"
    );
    assert!(
        problem["next"]
            .as_str()
            .unwrap()
            .contains("swarmr node rm eco2")
    );
}

#[tokio::test]
async fn a_network_with_few_addresses_left_is_warned_of() {
    let server = Server::manager();
    let here = Recorded::load("api-1.41").node;
    let network = json!({"Name": "app", "Driver": "overlay",
        "IPAM": {"Config": [{"Subnet": "10.9.0.0/29"}]}});
    server.post("/networks/create", &network).await.expect(201);
    let spec = json!({"Name": "web", "Mode": {"Replicated": {"Replicas": 2}},
        "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}, "Networks": [{"Target": "app"}]}});
    server.post("/services/create", &spec).await.expect(201);
    let report = server.get("/swarmr/v1/status").await.expect(200).json();
    let before = report["warnings"].as_array().unwrap().len();
    let web = server.control.state().find_service("web").unwrap().id;
    for slot in 1..=2 {
        server
            .control
            .run_task(web, Slot::Replica(slot), here, TaskState::Running);
    }
    let report = server.get("/swarmr/v1/status").await.expect(200).json();
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), before + 1, "{warnings:?}");
    let said = warnings[before].as_str().unwrap();
    assert!(
        said.starts_with("network app has 1 of 6 addresses left in 10.9.0.0/29: "),
        "{said}"
    );
}

#[test]
fn without_a_quorum_it_names_the_silent_and_the_way_out() {
    let control = FakeControl::manager(&Recorded::load("api-1.41"));
    let here = Recorded::load("api-1.41").node;
    let (second, third) = (NodeId::from_bits(2), NodeId::from_bits(3));
    control.add_worker(second, "eco2");
    let consensus = Consensus {
        term: 4,
        leader: None,
        voters: vec![here, second, third],
        unreachable: vec![second, third],
        ..Consensus::default()
    };
    let report = status_report(
        &control.state(),
        &consensus,
        &control.standing(),
        control.now(),
    );
    assert!(!report.has_quorum);
    assert_eq!(report.leader, None);
    let whats: Vec<&str> = report
        .problems
        .iter()
        .map(|problem| problem.what.as_str())
        .collect();
    assert!(
        whats[0].starts_with("no quorum: 2 of 3 managers must answer, 1 do"),
        "{whats:?}"
    );
    assert!(
        report.problems[0].next.contains("eco2"),
        "{}",
        report.problems[0].next
    );
    assert!(report.problems[0].next.contains("--force-new-cluster"));
    assert!(
        whats[1].starts_with("manager eco2 (10.99.0.2:2377) does not answer"),
        "{whats:?}"
    );
    assert!(whats[2].contains(&third.to_string()), "{whats:?}");
}

#[test]
fn outside_a_cluster_it_says_how_to_get_in() {
    let control = FakeControl::outside();
    let report = status_report(
        &control.state(),
        &Consensus::default(),
        &Standing::Inactive,
        control.now(),
    );
    assert_eq!(report.role, "none");
    assert!(report.problems[0].next.contains("swarmr init"));
}
