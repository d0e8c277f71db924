//! Out of a cluster, by one's own wish or by somebody else's.

use std::fs;

use anyhow::ensure;
use serde_json::json;
use testhosts::{Local, LocalNode, eventually};

use super::look::{
    SOON, cluster, config_names, create_config, daemons, id, leader, local_state, node_seen, nodes,
    others, settled, text,
};
use super::refusal::{command, refused, request};

fn is_down(by: &LocalNode, node: &str) {
    eventually("the node is down", SOON, || {
        let node = node_seen(by, node)?;
        ensure!(text(&node, "/Status/State") == "down", "{node}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_worker_that_leaves_is_down_at_once_and_may_be_removed_and_join_again() {
    let local = cluster(1, 2).unwrap();
    let (manager, worker) = (&local[0], &local[1]);
    let former = id(worker).unwrap();
    let said = worker.swarmr(&["leave"]).unwrap().ok().unwrap();
    assert!(said.contains("left"), "{said}");
    assert_eq!(local_state(worker).unwrap(), "inactive");
    // Down when the command returns, and not up again before it is down for good.
    let seen = node_seen(manager, &former).unwrap();
    assert_eq!(text(&seen, "/Status/State"), "down", "{seen}");
    manager
        .swarmr(&["node", "rm", &former])
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(nodes(manager).unwrap().len(), 1);
    let kept = fs::read_dir(worker.state_dir().join("tls"))
        .unwrap()
        .count();
    assert_eq!(kept, 0, "keys of a cluster it has left");

    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    worker.join(manager, &token).unwrap();
    assert_ne!(id(worker).unwrap(), former);
    settled(&[manager], 2).unwrap();
}

#[test]
fn who_is_in_no_cluster_cannot_leave_one() {
    let local = daemons(1).unwrap();
    command("leave", 4, &["not part of a swarm"])
        .judge(&local[0])
        .unwrap();
    request(
        "POST",
        "/swarm/leave",
        json!(null),
        503,
        &["not part of a swarm"],
    )
    .judge(&local[0])
    .unwrap();
}

#[test]
fn a_manager_leaves_by_force_only_and_the_others_go_on() {
    let local = cluster(3, 3).unwrap();
    let leaving = leader(&local).unwrap();
    let rest: Vec<usize> = (0..3).filter(|place| *place != leaving).collect();
    let node = &local[leaving];
    let former = id(node).unwrap();
    let says = ["manager", "--force", "demote"];
    refused(&node.swarmr(&["leave"]).unwrap(), 5, &says).unwrap();
    request("POST", "/swarm/leave", json!(null), 503, &says)
        .judge(node)
        .unwrap();
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();

    node.swarmr(&["leave", "--force"]).unwrap().ok().unwrap();
    assert_eq!(local_state(node).unwrap(), "inactive");
    let (first, second) = (&local[rest[0]], &local[rest[1]]);
    create_config(&second.api(), "after", "x").unwrap();
    is_down(first, &former);
    let seen = node_seen(first, &former).unwrap();
    assert_eq!(text(&seen, "/Spec/Role"), "worker", "{seen}");
    first
        .swarmr(&["node", "rm", &former])
        .unwrap()
        .ok()
        .unwrap();
    settled(&[first, second], 2).unwrap();
}

#[test]
fn the_last_manager_takes_the_cluster_with_it() {
    let local = daemons(1).unwrap();
    let node = &local[0];
    node.init().unwrap();
    create_config(&node.api(), "gone", "x").unwrap();
    refused(
        &node.swarmr(&["leave"]).unwrap(),
        5,
        &["last manager", "--force"],
    )
    .unwrap();
    node.swarmr(&["leave", "-f"]).unwrap().ok().unwrap();
    assert_eq!(local_state(node).unwrap(), "inactive");
    node.kill().unwrap();
    node.start().unwrap();
    assert_eq!(local_state(node).unwrap(), "inactive");
    node.init().unwrap();
    assert!(config_names(node).unwrap().is_empty());
}

#[test]
fn a_node_is_removed_when_it_is_down_or_by_force() {
    let local = cluster(1, 3).unwrap();
    let manager = &local[0];
    let [own, alive, dead] = [0, 1, 2].map(|place| id(&local[place]).unwrap());
    let refuse = |node: &str, words: &[&str]| {
        refused(&manager.swarmr(&["node", "rm", node]).unwrap(), 4, words).unwrap();
        request("DELETE", format!("/nodes/{node}"), json!(null), 400, words)
            .judge(manager)
            .unwrap();
    };
    refuse(&alive, &["not down", "--force"]);
    refuse(&own, &["last manager"]);
    local[2].kill().unwrap();
    is_down(manager, &dead);
    manager
        .swarmr(&["node", "rm", &dead])
        .unwrap()
        .ok()
        .unwrap();
    manager
        .swarmr(&["node", "rm", "--force", &alive])
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(nodes(manager).unwrap().len(), 1);
    command("node rm nobody", 3, &["nobody", "not found"])
        .judge(manager)
        .unwrap();

    // Neither is let back in with the certificate it still has; both may come in anew.
    local[2].start().unwrap();
    let token = manager
        .swarmr(&["join-token", "-q", "worker"])
        .unwrap()
        .ok()
        .unwrap();
    for node in [&local[1], &local[2]] {
        node.swarmr(&["leave", "--force"]).unwrap().ok().unwrap();
        assert_eq!(nodes(manager).unwrap().len(), 1);
    }
    for node in [&local[1], &local[2]] {
        node.join(manager, &token).unwrap();
    }
    settled(&[manager], 3).unwrap();
}

#[test]
fn a_removed_manager_is_no_manager_any_more() {
    let local: Local = cluster(3, 3).unwrap();
    let removed = (leader(&local).unwrap() + 1) % 3;
    let rest = others(&local, removed);
    let former = id(&local[removed]).unwrap();
    local[removed].kill().unwrap();
    is_down(rest[0], &former);
    refused(
        &rest[0].swarmr(&["node", "rm", &former]).unwrap(),
        4,
        &["manager", "demote"],
    )
    .unwrap();
    rest[0]
        .swarmr(&["node", "rm", "--force", &former])
        .unwrap()
        .ok()
        .unwrap();
    settled(&rest, 2).unwrap();

    // It comes back with its old log and its old certificate: it cannot write, nor disturb.
    local[removed].start().unwrap();
    create_config(&rest[0].api(), "before", "x").unwrap();
    let body = super::look::config("intruder", "x").to_string();
    let api = local[removed].api().within(super::look::BOUNDED);
    let reply = api
        .send(
            "POST",
            "/configs/create",
            "application/json",
            body.as_bytes(),
        )
        .unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    create_config(&rest[1].api(), "after", "x").unwrap();
    let names: Vec<String> = config_names(rest[0]).unwrap().into_iter().collect();
    assert_eq!(names, ["after", "before"]);
}
