//! Addresses of networks: who gets which, and when there are none.

use std::collections::BTreeSet;

use super::rules::create_network;
use super::*;
use crate::state::Change;
use crate::state::task::{TaskState, Waiting};

#[test]
fn a_task_has_its_addresses_from_its_placement_to_its_end() {
    let mut log = Log::started();
    create_network(&mut log, 2, "app", "");
    log.create(1, on_network(named("web"), 2));
    log.running(1, 1, 1);
    let held = |log: &Log| log.state.network(network(2)).unwrap().held.len();
    assert_eq!(held(&log), 4, "reserved, service, task, node");
    let first = log.state.task(task(1)).unwrap().attachments[0].address;
    log.report(task(1), TaskState::Failed);
    assert_eq!(held(&log), 2, "the node takes no part any more");
    log.running(2, 1, 1);
    let second = log.state.task(task(2)).unwrap().attachments[0].address;
    assert_ne!(first, second, "an address rests before it is used again");
}

#[test]
fn a_full_network_holds_a_task_back_once() {
    let mut log = Log::started();
    create_network(&mut log, 2, "app", "10.9.0.0/29");
    log.create(1, on_network(named("web"), 2));
    for id in 1..4 {
        log.running(id, 1, u64::try_from(id).unwrap());
    }
    let new = new_task(&log.state, 4, 1, 4);
    let assign = Change::Assign {
        task: task(4),
        node: node(1),
    };
    assert_eq!(log.plan(vec![Change::CreateTask(new), assign.clone()]), 2);
    assert_eq!(
        log.state.task(task(4)).unwrap().waiting,
        Some(Box::new(Waiting::AddressesExhausted(network(2))))
    );
    assert_eq!(log.plan(vec![assign.clone()]), 0, "nothing new to say");
    log.report(task(1), TaskState::Complete);
    assert_eq!(log.plan(vec![assign]), 1);
    assert_eq!(log.state.task(task(4)).unwrap().node, Some(node(1)));
}

#[test]
fn a_thousand_tasks_fit_into_a_network_of_the_default_length() {
    let mut log = Log::started();
    let subnet = format!("10.16.0.0/{}", Subnet::prefix_in(&[], 0));
    create_network(&mut log, 2, "app", &subnet);
    log.create(1, on_network(named("web"), 2));
    for id in 1..=1000 {
        log.running(id, 1, u64::try_from(id).unwrap());
    }
    let addresses: BTreeSet<_> = log
        .state
        .tasks_of(service(1))
        .map(|task| task.attachments[0].address)
        .collect();
    assert_eq!(addresses.len(), 1000);
    let app = log.state.network(network(2)).unwrap();
    assert!(!app.is_nearly_full(), "{} left", app.free());
}
