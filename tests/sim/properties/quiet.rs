//! What holds while nothing but one thing happens to a cluster.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use swarmr::spec::{Availability, Nanos, ServiceId};
use swarmr::state::Change;
use swarmr::state::command::ServiceChange;
use swarmr::state::service::{Hold, RolloutState};
use swarmr::state::task::{Slot, TaskState};

use super::always::no_more_than_wanted;
use super::live;
use crate::sim::agents::Image;
use crate::sim::history::{Verb, shape};
use crate::sim::rounds::rounds;
use crate::sim::specs::spec;
use crate::sim::world::{Machine, World};

proptest! {
    #![proptest_config(rounds(150))]

    #[test]
    fn an_undisturbed_update_keeps_the_service_up(
        seed in any::<u64>(),
        replicas in 1..9u64,
        mut shape in shape(),
        fails in any::<bool>(),
        crashes in prop::collection::vec(prop::bool::weighted(0.1), 240),
    ) {
        shape.serve(replicas);
        // Slower than jitter makes it, so that only what hangs is late.
        shape.deadline_s = 60;
        let mut world = World::new(seed);
        world.agents.jitter(seed);
        for n in 0..3 {
            world.add_node(&Machine::named(&format!("n{}", n + 2)));
        }
        world.create_service(spec("web", &shape.words()));
        world.advance(Nanos::from_secs(20), |_| {});
        if fails {
            shape.ratio = "0";
            shape.on_failure = if shape.on_failure == "continue" { "pause" } else { shape.on_failure };
            world.agents.set_image("app:2", Image::Fails);
        }
        let id = world.only_service();
        let mut words = shape.words();
        words.insert("image".to_owned(), "app:2".to_owned());
        world.change_service(id, ServiceChange::Spec(spec("web", &words)));
        let allowed = if shape.start_first { 0 } else if shape.parallelism == 0 { replicas } else { shape.parallelism };
        for crash in crashes {
            world.advance(Nanos::from_secs(1), |world| {
                let up = live(&world.state, id).filter(|task| world.agents.runs(task.id)).count() as u64;
                assert!(up + allowed >= replicas, "{up} of {replicas} up, {allowed} may be down");
                within_its_step(world, id);
            });
            let service = world.state.service(id).expect("the service").clone();
            if service.rollout.as_ref().is_some_and(|it| it.hold == Some(Hold::Promotion)) {
                world.steer(&service, Verb::Promote);
            }
            if crash {
                world.crash_leader();
            }
        }
        let service = world.state.service(id).expect("the service");
        let state = service.rollout.as_ref().map(|rollout| rollout.state);
        let expected = match (fails, shape.on_failure) {
            (false, _) => RolloutState::Completed,
            (true, "rollback") => RolloutState::RollbackCompleted,
            (true, _) => RolloutState::Paused,
        };
        prop_assert_eq!(state, Some(expected));
        if expected != RolloutState::Paused {
            let image = &service.spec.task_template.container_spec.image;
            prop_assert_eq!(image, if fails { "app:1" } else { "app:2" });
            for task in live(&world.state, id) {
                prop_assert_eq!(task.spec_version, service.spec_version);
                prop_assert_eq!(task.status.state, TaskState::Running);
            }
        }
    }

    /// A leader that is lost at any moment changes nothing of what becomes of an update.
    #[test]
    fn an_update_is_the_same_whoever_leads(
        seed in any::<u64>(),
        replicas in 1..7u64,
        mut shape in shape(),
        behaviour in prop::sample::select(vec![
            Image::Works, Image::Missing, Image::Fails, Image::Hangs, Image::Crashes(2), Image::Crashes(7),
        ]),
        verbs in prop::collection::vec(
            prop::option::weighted(0.1, prop::sample::select(vec![
                Verb::Promote, Verb::Pause, Verb::Resume, Verb::Restart, Verb::Stop, Verb::Start,
            ])),
            60,
        ),
        crashes in prop::collection::vec(prop::bool::weighted(0.3), 60),
    ) {
        shape.replicas = replicas;
        let run = |crashes: &[bool]| {
            let mut world = World::new(seed);
            for n in 0..3 {
                world.add_node(&Machine::named(&format!("n{}", n + 2)));
            }
            world.agents.set_image("app:2", behaviour);
            world.create_service(spec("web", &shape.words()));
            world.advance(Nanos::from_secs(10), |_| {});
            let id = world.only_service();
            let mut words = shape.words();
            words.insert("image".to_owned(), "app:2".to_owned());
            world.change_service(id, ServiceChange::Spec(spec("web", &words)));
            let mut seen = Vec::new();
            for (verb, crash) in verbs.iter().zip(crashes) {
                if let Some(verb) = verb {
                    let service = world.state.service(id).expect("the service").clone();
                    world.steer(&service, *verb);
                }
                world.advance(Nanos::from_secs(1), |_| {});
                if *crash {
                    world.crash_leader();
                }
                seen.push(outcome(&world, id));
            }
            seen
        };
        prop_assert_eq!(run(&crashes), run(&[false; 60]));
    }

    #[test]
    fn a_drain_keeps_the_service_up(
        seed in any::<u64>(),
        replicas in 1..9u64,
        mut shape in shape(),
        order in prop::collection::vec((0..4usize, any::<bool>()), 1..4),
        crashes in prop::collection::vec(prop::bool::weighted(0.1), 150),
    ) {
        shape.serve(replicas);
        let mut world = World::new(seed);
        world.agents.jitter(seed);
        for n in 0..4 {
            world.add_node(&Machine::named(&format!("n{}", n + 2)));
        }
        world.create_service(spec("web", &shape.words()));
        world.advance(Nanos::from_secs(20), |_| {});
        let id = world.only_service();
        let allowed = if shape.start_first { 0 } else if shape.parallelism == 0 { replicas } else { shape.parallelism };
        let nodes: Vec<_> = world.state.nodes().map(|node| node.id).collect();
        for (node, drain) in &order {
            let to = if *drain { Availability::Drain } else { Availability::Active };
            world.set_availability(nodes[*node], to);
            world.set_availability(nodes[4], Availability::Active);
            world.plan();
            for crash in &crashes[..crashes.len() / order.len()] {
                world.advance(Nanos::from_secs(1), |world| {
                    let up = live(&world.state, id).filter(|task| world.agents.runs(task.id)).count() as u64;
                    assert!(up + allowed >= replicas, "{up} of {replicas} up, {allowed} may be down");
                });
                if *crash {
                    world.crash_leader();
                }
            }
        }
        world.advance(Nanos::from_secs(200), no_more_than_wanted);
        for node in world.state.nodes().filter(|node| node.is_drained()) {
            prop_assert_eq!(world.state.usage(node.id).present, 0, "not drained");
        }
    }

    #[test]
    fn rebalancing_evens_out_and_ends(
        seed in any::<u64>(),
        mut shape in shape(),
        replicas in 1..9u64,
        asked in any::<bool>(),
        zones in prop::collection::vec(any::<bool>(), 4),
        away in prop::collection::vec(any::<bool>(), 4),
    ) {
        shape.serve(replicas);
        shape.binpack = false;
        shape.rebalance = !asked;
        let mut world = World::new(seed);
        world.agents.jitter(seed);
        for (n, zone) in zones.iter().enumerate() {
            let node = world.add_node(&Machine::named(&format!("n{}", n + 2)));
            world.label_node(node, "zone", if *zone { "a" } else { "b" });
        }
        let nodes: Vec<_> = world.state.nodes().map(|node| node.id).collect();
        for (node, away) in nodes[1..].iter().zip(&away) {
            if *away {
                world.set_availability(*node, Availability::Pause);
            }
        }
        world.create_service(spec("web", &shape.words()));
        world.advance(Nanos::from_secs(30), |_| {});
        let id = world.only_service();
        for node in &nodes {
            world.set_availability(*node, Availability::Active);
        }
        if asked {
            world.propose(swarmr::state::Op::Rebalance { service: id });
        }
        let moves = Rc::new(RefCell::new(0));
        let counted = moves.clone();
        world.watch_plans(Box::new(move |_, plan| {
            let moves = |change: &&Change| matches!(change, Change::ReplaceTask { .. });
            *counted.borrow_mut() += plan.changes.iter().filter(moves).count() as u64;
        }));
        let allowed = u64::from(!shape.start_first);
        world.advance(Nanos::from_secs(400), |world| {
            no_more_than_wanted(world);
            let up = live(&world.state, id).filter(|task| world.agents.runs(task.id)).count() as u64;
            assert!(up + allowed >= replicas, "{up} of {replicas} up, {allowed} may be down");
        });
        let done = *moves.borrow();
        // Each task moves once at most: what is uneven at the start is all there is to do.
        prop_assert!(done <= replicas, "{done} moves of {replicas} tasks");
        if !shape.spread {
            even(&world, id);
        }
        world.advance(Nanos::from_secs(400), |_| {});
        prop_assert_eq!(*moves.borrow(), done, "it does not end");
        prop_assert!(!world.state.service(id).expect("the service").rebalance);
    }

    #[test]
    fn tasks_are_spread_within_one(
        seed in any::<u64>(),
        nodes in 0..6usize,
        others in 0..10u64,
        counts in prop::collection::vec(0..20u64, 1..4),
        start_first in any::<bool>(),
    ) {
        let mut world = World::new(seed);
        for n in 0..nodes {
            world.add_node(&Machine::named(&format!("n{}", n + 2)));
        }
        let mut words = crate::sim::specs::Words::new();
        words.insert("replicas".to_owned(), others.to_string());
        world.create_service(spec("other", &words));
        world.advance(Nanos::from_secs(4), |_| {});
        let order = if start_first { "start-first" } else { "stop-first" };
        words.insert("order".to_owned(), order.to_owned());
        words.insert("parallelism".to_owned(), "2".to_owned());
        words.insert("replicas".to_owned(), counts[0].to_string());
        world.create_service(spec("web", &words));
        world.advance(Nanos::from_secs(4), |_| {});
        let web = world.state.find_service("web").expect("the service").id;
        even(&world, web);
        for count in &counts[1..] {
            words.insert("replicas".to_owned(), count.to_string());
            world.change_service(web, ServiceChange::Spec(spec("web", &words)));
            world.advance(Nanos::from_secs(5), |_| {});
            even(&world, web);
        }
        words.insert("image".to_owned(), "app:2".to_owned());
        world.change_service(web, ServiceChange::Spec(spec("web", &words)));
        world.advance(Nanos::from_secs(60), |_| {});
        even(&world, web);
    }
}

