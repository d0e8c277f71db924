//! Promotion and demotion.

use anyhow::ensure;
use serde_json::{Value, json};
use testhosts::{Local, LocalNode, eventually};

use super::look::{
    SOON, cluster, config_names, create_config, create_config_soon, id, leader, node_seen, others,
    settled, standing, text,
};
use super::refusal::{command, refused, request};

/// Waits until a daemon takes itself for a manager, or for none.
fn becomes(node: &LocalNode, manager: bool) {
    eventually("the node has its role", SOON, || {
        let swarm = standing(node)?;
        ensure!(
            swarm.get("ControlAvailable") == Some(&json!(manager)),
            "{swarm}"
        );
        Ok(())
    })
    .unwrap();
}

fn has_config(node: &LocalNode, name: &str) -> bool {
    config_names(node).unwrap().contains(name)
}

#[test]
fn a_promoted_worker_has_the_state_and_serves_it() {
    let local = cluster(1, 3).unwrap();
    create_config(&local[0].api(), "early", "x").unwrap();
    let ids = [1, 2].map(|place| id(&local[place]).unwrap());
    local[0]
        .swarmr(&["node", "promote", &ids[0], &ids[1]])
        .unwrap()
        .ok()
        .unwrap();
    becomes(&local[1], true);
    becomes(&local[2], true);
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    assert!(has_config(&local[1], "early"));
    create_config(&local[2].api(), "late", "x").unwrap();
    // Three managers: any one may go.
    local[0].kill().unwrap();
    create_config_soon(&local[1], "without").unwrap();
    assert!(has_config(&local[2], "without"));
    let said = local[1]
        .swarmr(&["node", "promote", &ids[1]])
        .unwrap()
        .ok()
        .unwrap();
    assert!(said.contains("already a manager"), "{said}");
}

#[test]
fn a_demoted_manager_is_a_worker_and_may_be_promoted_again() {
    let local = cluster(3, 3).unwrap();
    let demoted = (leader(&local).unwrap() + 1) % 3;
    let rest = others(&local, demoted);
    let node = &local[demoted];
    let node_id = id(node).unwrap();
    rest[0]
        .swarmr(&["node", "demote", &node_id])
        .unwrap()
        .ok()
        .unwrap();
    becomes(node, false);
    settled(&rest, 3).unwrap();
    command("node ls", 4, &["not a swarm manager"])
        .judge(node)
        .unwrap();
    create_config(&rest[1].api(), "meanwhile", "x").unwrap();

    rest[1]
        .swarmr(&["node", "promote", &node_id])
        .unwrap()
        .ok()
        .unwrap();
    becomes(node, true);
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    assert!(has_config(node, "meanwhile"));
}

