//! Histories that once found something.

use swarmr::spec::Nanos;

use super::rest::comes_to_rest;
use super::{any_history, plain, plain_global};
use crate::sim::agents::Image;
use crate::sim::history::{Event, JobShape, Shape, equipped};
use crate::sim::world::World;

/// A drained node's vacant slot of a global service was a slot of its update's steps, for as
/// long as tasks of others were on the node.
#[test]
fn a_vacant_slot_on_a_drained_node_is_none() {
    let first = Shape {
        start_first: true,
        apart: true,
        ..plain(3)
    };
    let global = Shape {
        global: true,
        steps: "1,60%",
        ..plain(0)
    };
    let events = [
        Event::Drain(0, 2),
        Event::Update(0, 1),
        Event::Create(global),
        Event::RemoveService(2),
        Event::Update(0, 2),
        Event::Advance(1),
    ];
    any_history(9_021_170_723_579_250_079, 2, first, events.to_vec());
}

/// Where a slot's old and new task lost their node together, each was given a successor.
#[test]
fn of_two_that_lose_their_node_one_goes_on() {
    let first = Shape {
        start_first: true,
        apart: true,
        ..plain(1)
    };
    let events = [Event::Update(0, 2), Event::NodeDown(4)];
    any_history(0, 3, first, events.to_vec());
}

/// The same where both had failed before anybody could look.
#[test]
fn of_two_that_have_failed_one_goes_on() {
    let first = Shape {
        start_first: true,
        apart: true,
        ..plain(1)
    };
    let events = [
        Event::Update(0, 4),
        Event::Behave(4, Image::Missing),
        Event::Fail(0),
        Event::CrashHalfway(0),
        Event::Fail(0),
    ];
    any_history(0, 1, first, events.to_vec());
}

/// A task that the wanted spec does not ask for any more is bound to its own constraints again.
#[test]
fn a_change_of_the_spec_can_misplace_tasks() {
    let job = JobShape {
        concurrent: 1,
        concurrency: Some("allow"),
        history: 0,
    };
    let first = Shape {
        job: Some(job),
        ..plain(1)
    };
    let events = [
        Event::Constrain(0, true),
        Event::Jump(34),
        Event::Constrain(0, false),
        Event::LabelNode(0, false),
        Event::Update(0, 2),
    ];
    any_history(0, 1, first, events.to_vec());
}

/// Lets these things happen to two nodes; all must come to rest.
fn happen_on_two_nodes(events: &[Event]) {
    let mut world = World::new(0);
    world.agents.jitter(0);
    world.add_node(&equipped("n2"));
    for event in events {
        world.happen(event, |_| {});
    }
    world.heal();
    world.advance(Nanos::from_secs(200), |_| {});
    comes_to_rest(&world);
}

/// Found by the histories: a service that waits for a neighbour is looked at as soon as there is
/// one, and not only once the leader rests.
#[test]
fn a_neighbour_is_seen_at_once() {
    let first = Shape {
        cpus: 3,
        gpus: 1,
        ..plain_global()
    };
    let second = Shape {
        cpus: 3,
        labelled: true,
        ..plain_global()
    };
    let third = Shape {
        near: "required",
        ..plain_global()
    };
    happen_on_two_nodes(&[
        Event::Create(first),
        Event::Advance(6),
        Event::Create(second),
        Event::Create(third),
        Event::NodeDown(2),
        Event::LabelNode(0, false),
    ]);
}

/// Found by the histories: what a task waits for is another thing once its neighbour is told to go.
#[test]
fn a_neighbour_that_goes_is_missed_at_once() {
    let labelled = Shape {
        host_port: true,
        labelled: true,
        ..plain_global()
    };
    let near = Shape {
        global: false,
        replicas: 1,
        cpus: 3,
        near: "required",
        ..plain_global()
    };
    happen_on_two_nodes(&[
        Event::Create(labelled),
        Event::Advance(6),
        Event::Create(near),
        Event::LabelNode(0, false),
        Event::Update(1, 2),
        Event::Update(2, 2),
    ]);
}
