//! Managers that come when the log has been cut, or were away meanwhile: they get a snapshot.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use testhosts::LocalNode;
use testhosts::http::Api;

use super::look::{BOUNDED, cluster, config, config_names, converged, id, run, settled, text};

/// So many that the log is cut behind a snapshot.
const WRITES: usize = 11_000;
const WRITERS: usize = 16;

/// Creates configs on one connection for each writer.
fn write_many(node: &LocalNode) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut connection = node.api().within(BOUNDED).connect().unwrap();
                for number in (writer..WRITES).step_by(WRITERS) {
                    let body = config(&format!("c{number}"), "x").to_string();
                    let path = Api::path("/configs/create");
                    let reply = connection
                        .send("POST", &path, "application/json", body.as_bytes())
                        .unwrap();
                    assert_eq!(reply.status, 201, "{}", reply.text());
                }
            });
        }
    });
}

#[test]
fn a_manager_that_comes_late_or_back_has_everything() {
    let local = cluster(3, 4).unwrap();
    let (away, late) = (&local[2], &local[3]);
    let all = [&local[0], &local[1], away, late];
    run(&local[0], "service create -d --name web --replicas 4 web:1");
    let tasks = |node: &LocalNode| -> BTreeSet<String> {
        let tasks = converged(node, "web", 4).unwrap();
        tasks.iter().map(|task| text(task, "/ID")).collect()
    };
    run(
        &local[0],
        &format!("node update --availability pause {}", id(away).unwrap()),
    );
    tasks(&local[0]);
    away.kill().unwrap();
    write_many(&local[0]);

    away.start().unwrap();
    settled(&all[..3], 4).unwrap();
    run(&local[0], &format!("node promote {}", id(late).unwrap()));
    settled(&all, 4).unwrap();
    for node in [away, late] {
        let snapshots = fs::read_dir(node.state_dir().join("raft").join("snapshots")).unwrap();
        assert!(snapshots.count() > 0, "{} has no snapshot", node.name());
    }
    let wanted: BTreeSet<String> = (0..WRITES).map(|number| format!("c{number}")).collect();
    let running = tasks(&local[0]);
    let everything_is_there = || {
        for node in all {
            let names = config_names(node).unwrap();
            assert!(names == wanted, "{} lacks some", node.name());
            assert_eq!(tasks(node), running);
        }
    };
    everything_is_there();

    // What each has on its own disk is enough to come back from.
    for node in all {
        node.kill().unwrap();
    }
    for node in all {
        node.start().unwrap();
    }
    settled(&all, 4).unwrap();
    everything_is_there();
    for node in all {
        assert!(!node.log(usize::MAX).contains("panicked"));
    }
}
