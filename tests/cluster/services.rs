//! Services with the fake engine: as many tasks as wanted, where they are wanted.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::{Value, json};
use testhosts::eventually;

use super::look::{
    BOUNDED, SOON, brief, cluster, containers, converged, ended, engines_hold, id, image, run,
    running, runs, settled, spread, tasks, text,
};

#[test]
fn replicas_run_spread_over_the_nodes_and_scale_up_and_down() {
    let local = cluster(3, 3).unwrap();
    let node = &local[1];
    let service = run(node, "service create -d --name web --replicas 6 web:1");
    let six = converged(node, "web", 6).unwrap();
    assert_eq!(
        spread(&six).values().copied().collect::<Vec<_>>(),
        [2, 2, 2]
    );
    let slots: BTreeSet<u64> = six
        .iter()
        .filter_map(|task| task.get("Slot").and_then(Value::as_u64))
        .collect();
    assert_eq!(slots, (1..=6).collect());
    assert!(
        six.iter().all(|task| text(task, "/ServiceID") == service),
        "{service}"
    );
    engines_hold(&local, &six).unwrap();
    for place in 0..3 {
        let listed = run(
            &local[place],
            "service ls --format {{.Name}}|{{.Mode}}|{{.Replicas}}|{{.Image}}",
        );
        assert_eq!(listed, "web|replicated|6/6|web:1");
    }
    let table = run(node, "service ps web");
    assert_eq!(
        table.matches("Running").count(),
        12,
        "desired and current state: {table}"
    );

    run(node, "service scale -d web=12");
    let twelve = converged(&local[0], "web", 12).unwrap();
    assert_eq!(
        spread(&twelve).values().copied().collect::<Vec<_>>(),
        [4, 4, 4]
    );
    let of = |tasks: &[Value]| {
        tasks
            .iter()
            .map(|task| text(task, "/ID"))
            .collect::<BTreeSet<_>>()
    };
    assert!(
        of(&six).is_subset(&of(&twelve)),
        "scaling up replaced a task"
    );
    engines_hold(&local, &twelve).unwrap();

    run(node, "service scale -d web=4");
    let four = converged(&local[2], "web", 4).unwrap();
    assert!(
        of(&four).is_subset(&of(&twelve)),
        "scaling down replaced a task"
    );
    assert!(
        spread(&four).values().all(|count| (1..=2).contains(count)),
        "{:?}",
        spread(&four)
    );
    engines_hold(&local, &four).unwrap();

    run(node, "service scale -d web=0");
    converged(node, "web", 0).unwrap();
    engines_hold(&local, &[]).unwrap();
    assert_eq!(run(node, "service ls --format {{.Replicas}}"), "0/0");
}

#[test]
fn a_command_that_waits_returns_when_the_service_is_stable() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    let printed = run(
        node,
        "service create -q --name web --replicas 3 --update-monitor 500ms web:1",
    );
    assert_eq!(running(&node.api(), "web").unwrap().len(), 3);
    assert_eq!(
        printed,
        text(&node.api().get("/services/web").unwrap(), "/ID")
    );
    let scaled = node.swarmr(&["service", "scale", "web=5"]).unwrap();
    assert!(
        scaled.succeeded() && scaled.stderr.contains("converged"),
        "{scaled}"
    );
    assert_eq!(running(&node.api(), "web").unwrap().len(), 5);
}

#[test]
fn a_removed_service_leaves_nothing_behind() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    run(node, "service create -d --name web --replicas 4 web:1");
    run(node, "service create -d --name other other:1");
    converged(node, "web", 4).unwrap();
    let other = converged(node, "other", 1).unwrap();
    assert_eq!(run(node, "service rm web"), "web");
    engines_hold(&local, &other).unwrap();
    eventually("its tasks are gone", SOON, || {
        let left = super::look::list(&node.api().within(BOUNDED), "/tasks")?;
        ensure!(
            left.len() == 1,
            "{:?}",
            left.iter().map(brief).collect::<Vec<_>>()
        );
        Ok(())
    })
    .unwrap();
    for node in local.iter() {
        let held = containers(node).unwrap();
        assert!(
            held.values()
                .all(|container| container.task == text(&other[0], "/ID")),
            "{held:?}"
        );
    }
    assert_eq!(run(node, "service ls --format {{.Name}}"), "other");
}

