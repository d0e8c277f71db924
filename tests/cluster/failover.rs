//! The leader dies, in every way it can.

use std::thread;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testhosts::{LocalNode, eventually};

use super::look::{
    BOUNDED, SOON, brief, cluster, config, config_names, converged, create_config,
    create_config_soon, id, image, leader, others, run, running, settled, text,
};

pub(crate) fn signal(node: &LocalNode, signal: Signal) -> Result<()> {
    let pid = node.pid().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| anyhow::anyhow!("{} does not run", node.name()))?;
    Ok(kill(Pid::from_raw(pid), signal)?)
}

#[test]
fn the_next_leader_accepts_the_next_write() {
    let local = cluster(3, 3).unwrap();
    create_config(&local[0].api(), "first", "x").unwrap();
    for round in 0..3 {
        let led = leader(&local).unwrap();
        local[led].kill().unwrap();
        let rest = others(&local, led);
        let name = format!("after-{round}");
        // One request: a client need not know that anything happened.
        let api = rest[round % 2].api().within(BOUNDED);
        let reply = api.send(
            "POST",
            "/configs/create",
            "application/json",
            config(&name, "x").to_string().as_bytes(),
        );
        let reply = reply.unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
        let names = config_names(rest[(round + 1) % 2]).unwrap();
        assert!(
            names.contains(&name) && names.contains("first"),
            "{names:?}"
        );
        let now = leader(&local).unwrap();
        assert_ne!(now, led);
        local[led].start().unwrap();
        settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    }
}

#[test]
fn an_update_in_progress_goes_on_under_the_next_leader() {
    let local = cluster(3, 5).unwrap();
    // Tasks on the two workers only, so that the leader's death takes none with it.
    let first = &local[0];
    run(
        first,
        "service create -d --name web --replicas 6 --constraint node.role==worker --update-monitor 300ms \
         --update-parallelism 1 --update-delay 500ms web:1",
    );
    let old = converged(first, "web", 6).unwrap();
    assert_eq!(old.len(), 6);
    run(first, "service update -d --image web:2 web");
    let new_ones = |node: &LocalNode| -> Result<Vec<Value>> {
        let mut tasks = running(&node.api().within(BOUNDED), "web")?;
        tasks.retain(|task| image(task) == "web:2");
        Ok(tasks)
    };
    let begun = eventually("the update has begun", SOON, || {
        let new = new_ones(first)?;
        ensure!(!new.is_empty(), "none yet");
        Ok(new)
    })
    .unwrap();
    assert!(begun.len() < 6, "over before the leader could die");
    let led = leader(&local).unwrap();
    local[led].kill().unwrap();
    let rest = others(&local, led);
    eventually("the update completes", SOON, || {
        let service = rest[0].api().within(BOUNDED).get("/services/web")?;
        let state = text(&service, "/UpdateStatus/State");
        ensure!(state == "completed", "{state}");
        Ok(())
    })
    .unwrap();
    let new = converged(rest[1], "web", 6).unwrap();
    assert!(
        new.iter().all(|task| image(task) == "web:2"),
        "{:?}",
        new.iter().map(brief).collect::<Vec<_>>()
    );
    // Where it was: what the first leader had replaced was not replaced again.
    for task in begun {
        assert!(
            new.iter().any(|now| now.get("ID") == task.get("ID")),
            "replaced again: {}",
            brief(&task)
        );
    }
}

