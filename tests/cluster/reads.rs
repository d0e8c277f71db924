//! A read through any manager shows every write that was acknowledged before it began.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::look::{BOUNDED, cluster, config, create_config, list, text};

const WRITES: usize = 60;

#[test]
fn what_was_written_through_one_manager_is_read_through_every_other() {
    let local = cluster(3, 3).unwrap();
    for number in 0..WRITES {
        let (writer, name) = (number % 3, format!("c{number}"));
        let id = create_config(&local[writer].api().within(BOUNDED), &name, "x").unwrap();
        for reader in 0..3 {
            let api = local[reader].api().within(BOUNDED);
            let read = api.get(&format!("/configs/{id}")).unwrap();
            assert_eq!(text(&read, "/Spec/Name"), name);
            assert_eq!(list(&api, "/configs").unwrap().len(), number + 1);
        }
    }
}

#[test]
fn readers_beside_writers_never_go_back_in_time() {
    let local = cluster(3, 3).unwrap();
    // How many were acknowledged so far: each is created by one writer, in order.
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        for reader in 0..3 {
            let (local, acknowledged) = (&local, &acknowledged);
            scope.spawn(move || {
                let api = local[reader].api().within(BOUNDED);
                let mut seen = 0;
                while seen < WRITES {
                    let least = acknowledged.load(Ordering::SeqCst).max(seen);
                    seen = list(&api, "/configs").unwrap().len();
                    assert!(
                        seen >= least,
                        "{seen} of {least} seen through manager {reader}"
                    );
                }
            });
        }
        for number in 0..WRITES {
            create_config(
                &local[number % 3].api().within(BOUNDED),
                &format!("c{number}"),
                "x",
            )
            .unwrap();
            acknowledged.store(number + 1, Ordering::SeqCst);
        }
    });
}

#[test]
fn of_two_updates_that_read_the_same_version_one_wins() {
    let local = cluster(3, 3).unwrap();
    let id = create_config(&local[0].api(), "contested", "x").unwrap();
    for round in 0..10 {
        let seen = local[round % 3]
            .api()
            .get(&format!("/configs/{id}"))
            .unwrap();
        let version = seen
            .pointer("/Version/Index")
            .and_then(Value::as_u64)
            .unwrap();
        let update = |place: usize| {
            let mut spec = config("contested", "x");
            spec["Labels"] = json!({"by": place.to_string(), "round": round.to_string()});
            let path = format!("/configs/{id}/update?version={version}");
            let api = local[place].api().within(BOUNDED);
            api.send(
                "POST",
                &path,
                "application/json",
                spec.to_string().as_bytes(),
            )
            .unwrap()
            .status
        };
        let statuses: Vec<u16> = thread::scope(|scope| {
            let running = [0, 1, 2].map(|place| scope.spawn(move || update(place)));
            running.map(|thread| thread.join().unwrap()).into()
        });
        let winner = statuses.iter().position(|status| *status == 200);
        let winner = winner.unwrap_or_else(|| panic!("nobody won: {statuses:?}"));
        let losers = statuses.iter().filter(|status| **status == 409).count();
        assert_eq!(losers, 2, "{statuses:?}");
        let now = local[(round + 1) % 3]
            .api()
            .get(&format!("/configs/{id}"))
            .unwrap();
        assert_eq!(text(&now, "/Spec/Labels/by"), winner.to_string());
        assert_eq!(text(&now, "/Spec/Labels/round"), round.to_string());
    }
}
