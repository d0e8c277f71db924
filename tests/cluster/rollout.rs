//! Rolling updates: as many at a time as allowed, back by themselves when they fail.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use serde_json::Value;
use testhosts::{LocalNode, eventually};

use super::look::{BOUNDED, SOON, brief, cluster, converged, image, run, running, tasks, text};

/// Waits until the rollout of `web` is in this state.
fn rollout_is(node: &LocalNode, state: &str) -> Value {
    eventually(&format!("the update is {state}"), SOON, || {
        let service = node.api().within(BOUNDED).get("/services/web")?;
        ensure!(
            text(&service, "/UpdateStatus/State") == state,
            "{}",
            service["UpdateStatus"]
        );
        Ok(service)
    })
    .unwrap()
}

fn spec_image(service: &Value) -> String {
    text(service, "/Spec/TaskTemplate/ContainerSpec/Image")
}

/// Looks at `web` again and again while `work` is done; the fewest tasks that ever ran.
fn fewest_running<T>(node: &LocalNode, work: impl FnOnce() -> T) -> (usize, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| -> Result<usize> {
            let (mut fewest, api) = (usize::MAX, node.api().within(BOUNDED));
            while !over.load(Ordering::Relaxed) {
                fewest = fewest.min(running(&api, "web")?.len());
            }
            Ok(fewest)
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (watching.join().unwrap().unwrap(), done)
    })
}

/// When a task was made, in seconds of its day: enough to compare tasks of one test.
fn created_seconds(task: &Value) -> f64 {
    let at = text(task, "/CreatedAt");
    let clock = at
        .split_once('T')
        .map_or("", |(_, clock)| clock.trim_end_matches('Z'));
    let mut parts = clock
        .splitn(3, ':')
        .map(|part| part.parse::<f64>().unwrap());
    let mut part = || parts.next().unwrap();
    part() * 3600.0 + part() * 60.0 + part()
}

#[test]
fn an_update_rolls_two_at_a_time_with_its_delay_in_between() {
    let local = cluster(3, 3).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name web --replicas 6 --update-monitor 200ms web:1",
    );
    let old = converged(node, "web", 6).unwrap();
    let (fewest, ()) = fewest_running(&local[1], || {
        run(
            node,
            "service update -d --image web:2 --update-parallelism 2 --update-delay 1s web",
        );
        rollout_is(node, "completed");
    });
    assert!(fewest >= 4, "only {fewest} of 6 ran with two at a time");
    let mut new = converged(node, "web", 6).unwrap();
    assert!(
        new.iter().all(|task| image(task) == "web:2"),
        "{:?}",
        new.iter().map(brief).collect::<Vec<_>>()
    );
    let slots = |tasks: &[Value]| -> BTreeSet<u64> {
        tasks
            .iter()
            .filter_map(|task| task.get("Slot").and_then(Value::as_u64))
            .collect()
    };
    assert_eq!(slots(&new), slots(&old));
    // The times are those that the leader wrote down: what waits for two others is made later.
    new.sort_by(|one, other| created_seconds(one).total_cmp(&created_seconds(other)));
    for (earlier, later) in new.iter().zip(&new[2..]) {
        let between = (created_seconds(later) - created_seconds(earlier)).rem_euclid(86_400.0);
        assert!(
            between >= 0.99,
            "{between} s between {} and {}",
            brief(earlier),
            brief(later)
        );
    }
}

#[test]
fn an_update_that_starts_first_never_has_fewer_than_wanted() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name web --replicas 4 --update-order start-first --update-monitor 200ms web:1",
    );
    converged(node, "web", 4).unwrap();
    let (fewest, output) = fewest_running(node, || {
        node.swarmr(&["service", "update", "--image", "web:2", "web"])
            .unwrap()
    });
    assert!(output.succeeded(), "{output}");
    assert_eq!(fewest, 4);
    let new = converged(node, "web", 4).unwrap();
    assert!(new.iter().all(|task| image(task) == "web:2"));
    assert_eq!(
        text(
            &node.api().get("/services/web").unwrap(),
            "/UpdateStatus/State"
        ),
        "completed"
    );
}

