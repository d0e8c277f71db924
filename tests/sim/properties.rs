//! What must hold whatever happens. `rounds` says how many histories are tried.

mod always;
mod found;
mod quiet;
mod rest;

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use swarmr::spec::{Nanos, ServiceId};
use swarmr::state::{State, Task};

use super::apart::keeps_apart;
use super::history::{Event, Shape, equipped, event, shape};
use super::rounds::part;
use super::world::World;
use always::{Steps, Twins, no_longer_than_the_cap, no_more_than_wanted, no_overcommitment};
use rest::{comes_to_rest, reasons_are_the_nodes_own, replays, rollouts_end};

pub(super) fn live(state: &State, service: ServiceId) -> impl Iterator<Item = &Task> {
    state
        .tasks_of(service)
        .map(|task| task.as_ref())
        .filter(|task| task.is_wanted() && !task.has_ended())
}

/// Lets these things happen one after the other, and asks after each of them.
fn any_history(seed: u64, nodes: usize, first: Shape, events: Vec<Event>) {
    let mut world = World::new(seed);
    world.agents.jitter(seed);
    for n in 0..nodes {
        world.add_node(&equipped(&format!("n{}", n + 2)));
    }
    let steps = Rc::new(RefCell::new(Steps::default()));
    let followed = steps.clone();
    let mut twins = Twins::default();
    let mut jobs = super::jobs::Jobs::default();
    world.watch_plans(Box::new(move |state, plan| {
        keeps_apart(state, plan);
        followed.borrow_mut().follow(state, plan);
    }));
    let mut all = vec![Event::Create(first), Event::Advance(6)];
    all.extend(events);
    for event in &all {
        world.happen(event, |world| {
            no_more_than_wanted(world);
            no_overcommitment(world);
            jobs.check(world);
            twins.check(world);
            steps.borrow_mut().check(world);
            no_longer_than_the_cap(world);
        });
    }
    world.heal();
    world.advance(Nanos::from_secs(200), no_more_than_wanted);
    comes_to_rest(&world);
    reasons_are_the_nodes_own(&world);
    rollouts_end(&world);
    replays(&world);
}

/// The main property in four parts, which run side by side.
mod any_history_keeps_the_rules {
    use super::*;

    fn try_part(number: u32) {
        let histories = (
            any::<u64>(),
            1..4usize,
            shape(),
            prop::collection::vec(event(), 1..40),
        );
        let mut runner = TestRunner::new(part(2_000, number, 4));
        let tried = runner.run(&histories, |(seed, nodes, first, events)| {
            any_history(seed, nodes, first, events);
            Ok(())
        });
        if let Err(fault) = tried {
            panic!("{fault}");
        }
    }

    #[test]
    fn first() {
        try_part(0);
    }

    #[test]
    fn second() {
        try_part(1);
    }

    #[test]
    fn third() {
        try_part(2);
    }

    #[test]
    fn fourth() {
        try_part(3);
    }
}

/// A service that asks for nothing.
fn plain(replicas: u64) -> Shape {
    Shape {
        global: false,
        job: None,
        replicas,
        start_first: false,
        parallelism: 0,
        delay_s: 0,
        on_failure: "pause",
        ratio: "0",
        condition: "any",
        attempts: 0,
        restart_delay_s: 0,
        cpus: 0,
        max_per_node: 0,
        spread: false,
        generic: 0,
        gpus: 0,
        host_port: false,
        binpack: false,
        apart: false,
        labelled: false,
        near: "",
        deadline_s: 0,
        steps: "",
        max_delay_s: 0,
        rebalance: false,
        depends: None,
    }
}

/// A global service that asks for nothing.
fn plain_global() -> Shape {
    Shape {
        global: true,
        ..plain(0)
    }
}