#[test]
fn a_global_service_runs_once_on_every_node_that_takes_tasks() {
    let local = cluster(1, 3).unwrap();
    let node = &local[0];
    let ids = [0, 1, 2].map(|place| id(&local[place]).unwrap());
    run(
        node,
        &format!("node update --availability drain {}", ids[2]),
    );
    run(node, "service create -d --name every --mode global every:1");
    let once_on = |nodes: &[&String]| {
        let tasks = converged(node, "every", nodes.len()).unwrap();
        let on: BTreeSet<String> = spread(&tasks).into_keys().collect();
        assert_eq!(on, nodes.iter().copied().cloned().collect());
        engines_hold(&local, &tasks).unwrap();
    };
    once_on(&[&ids[0], &ids[1]]);
    run(
        node,
        &format!("node update --availability active {}", ids[2]),
    );
    once_on(&[&ids[0], &ids[1], &ids[2]]);
    run(
        node,
        &format!("node update --availability drain {}", ids[1]),
    );
    once_on(&[&ids[0], &ids[2]]);
    assert_eq!(
        run(node, "service ls --format {{.Mode}}|{{.Replicas}}"),
        "global|2/2"
    );
    run(node, "service rm every");
    engines_hold(&local, &[]).unwrap();
}

#[test]
fn a_drained_node_hands_its_tasks_over_and_a_paused_one_keeps_them() {
    let local = cluster(1, 3).unwrap();
    let node = &local[0];
    let [drained, paused] = [1, 2].map(|place| id(&local[place]).unwrap());
    run(node, "service create -d --name web --replicas 6 web:1");
    converged(node, "web", 6).unwrap();
    run(node, &format!("node pause {paused}"));
    // It returns when the node is empty: one task after the other has moved.
    run(node, &format!("node drain --wait --quiet {drained}"));
    assert_eq!(
        run(
            node,
            &format!("node ps --format {{{{.ID}}}} -f desired-state=running {drained}")
        ),
        ""
    );
    eventually("nothing runs on the drained node", SOON, || {
        let tasks = running(&node.api().within(BOUNDED), "web")?;
        let spread = spread(&tasks);
        ensure!(
            !spread.contains_key(&drained) && tasks.len() == 6,
            "{spread:?}"
        );
        ensure!(
            spread.get(&paused) == Some(&2),
            "the paused node took tasks: {spread:?}"
        );
        Ok(())
    })
    .unwrap();
    engines_hold(&local, &converged(node, "web", 6).unwrap()).unwrap();
    let listed = run(node, "node ls --format {{.ID}}|{{.Availability}}");
    assert!(listed.contains(&format!("{drained}|Drain")), "{listed}");
    assert!(listed.contains(&format!("{paused}|Pause")), "{listed}");

    // Active again, it takes new tasks; those that run stay where they are.
    run(node, &format!("node activate {drained}"));
    run(node, "service scale -d web=8");
    let eight = converged(node, "web", 8).unwrap();
    assert_eq!(
        spread(&eight).get(&drained),
        Some(&2),
        "{:?}",
        spread(&eight)
    );
}