#[test]
fn a_command_that_waits_for_an_update_sees_it_through_the_leaders_death() {
    let local = cluster(3, 4).unwrap();
    let led = leader(&local).unwrap();
    let rest = others(&local, led);
    run(
        rest[0],
        "service create -d --name web --replicas 4 --constraint node.role==worker --update-monitor 300ms \
         --update-delay 300ms web:1",
    );
    converged(rest[0], "web", 4).unwrap();
    let output = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let update = ["service", "update", "--image", "web:2", "web"];
            rest[0].swarmr(&update).unwrap()
        });
        eventually("the update has begun", SOON, || {
            let tasks = running(&rest[1].api().within(BOUNDED), "web")?;
            ensure!(tasks.iter().any(|task| image(task) == "web:2"), "none yet");
            Ok(())
        })
        .unwrap();
        local[led].kill().unwrap();
        waiting.join().unwrap()
    });
    assert!(output.succeeded(), "{output}");
    let new = converged(rest[1], "web", 4).unwrap();
    assert!(new.iter().all(|task| image(task) == "web:2"));
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_and_ends() {
    let local = cluster(3, 3).unwrap();
    let led = leader(&local).unwrap();
    signal(&local[led], Signal::SIGTERM).unwrap();
    create_config_soon(others(&local, led)[0], "after").unwrap();
    eventually("the daemon ends", SOON, || {
        ensure!(!local[led].is_running(), "it runs");
        Ok(())
    })
    .unwrap();
    local[led].kill().unwrap();
    let log = local[led].log(1_000);
    assert!(!log.contains("panicked"), "{log}");
    local[led].start().unwrap();
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    assert!(config_names(&local[led]).unwrap().contains("after"));
}

#[test]
fn a_leader_that_was_stopped_for_a_while_never_shows_an_old_state() {
    let local = cluster(3, 3).unwrap();
    for round in 0..3 {
        let led = leader(&local).unwrap();
        signal(&local[led], Signal::SIGSTOP).unwrap();
        let rest = others(&local, led);
        let name = format!("while-stopped-{round}");
        create_config_soon(rest[0], &name).unwrap();
        // Asked after the write was acknowledged, answered when it wakes up and believes it leads.
        thread::scope(|scope| {
            let asking = scope.spawn(|| config_names(&local[led]));
            eventually("the question is asked", SOON, || {
                ensure!(asks(&local[led])?, "not yet");
                Ok(())
            })
            .unwrap();
            signal(&local[led], Signal::SIGCONT).unwrap();
            // An honest refusal would do, for it is not a lie; it must not be an old state.
            if let Ok(names) = asking.join().unwrap() {
                assert!(names.contains(&name), "an old state: {names:?}");
            }
        });
        settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    }
}

/// Whether a client waits at the daemon's socket.
fn asks(node: &LocalNode) -> Result<bool> {
    let sockets = std::fs::read_to_string("/proc/net/unix")?;
    let path = node.socket().display().to_string();
    // State 02 is a connection that was made and not accepted.
    Ok(sockets.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(7) == Some(&path.as_str()) && fields.get(5) == Some(&"02")
    }))
}

#[test]
fn a_killed_leader_that_ran_tasks_loses_them_to_the_others_and_comes_back() {
    let local = cluster(3, 3).unwrap();
    let led = leader(&local).unwrap();
    let node_id = id(&local[led]).unwrap();
    run(&local[0], "service create -d --name web --replicas 6 web:1");
    converged(&local[0], "web", 6).unwrap();
    local[led].kill().unwrap();
    let rest = others(&local, led);
    eventually("the tasks run elsewhere", SOON, || {
        let tasks = running(&rest[0].api().within(BOUNDED), "web")?;
        let elsewhere = tasks
            .iter()
            .filter(|task| text(task, "/NodeID") != node_id)
            .count();
        ensure!(elsewhere == 6, "{elsewhere}");
        Ok(())
    })
    .unwrap();
    local[led].start().unwrap();
    settled(&local.iter().collect::<Vec<_>>(), 3).unwrap();
    converged(&local[led], "web", 6).unwrap();
    eventually("nothing of it is left on the node", SOON, || {
        let left = super::look::containers(&local[led])?;
        let tasks = running(&rest[0].api().within(BOUNDED), "web")?;
        let own = |task: &Value| text(task, "/NodeID") == node_id;
        let own: Vec<String> = tasks
            .iter()
            .filter(|task| own(task))
            .map(|task| text(task, "/ID"))
            .collect();
        let stray = left
            .values()
            .filter(|container| container.runs && !own.contains(&container.task))
            .count();
        ensure!(stray == 0, "{stray} strays");
        Ok(())
    })
    .unwrap();
}
