//! Too few managers: everything answers, nothing lies, and it heals by itself.

use std::thread;

use anyhow::Result;
use serde_json::json;

use super::look::{
    BOUNDED, cluster, config, config_names, create_config, create_config_soon, leader, settled,
    standing, text,
};
use super::refusal::{command, judge_all, request};

/// Does the same with all of them side by side.
fn at_once<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Vec<Result<()>> {
    thread::scope(|scope| {
        let running: Vec<_> = all.iter().map(|one| scope.spawn(|| work(one))).collect();
        let results = running.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    })
}

#[test]
fn without_a_quorum_reads_and_writes_say_so_within_a_bounded_time() {
    let local = cluster(3, 4).unwrap();
    create_config(&local[0].api(), "before", "x").unwrap();
    let led = leader(&local).unwrap();
    let survivor = (led + 1) % 3;
    let gone = [led, (led + 2) % 3];
    for place in gone {
        local[place].kill().unwrap();
    }
    let node = &local[survivor];
    let says = [
        "does not have a leader",
        "too few managers are online",
        "2 of 3",
    ];
    let requests = [
        request("GET", "/nodes", json!(null), 503, &says),
        request("GET", "/services", json!(null), 503, &says),
        request("GET", "/configs", json!(null), 503, &says),
        request("GET", "/tasks", json!(null), 503, &says),
        request("GET", "/swarm", json!(null), 503, &says),
        request("POST", "/configs/create", config("lost", "x"), 503, &says),
        request("DELETE", "/configs/before", json!(null), 503, &says),
    ];
    // All at once: each is answered after the time that a leader is waited for.
    judge_all(at_once(&requests, |request| request.judge(node))).unwrap();
    let commands = [
        "node ls",
        "service ls",
        "config ls",
        "service create -d web:1",
    ]
    .map(|words| command(words, 6, &says));
    judge_all(at_once(&commands, |command| command.judge(node))).unwrap();

    // What needs no agreement goes on.
    let api = node.api().within(BOUNDED);
    assert_eq!(api.send("GET", "/_ping", "", b"").unwrap().text(), "OK");
    let swarm = standing(node).unwrap();
    assert_eq!(text(&swarm, "/LocalNodeState"), "active");
    assert_eq!(
        text(&standing(&local[3]).unwrap(), "/LocalNodeState"),
        "active"
    );
    let report = api.get("/swarmr/v1/status").unwrap();
    assert_eq!(report.get("has_quorum"), Some(&json!(false)), "{report}");
    let problems = report
        .get("problems")
        .and_then(|all| all.as_array())
        .unwrap();
    assert!(!problems.is_empty(), "{report}");
    let screen = node.swarmr(&["status"]).unwrap();
    assert!(screen.stdout.contains("quorum"), "{screen}");

    local[gone[0]].start().unwrap();
    create_config_soon(node, "after").unwrap();
    let names = config_names(node).unwrap();
    assert!(
        names.contains("before") && names.contains("after"),
        "{names:?}"
    );
    local[gone[1]].start().unwrap();
    settled(&[&local[0], &local[1], &local[2]], 4).unwrap();
}

#[test]
fn many_writers_without_a_quorum_are_all_answered() {
    let local = cluster(3, 3).unwrap();
    let led = leader(&local).unwrap();
    for place in (0..3).filter(|place| *place != led) {
        local[place].kill().unwrap();
    }
    let node = &local[led];
    thread::scope(|scope| {
        for writer in 0..16 {
            scope.spawn(move || {
                let body = config(&format!("w{writer}"), "x").to_string();
                let api = node.api().within(BOUNDED);
                let reply = api
                    .send(
                        "POST",
                        "/configs/create",
                        "application/json",
                        body.as_bytes(),
                    )
                    .unwrap();
                // The first ones may have been on their way when the others died.
                assert!(
                    [500, 503].contains(&reply.status),
                    "{} {}",
                    reply.status,
                    reply.text()
                );
            });
        }
    });
    for place in (0..3).filter(|place| *place != led) {
        local[place].start().unwrap();
    }
    create_config_soon(node, "again").unwrap();
}
