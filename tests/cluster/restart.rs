//! Every daemon is killed and started again: nothing is lost, nothing doubled.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testhosts::{Local, LocalNode};

use super::look::{
    cluster, config_names, containers, converged, create_config, ever_created, id, run, settled,
    standing, text,
};

/// What must be the same afterwards: ids, specs, tasks with their containers.
fn identity(node: &LocalNode, services: &[(&str, usize)]) -> Value {
    let mut tasks: BTreeMap<String, String> = BTreeMap::new();
    for (service, count) in services {
        for task in converged(node, service, *count).unwrap() {
            tasks.insert(
                text(&task, "/ID"),
                text(&task, "/Status/ContainerStatus/ContainerID"),
            );
        }
    }
    let api = node.api();
    let services: Vec<Value> = super::look::list(&api, "/services")
        .unwrap()
        .iter()
        .map(|service| {
            json!([
                service["ID"],
                service["Spec"],
                service["CreatedAt"],
                service["Endpoint"]
            ])
        })
        .collect();
    let swarm = api.get("/swarm").unwrap();
    json!({
        "cluster": swarm["ID"],
        "tokens": swarm["JoinTokens"],
        "root": swarm["TLSInfo"],
        "services": services,
        "networks": api.get("/networks").unwrap(),
        "tasks": tasks,
    })
}

fn kill_and_start_all(local: &Local) {
    for node in local.iter() {
        node.kill().unwrap();
    }
    std::thread::scope(|scope| {
        for node in local.iter() {
            scope.spawn(|| node.start().unwrap());
        }
    });
}

#[test]
fn a_cluster_whose_daemons_all_die_comes_back_as_it_was() {
    let local = cluster(3, 4).unwrap();
    let managers = [&local[0], &local[1], &local[2]];
    run(
        &local[0],
        "network create -d overlay --opt encrypted=false app",
    );
    run(
        &local[0],
        "service create -d --name web --replicas 6 --network app --publish 18080:80 web:1",
    );
    run(
        &local[0],
        "service create -d --name every --mode global every:1",
    );
    create_config(&local[1].api(), "kept", "data").unwrap();
    let services = [("web", 6), ("every", 4)];
    let before = identity(&local[0], &services);
    let ids: Vec<String> = local.iter().map(|node| id(node).unwrap()).collect();
    let held = || -> Vec<_> {
        local
            .iter()
            .map(|node| (containers(node).unwrap(), ever_created(node).unwrap()))
            .collect()
    };
    let engines = held();
    for _ in 0..2 {
        kill_and_start_all(&local);
        settled(&managers, 4).unwrap();
        assert_eq!(
            local
                .iter()
                .map(|node| id(node).unwrap())
                .collect::<Vec<_>>(),
            ids
        );
        for manager in managers {
            assert_eq!(identity(manager, &services), before);
            assert!(config_names(manager).unwrap().contains("kept"));
        }
        assert_eq!(held(), engines, "containers were made or lost");
    }
    // It plans and runs, and what ran goes on: a change has gone all the way through.
    run(&local[2], "service scale -d web=8");
    let eight = converged(&local[0], "web", 8).unwrap();
    let former = before["tasks"].as_object().unwrap();
    let kept = eight
        .iter()
        .filter(|task| former.contains_key(&text(task, "/ID")))
        .count();
    assert_eq!(kept, 6);
    let made: u64 = local.iter().map(|node| ever_created(node).unwrap()).sum();
    assert_eq!(made, 12, "6 and 4 before, 2 now");
}

#[test]
fn a_single_manager_comes_back_alone() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    run(node, "service create -d --name web --replicas 2 web:1");
    let before = identity(node, &[("web", 2)]);
    for _ in 0..3 {
        kill_and_start_all(&local);
        settled(&[node], 1).unwrap();
        assert_eq!(identity(node, &[("web", 2)]), before);
    }
    assert_eq!(ever_created(node).unwrap(), 2);
}

#[test]
fn a_worker_that_restarts_while_no_manager_answers_keeps_what_it_runs() {
    let local = cluster(1, 2).unwrap();
    let (manager, worker) = (&local[0], &local[1]);
    run(
        manager,
        "service create -d --name web --replicas 4 --constraint node.role==worker web:1",
    );
    let before = identity(manager, &[("web", 4)]);
    let engine = containers(worker).unwrap();
    manager.kill().unwrap();
    worker.kill().unwrap();
    worker.start().unwrap();
    assert_eq!(
        text(&standing(worker).unwrap(), "/LocalNodeState"),
        "active"
    );
    assert_eq!(containers(worker).unwrap(), engine);
    manager.start().unwrap();
    settled(&[manager], 2).unwrap();
    assert_eq!(identity(manager, &[("web", 4)]), before);
    assert_eq!(containers(worker).unwrap(), engine);
}

#[test]
fn a_daemon_refuses_a_state_directory_of_another_version_or_in_use() {
    let local = super::look::daemons(2).unwrap();
    let folder = local[0].state_dir();
    let start_other = || {
        let words = [
            "daemon",
            "--engine",
            "fake",
            "--state-dir",
            folder.to_str().unwrap(),
        ];
        local[1]
            .swarmr(&[&words[..], &["--socket", "/nonexistent-folder/x/y.sock"]].concat())
            .unwrap()
    };
    let output = start_other();
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("in use") && output.stderr.contains("--state-dir"),
        "{output}"
    );
    local[0].kill().unwrap();
    let version = folder.join("VERSION");
    let written = std::fs::read(&version).unwrap();
    std::fs::write(&version, "99\n").unwrap();
    let error = format!("{:#}", local[0].start().unwrap_err());
    assert!(error.contains("99") && error.contains("VERSION"), "{error}");
    assert_eq!(std::fs::read(&version).unwrap(), b"99\n");
    std::fs::write(&version, written).unwrap();
    local[0].start().unwrap();
}
