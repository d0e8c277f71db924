//! Three managers and a worker become one cluster.

use std::collections::BTreeSet;

use serde_json::json;

use super::look::{cluster, id, leader, node_seen, nodes, standing, text};
use super::refusal::{BadRequest, command, request};

#[test]
fn every_manager_sees_the_same_nodes_over_api_and_command_line() {
    let local = cluster(3, 4).unwrap();
    let ids: BTreeSet<String> = local.iter().map(|node| id(node).unwrap()).collect();
    assert_eq!(ids.len(), 4);
    let clusters: BTreeSet<String> = (0..3)
        .map(|place| text(&standing(&local[place]).unwrap(), "/Cluster/ID"))
        .collect();
    assert_eq!(clusters.len(), 1);
    for place in 0..3 {
        let manager = &local[place];
        let seen = nodes(manager).unwrap();
        let seen_ids: BTreeSet<String> = seen.iter().map(|node| text(node, "/ID")).collect();
        assert_eq!(seen_ids, ids);
        for (node, role) in [
            (0, "manager"),
            (1, "manager"),
            (2, "manager"),
            (3, "worker"),
        ] {
            let node_id = id(&local[node]).unwrap();
            let node = seen
                .iter()
                .find(|node| text(node, "/ID") == node_id)
                .unwrap();
            assert_eq!(text(node, "/Spec/Role"), role);
            assert_eq!(text(node, "/Spec/Availability"), "active");
            assert_eq!(node.get("ManagerStatus").is_some(), role == "manager");
        }
        let printed = manager.swarmr(&["node", "ls", "-q"]).unwrap().ok().unwrap();
        assert_eq!(
            printed.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
            ids
        );
        let table = manager.swarmr(&["node", "ls"]).unwrap().ok().unwrap();
        assert!(table.starts_with("ID "), "{table}");
        assert_eq!(table.matches("Leader").count(), 1, "{table}");
        assert_eq!(table.matches("Reachable").count(), 2, "{table}");
        let own = table
            .lines()
            .find(|line| line.contains(&id(manager).unwrap()))
            .unwrap();
        assert!(own.contains(" *"), "{table}");
        let swarm = standing(manager).unwrap();
        assert_eq!(swarm.get("ControlAvailable"), Some(&json!(true)));
        assert_eq!(swarm.get("Nodes"), Some(&json!(4)));
        assert_eq!(swarm.get("Managers"), Some(&json!(3)));
    }
}

#[test]
fn the_screen_of_status_names_the_leader_and_every_node() {
    let local = cluster(3, 4).unwrap();
    let leader = id(&local[leader(&local).unwrap()]).unwrap();
    let name = text(
        &node_seen(&local[0], &leader).unwrap(),
        "/Description/Hostname",
    );
    for place in 0..3 {
        let report = local[place].api().get("/swarmr/v1/status").unwrap();
        assert_eq!(report.get("has_quorum"), Some(&json!(true)), "{report}");
        assert_eq!(text(&report, "/leader"), name, "{report}");
        assert_eq!(
            report
                .pointer("/managers")
                .unwrap()
                .as_array()
                .unwrap()
                .len(),
            3
        );
        assert_eq!(
            report
                .pointer("/workers")
                .unwrap()
                .as_array()
                .unwrap()
                .len(),
            1
        );
        local[place].swarmr(&["status"]).unwrap().ok().unwrap();
    }
}

#[test]
fn a_worker_answers_for_itself_and_sends_everything_else_to_the_managers() {
    let local = cluster(1, 2).unwrap();
    let worker = &local[1];
    let swarm = standing(worker).unwrap();
    assert_eq!(text(&swarm, "/LocalNodeState"), "active");
    assert_eq!(swarm.get("ControlAvailable"), Some(&json!(false)));
    let managers: Vec<String> = swarm
        .get("RemoteManagers")
        .and_then(|all| all.as_array())
        .unwrap()
        .iter()
        .map(|manager| text(manager, "/NodeID"))
        .collect();
    assert_eq!(managers, [id(&local[0]).unwrap()]);

    let says = ["not a swarm manager", "on a manager node"];
    let of_the_cluster: [BadRequest; 4] = [
        request("GET", "/nodes", json!(null), 503, &says),
        request("GET", "/services", json!(null), 503, &says),
        request("GET", "/swarm", json!(null), 503, &says),
        request(
            "POST",
            "/configs/create",
            json!({"Name": "c", "Data": "YQ=="}),
            503,
            &says,
        ),
    ];
    for request in of_the_cluster {
        request.judge(worker).unwrap();
    }
    for words in ["node ls", "service ls", "config ls", "join-token worker"] {
        command(words, 4, &says).judge(worker).unwrap();
    }
}

#[test]
fn a_daemon_in_no_cluster_says_how_to_get_into_one() {
    let local = super::look::daemons(1).unwrap();
    let says = ["not a swarm manager", "init", "join"];
    for path in ["/nodes", "/services", "/swarm", "/tasks", "/configs"] {
        request("GET", path, json!(null), 503, &says)
            .judge(&local[0])
            .unwrap();
    }
    for words in ["node ls", "service ls", "join-token worker"] {
        command(words, 4, &says).judge(&local[0]).unwrap();
    }
}
