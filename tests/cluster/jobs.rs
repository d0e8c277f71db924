//! Jobs and their schedules with the fake engine: run until they are done, and not again.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use testhosts::{Local, eventually};

use super::look::{cluster, ended, ever_created, leader, run, tasks, text};

/// Containers that the engines of all nodes ever created.
fn created(local: &Local) -> u64 {
    local.iter().map(|node| ever_created(node).unwrap()).sum()
}

#[test]
fn a_job_runs_until_it_is_done_and_a_failed_one_says_so() {
    let local = cluster(1, 3).unwrap();
    let node = &local[0];
    // Returns when it is done.
    run(
        node,
        "service create -q --name job --mode replicated-job --replicas 5 --max-concurrent 2 once:1",
    );
    let listed = "service ls --format {{.Name}}|{{.Mode}}|{{.Replicas}}";
    assert_eq!(run(node, listed), "job|replicated job|0/2 (5/5 completed)");
    let done = tasks(&node.api(), "job").unwrap();
    let mut slots: Vec<u64> = done
        .iter()
        .filter_map(|task| task.get("Slot").and_then(Value::as_u64))
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2, 3, 4]);
    for task in &done {
        assert_eq!(text(task, "/Status/State"), "complete");
        assert_eq!(text(task, "/DesiredState"), "complete");
        assert!(ended(task) && task.pointer("/JobIteration").is_some());
    }
    // A restarted daemon starts nothing again.
    local[1].kill().unwrap();
    local[1].start().unwrap();
    assert_eq!(created(&local), 5);

    run(node, "service update -q --force job");
    assert_eq!(run(node, "service runs -q job"), "1\n0");
    assert_eq!(created(&local), 10);
    run(node, "service scale job=7");
    assert_eq!(created(&local), 12);

    let failed = node
        .swarmr(&[
            "service",
            "create",
            "-q",
            "--name",
            "bad",
            "--mode",
            "replicated-job",
            "--restart-max-attempts",
            "1",
            "--restart-delay",
            "10ms",
            "broken:1",
        ])
        .unwrap();
    assert_eq!(failed.code, Some(10), "{failed:?}");
    assert!(failed.stderr.contains("run 0 failed: 1 task"), "{failed:?}");
    assert_eq!(
        run(
            node,
            "service runs --format {{.Run}}|{{.State}}|{{.Tasks}} bad"
        ),
        "0|failed|0 (1 failed)"
    );
    assert!(run(node, "status").contains("run 0 of bad has failed"));
}

#[test]
fn a_schedule_survives_its_leader_and_a_run_can_be_asked_for() {
    let local = cluster(3, 3).unwrap();
    let node = &local[0];
    let out = node
        .swarmr(&[
            "service",
            "create",
            "--name",
            "yearly",
            "--mode",
            "cron-job",
            "--schedule",
            "0 3 1 1 *",
            "--timezone",
            "Europe/Rome",
            "once:1",
        ])
        .unwrap();
    assert!(out.succeeded(), "{out:?}");
    assert!(out.stderr.contains("01-01 03:00 +01:00"), "{out:?}");
    assert_eq!(created(&local), 0);
    run(node, "service run-now -q yearly");
    assert_eq!(created(&local), 1);
    let pretty = run(node, "service inspect --pretty yearly");
    for part in [
        "Cron:\t\t0 3 1 1 *",
        "Time Zone:\tEurope/Rome",
        "request",
        "completed",
    ] {
        assert!(pretty.contains(part), "{part}: {pretty}");
    }
    run(node, "service update -q --suspend yearly");
    assert!(run(node, "service inspect --pretty yearly").contains("it is suspended"));

    // Due every minute: the next full minute is at most one away, also with another leader.
    let args = [
        "service",
        "create",
        "-d",
        "--name",
        "often",
        "--mode",
        "cron-job",
        "--schedule",
        "* * * * *",
        "once:2",
    ];
    assert!(node.swarmr(&args).unwrap().succeeded());
    let leader = leader(&local).unwrap();
    local[leader].kill().unwrap();
    let other = &local[(leader + 1) % 3];
    eventually("a run that was due", Duration::from_secs(90), || {
        let runs = run(other, "service runs --format {{.State}}|{{.Cause}} often");
        ensure!(runs.starts_with("completed|schedule"), "{runs}");
        Ok(())
    })
    .unwrap();
}