#[test]
fn a_manager_that_was_demoted_while_it_was_away_comes_back_as_a_worker() {
    let local = cluster(3, 3).unwrap();
    let away = (leader(&local).unwrap() + 1) % 3;
    let rest = others(&local, away);
    let node_id = id(&local[away]).unwrap();
    local[away].kill().unwrap();
    rest[0]
        .swarmr(&["node", "demote", &node_id])
        .unwrap()
        .ok()
        .unwrap();
    eventually("it is no manager for the others", SOON, || {
        let seen = node_seen(rest[0], &node_id)?;
        ensure!(seen.get("ManagerStatus").is_none(), "{seen}");
        Ok(())
    })
    .unwrap();
    local[away].start().unwrap();
    becomes(&local[away], false);
    settled(&rest, 3).unwrap();
    create_config(&rest[1].api(), "undisturbed", "x").unwrap();
    eventually("a worker keeps no log", SOON, || {
        let left = std::fs::read_dir(local[away].state_dir().join("raft"))?.count();
        ensure!(left == 0, "{left} files of it");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_demoted_leader_hands_over_first() {
    let local = cluster(3, 3).unwrap();
    let led = leader(&local).unwrap();
    let rest = others(&local, led);
    let node_id = id(&local[led]).unwrap();
    local[led]
        .swarmr(&["node", "demote", "self"])
        .unwrap()
        .ok()
        .unwrap();
    becomes(&local[led], false);
    settled(&rest, 3).unwrap();
    assert_eq!(
        text(&node_seen(rest[0], &node_id).unwrap(), "/Spec/Role"),
        "worker"
    );
    create_config(&rest[0].api(), "after", "x").unwrap();
    assert!(has_config(rest[1], "after"));
}

#[test]
fn two_managers_become_one() {
    let local = cluster(2, 2).unwrap();
    let led = leader(&local).unwrap();
    let other = &local[1 - led];
    other
        .swarmr(&["node", "demote", &id(&local[led]).unwrap()])
        .unwrap()
        .ok()
        .unwrap();
    becomes(&local[led], false);
    settled(&[other], 2).unwrap();
    // The one that is left needs nobody else.
    local[led].kill().unwrap();
    create_config(&other.api(), "alone", "x").unwrap();
}

#[test]
fn a_role_that_changes_back_at_once_settles() {
    let local = cluster(3, 3).unwrap();
    let flipped = (leader(&local).unwrap() + 1) % 3;
    let by = &local[(flipped + 1) % 3];
    let node_id = id(&local[flipped]).unwrap();
    for _ in 0..3 {
        by.swarmr(&["node", "demote", &node_id])
            .unwrap()
            .ok()
            .unwrap();
        by.swarmr(&["node", "promote", &node_id])
            .unwrap()
            .ok()
            .unwrap();
    }
    becomes(&local[flipped], true);
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    // It really votes: with one of the others gone, two are left to write.
    let gone = 3 - flipped - (flipped + 1) % 3;
    local[gone].kill().unwrap();
    create_config_soon(&local[flipped], "counted").unwrap();
}

#[test]
fn the_last_manager_cannot_be_demoted() {
    let local: Local = cluster(1, 2).unwrap();
    let manager = &local[0];
    let node_id = id(manager).unwrap();
    let says = ["last manager", "promote"];
    refused(
        &manager.swarmr(&["node", "demote", &node_id]).unwrap(),
        4,
        &says,
    )
    .unwrap();
    refused(
        &manager
            .swarmr(&["node", "update", "--role", "worker", &node_id])
            .unwrap(),
        4,
        &says,
    )
    .unwrap();
    let seen = node_seen(manager, &node_id).unwrap();
    let version = seen
        .pointer("/Version/Index")
        .and_then(Value::as_u64)
        .unwrap();
    let body = json!({"Role": "worker", "Availability": "active"});
    let path = format!("/nodes/{node_id}/update?version={version}");
    request("POST", path, body, 400, &says)
        .judge(manager)
        .unwrap();
    assert_eq!(
        text(&node_seen(manager, &node_id).unwrap(), "/Spec/Role"),
        "manager"
    );
    create_config(&manager.api(), "still", "x").unwrap();
}

#[test]
fn an_update_of_a_node_that_read_an_old_version_is_refused() {
    let local = cluster(1, 2).unwrap();
    let manager = &local[0];
    let node_id = id(&local[1]).unwrap();
    let seen = node_seen(manager, &node_id).unwrap();
    let version = seen
        .pointer("/Version/Index")
        .and_then(Value::as_u64)
        .unwrap();
    manager
        .swarmr(&["node", "update", "--label-add", "zone=a", &node_id])
        .unwrap()
        .ok()
        .unwrap();
    let body = json!({"Role": "worker", "Availability": "drain"});
    let path = format!("/nodes/{node_id}/update?version={version}");
    let says = ["out of sequence", &version.to_string(), "retry"];
    request("POST", path, body, 409, &says)
        .judge(manager)
        .unwrap();
    let seen = node_seen(manager, &node_id).unwrap();
    assert_eq!(text(&seen, "/Spec/Availability"), "active");
    assert_eq!(text(&seen, "/Spec/Labels/zone"), "a");
    let says = ["no-such", "label"];
    let words = ["node", "update", "--label-rm", "no-such", &node_id];
    refused(&manager.swarmr(&words).unwrap(), 3, &says).unwrap();
}