/// What an update has come to, without ids and words.
fn outcome(world: &World, service: ServiceId) -> String {
    let found = world.state.service(service).expect("the service");
    let rollout = found.rollout.as_ref().map(|rollout| {
        let hold = rollout.hold.map(|hold| std::mem::discriminant(&hold));
        let counts = (rollout.slots, rollout.failures, rollout.step);
        (rollout.state, counts, hold, rollout.overdue.clone())
    });
    let mut tasks: Vec<String> = live(&world.state, service)
        .map(|task| {
            let image = found
                .spec_at(task.spec_version)
                .map(|spec| &spec.task_template.container_spec.image);
            let (slot, state, restarts) = (task.slot, task.status.state, &task.restarts);
            let counts = (restarts.count, restarts.streak);
            format!("{slot} {image:?} {:?} {state:?} {counts:?}", task.desired)
        })
        .collect();
    tasks.sort();
    let revisions: Vec<_> = found.revisions.iter().map(|it| it.number).collect();
    format!("{rollout:?} {revisions:?} {} {tasks:#?}", found.stopped)
}

/// While an update waits at a step, no more slots have the new spec than the step allows.
fn within_its_step(world: &World, service: ServiceId) {
    let found = world.state.service(service).expect("the service");
    let Some(rollout) = found
        .rollout
        .as_ref()
        .filter(|it| it.state == RolloutState::Updating)
    else {
        return;
    };
    let steps = found.spec.update_steps();
    let Some(step) = usize::try_from(rollout.step)
        .ok()
        .and_then(|at| steps.get(at))
    else {
        return;
    };
    let allowed = step.size.of(found.spec.replicas().unwrap_or(0));
    let new: BTreeSet<Slot> = live(&world.state, service)
        .filter(|task| task.spec_version == rollout.target)
        .map(|task| task.slot)
        .collect();
    assert!(new.len() as u64 <= allowed, "{new:?} at {step}");
}

/// No node has two tasks more than another.
fn even(world: &World, service: ServiceId) {
    let counts: Vec<usize> = world
        .state
        .nodes()
        .map(|node| {
            live(&world.state, service)
                .filter(|task| task.node == Some(node.id))
                .count()
        })
        .collect();
    let (most, least) = (counts.iter().max(), counts.iter().min());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| most - least <= 1),
        "uneven: {counts:?}"
    );
}