#[test]
fn an_update_that_fails_rolls_back_by_itself_and_the_old_version_serves() {
    let local = cluster(3, 3).unwrap();
    let node = &local[2];
    run(
        node,
        "service create -d --name web --replicas 4 --update-monitor 1s --rollback-monitor 200ms web:1",
    );
    converged(node, "web", 4).unwrap();
    let (fewest, output) = fewest_running(&local[0], || {
        node.swarmr(&[
            "service",
            "update",
            "--image",
            "broken:1",
            "--update-failure-action",
            "rollback",
            "web",
        ])
        .unwrap()
    });
    assert_eq!(output.code, Some(8), "{output}");
    assert!(
        output.stderr.contains("rolled back") || output.stderr.contains("rollback"),
        "{output}"
    );
    assert!(fewest >= 3, "only {fewest} of 4 ran with one at a time");
    let service = rollout_is(&local[1], "rollback_completed");
    assert_eq!(spec_image(&service), "web:1");
    let serving = converged(node, "web", 4).unwrap();
    assert!(serving.iter().all(|task| image(task) == "web:1"));
    let failed = tasks(&node.api(), "web").unwrap();
    let failed = failed
        .iter()
        .filter(|task| image(task) == "broken:1")
        .count();
    assert!(
        (1..=2).contains(&failed),
        "{failed} broken tasks were tried"
    );

    // It can be updated again, to something that works.
    run(node, "service update -q --image web:3 web");
    assert!(
        converged(node, "web", 4)
            .unwrap()
            .iter()
            .all(|task| image(task) == "web:3")
    );
}

#[test]
fn an_update_that_fails_pauses_and_goes_on_with_something_better() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name web --replicas 3 --update-monitor 500ms web:1",
    );
    converged(node, "web", 3).unwrap();
    let output = node
        .swarmr(&["service", "update", "--image", "broken:1", "web"])
        .unwrap();
    assert_eq!(output.code, Some(8), "{output}");
    assert!(output.stderr.contains("paused"), "{output}");
    let service = rollout_is(node, "paused");
    assert!(!text(&service, "/UpdateStatus/Message").is_empty());
    assert_eq!(spec_image(&service), "broken:1");
    let old = running(&node.api(), "web")
        .unwrap()
        .iter()
        .filter(|task| image(task) == "web:1")
        .count();
    assert_eq!(old, 2, "one at a time, and the first one failed");

    run(node, "service update -q --image web:2 web");
    assert!(
        converged(node, "web", 3)
            .unwrap()
            .iter()
            .all(|task| image(task) == "web:2")
    );
    rollout_is(node, "completed");
}

#[test]
fn a_rollback_by_hand_changes_places_with_the_spec_it_leaves() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name web --replicas 2 --update-monitor 200ms --rollback-monitor 200ms web:1",
    );
    converged(node, "web", 2).unwrap();
    super::refusal::command("service rollback -q web", 1, &["web", "previous"])
        .judge(node)
        .unwrap();
    run(node, "service update -q --image web:2 web");
    for to in ["web:1", "web:2"] {
        run(node, "service rollback -q web");
        let service = rollout_is(node, "rollback_completed");
        assert_eq!(spec_image(&service), to);
        let tasks = converged(node, "web", 2).unwrap();
        assert!(tasks.iter().all(|task| image(task) == to));
    }
}

#[test]
fn a_new_update_replaces_one_that_is_in_progress() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name web --replicas 4 --update-delay 1h --update-monitor 200ms web:1",
    );
    converged(node, "web", 4).unwrap();
    run(node, "service update -d --image web:2 web");
    eventually("the first is replaced", SOON, || {
        let new = running(&node.api().within(BOUNDED), "web")?;
        ensure!(new.iter().any(|task| image(task) == "web:2"), "none yet");
        Ok(())
    })
    .unwrap();
    run(
        node,
        "service update -q --image web:3 --update-delay 0s web",
    );
    let all = converged(node, "web", 4).unwrap();
    assert!(
        all.iter().all(|task| image(task) == "web:3"),
        "{:?}",
        all.iter().map(brief).collect::<Vec<_>>()
    );
}

#[test]
fn an_update_of_policies_and_labels_replaces_no_task() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    run(node, "service create -d --name web --replicas 2 web:1");
    let ids = |tasks: Vec<Value>| {
        tasks
            .iter()
            .map(|task| text(task, "/ID"))
            .collect::<BTreeSet<_>>()
    };
    let before = ids(converged(node, "web", 2).unwrap());
    run(
        node,
        "service update -d --label-add tier=front --update-delay 3s web",
    );
    run(node, "service update -d --replicas 3 web");
    let after = ids(converged(node, "web", 3).unwrap());
    assert!(before.is_subset(&after));
    run(node, "service update -d --force web");
    eventually("all are replaced", SOON, || {
        let now: BTreeSet<String> = ids(running(&node.api().within(BOUNDED), "web")?);
        ensure!(now.len() == 3 && now.is_disjoint(&after), "{now:?}");
        Ok(())
    })
    .unwrap();
}