#[test]
fn a_task_that_fits_nowhere_says_why_and_runs_as_soon_as_it_fits() {
    let local = cluster(1, 2).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name picky --constraint node.labels.disk==ssd web:1",
    );
    let waiting = eventually("the task waits with a reason", SOON, || {
        let tasks = tasks(&node.api().within(BOUNDED), "picky")?;
        let [task] = tasks.as_slice() else {
            anyhow::bail!("{} tasks", tasks.len())
        };
        ensure!(text(task, "/Status/State") == "pending", "{}", brief(task));
        ensure!(!text(task, "/Status/Err").is_empty(), "{}", brief(task));
        Ok(task.clone())
    })
    .unwrap();
    let why = text(&waiting, "/Status/Err");
    assert!(
        why.contains("no suitable node") && why.contains("constraint"),
        "{why}"
    );
    assert!(run(node, "service ps --no-trunc picky").contains(&why));
    let worker = id(&local[1]).unwrap();
    run(node, &format!("node update --label-add disk=ssd {worker}"));
    let tasks = converged(node, "picky", 1).unwrap();
    assert_eq!(text(&tasks[0], "/NodeID"), worker);

    run(
        node,
        "service create -d --name hungry --reserve-memory 64g web:1",
    );
    eventually("the task that needs too much waits", SOON, || {
        let tasks = super::look::tasks(&node.api().within(BOUNDED), "hungry")?;
        let err = tasks
            .first()
            .map(|task| text(task, "/Status/Err"))
            .unwrap_or_default();
        ensure!(err.contains("insufficient resources"), "{err}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_container_that_ends_is_restarted_as_its_policy_says() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name done --restart-condition on-failure once:1",
    );
    run(
        node,
        "service create -d --name tries --restart-max-attempts 2 --restart-delay 10ms broken:1",
    );
    run(
        node,
        "service create -d --name never --restart-condition none broken:1",
    );
    let ends = |service: &str, states: &[&str]| {
        eventually(&format!("{service} ends"), SOON, || {
            let mut tasks = tasks(&node.api().within(BOUNDED), service)?;
            tasks.sort_by_key(|task| text(task, "/CreatedAt"));
            let seen: Vec<String> = tasks
                .iter()
                .map(|task| text(task, "/Status/State"))
                .collect();
            ensure!(seen == states, "{seen:?}");
            ensure!(tasks.iter().all(ended), "{seen:?}");
            Ok(tasks)
        })
        .unwrap()
    };
    ends("done", &["complete"]);
    let tried = ends("tries", &["failed", "failed", "failed"]);
    ends("never", &["failed"]);
    assert!(
        tried
            .iter()
            .all(|task| text(task, "/Status/Err").contains("non-zero exit (1)")),
        "{tried:?}"
    );
    // And nothing more comes: a later write has been planned and run meanwhile.
    run(node, "service create -d --name later web:1");
    converged(node, "later", 1).unwrap();
    ends("done", &["complete"]);
    ends("tries", &["failed", "failed", "failed"]);
}

#[test]
fn an_image_that_nobody_has_is_told_and_does_not_stop_others() {
    let local = cluster(1, 1).unwrap();
    let node = &local[0];
    run(
        node,
        "service create -d --name nowhere --restart-delay 10ms missing:1",
    );
    run(node, "service create -d --name web --replicas 2 web:1");
    converged(node, "web", 2).unwrap();
    eventually("the missing image is told", SOON, || {
        let tasks = tasks(&node.api().within(BOUNDED), "nowhere")?;
        let rejected = tasks
            .iter()
            .find(|task| text(task, "/Status/State") == "rejected");
        let Some(rejected) = rejected else {
            anyhow::bail!("{:?}", tasks.iter().map(brief).collect::<Vec<_>>())
        };
        ensure!(
            text(rejected, "/Status/Err").contains("missing:1"),
            "{}",
            brief(rejected)
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn tasks_of_a_dead_node_run_elsewhere_and_it_comes_back_clean() {
    let local = cluster(1, 3).unwrap();
    let node = &local[0];
    run(node, "service create -d --name web --replicas 6 web:1");
    let six = converged(node, "web", 6).unwrap();
    let dead = id(&local[2]).unwrap();
    assert_eq!(spread(&six).get(&dead), Some(&2));
    local[2].kill().unwrap();
    let moved = eventually("all run elsewhere", SOON, || {
        let tasks = running(&node.api().within(BOUNDED), "web")?;
        let alive: Vec<Value> = tasks
            .into_iter()
            .filter(|task| text(task, "/NodeID") != dead)
            .collect();
        ensure!(alive.len() == 6, "{:?}", spread(&alive));
        Ok(alive)
    })
    .unwrap();
    let kept = six.iter().filter(|task| text(task, "/NodeID") != dead);
    for task in kept {
        assert!(
            moved.iter().any(|now| now.get("ID") == task.get("ID")),
            "a task that ran was moved: {task}"
        );
    }
    // Its engine ran on meanwhile, as a real one would.
    assert_eq!(
        containers(&local[2])
            .unwrap()
            .values()
            .filter(|container| container.runs)
            .count(),
        2
    );
    local[2].start().unwrap();
    settled(&[node], 3).unwrap();
    engines_hold(&local, &converged(node, "web", 6).unwrap()).unwrap();
    run(node, "service scale -d web=9");
    let nine = converged(node, "web", 9).unwrap();
    assert_eq!(
        spread(&nine).get(&dead),
        Some(&3),
        "the node that came back is not used: {:?}",
        spread(&nine)
    );
}

#[test]
fn services_may_be_made_by_many_at_once_on_every_manager() {
    let local = cluster(3, 3).unwrap();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let node = &local[number % 3];
            scope.spawn(move || {
                let spec = json!({
                    "Name": format!("s{number}"),
                    "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}},
                    "Mode": {"Replicated": {"Replicas": 2}},
                });
                node.api()
                    .within(BOUNDED)
                    .post("/services/create", &spec)
                    .unwrap();
            });
        }
    });
    let mut all = Vec::new();
    for number in 0..12 {
        all.extend(converged(&local[number % 3], &format!("s{number}"), 2).unwrap());
    }
    assert_eq!(
        spread(&all).values().copied().collect::<Vec<_>>(),
        [8, 8, 8]
    );
    assert!(all.iter().all(|task| runs(task) && image(task) == "web:1"));
    engines_hold(&local, &all).unwrap();
}
