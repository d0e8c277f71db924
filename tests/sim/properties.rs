//! What must hold whatever happens. `rounds` says how many histories are tried.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use swarmr::plan::{Plan, Wait, explain, waits};
use swarmr::spec::{Availability, Nanos, ServiceId, TaskId, UpdateOrder};
use swarmr::state::command::ServiceChange;
use swarmr::state::service::{Hold, RolloutState};
use swarmr::state::task::{DesiredState, NodeRejection, Slot, TaskState, Waiting};
use swarmr::state::{Change, Service, State, Task};

use super::agents::Image;
use super::apart::keeps_apart;
use super::history::{Event, Shape, Verb, equipped, event, shape};
use super::rounds::{part, rounds};
use super::specs::spec;
use super::world::{Machine, World};

pub(super) fn live(state: &State, service: ServiceId) -> impl Iterator<Item = &Task> {
    state
        .tasks_of(service)
        .map(|task| task.as_ref())
        .filter(|task| task.is_wanted() && !task.has_ended())
}

fn starts_first(service: &Service) -> bool {
    service.spec.update_policy().order == UpdateOrder::StartFirst
}

/// Never more slots than replicas, never more tasks in a slot than one, or, start-first, two.
fn no_more_than_wanted(world: &World) {
    for service in world.state.services() {
        let mut slots: BTreeMap<Slot, usize> = BTreeMap::new();
        for task in live(&world.state, service.id) {
            *slots.entry(task.slot).or_default() += 1;
        }
        if let Some(replicas) = service.spec.replicas() {
            assert!(slots.len() as u64 <= replicas, "too many slots: {slots:?}");
        }
        let most = if starts_first(service) { 2 } else { 1 };
        assert!(
            slots.values().all(|tasks| *tasks <= most),
            "too many tasks in a slot: {slots:?}"
        );
    }
}

/// Containers that really run in one slot of a stop-first service: one at most. Those of nodes that
/// were silent, of slots given up and of tasks that had to leave their node at once do not count.
#[derive(Debug, Default)]
struct Twins {
    exempt: BTreeSet<TaskId>,
}

impl Twins {
    fn check(&mut self, world: &World) {
        let mut running: BTreeMap<(ServiceId, Slot), Vec<TaskId>> = BTreeMap::new();
        for task in world.state.tasks() {
            let silent = task
                .node
                .and_then(|node| world.state.node(node))
                .is_none_or(|node| node.is_down());
            let given_up = task.desired == DesiredState::Remove || task.has_ended();
            if silent || given_up {
                self.exempt.insert(task.id);
            }
            let stop_first = world
                .state
                .service(task.service)
                .is_some_and(|service| !starts_first(service));
            if stop_first && world.agents.runs(task.id) && !self.exempt.contains(&task.id) {
                let slot = (task.service, task.slot);
                running.entry(slot).or_default().push(task.id);
            }
        }
        for (slot, tasks) in running {
            assert!(tasks.len() == 1, "twins in {slot:?}: {tasks:?}");
        }
    }
}

/// Nodes are never asked for more than they have.
fn no_overcommitment(world: &World) {
    for node in world.state.nodes() {
        let used = world.state.usage(node.id);
        let has = &node.description;
        assert!(used.nano_cpus <= has.nano_cpus, "node {}", node.id);
        assert!(used.memory_bytes <= has.memory_bytes, "node {}", node.id);
        // Nodes had two at most.
        assert!(used.taken.count("ssd") <= 2, "node {}", node.id);
        let mut devices = BTreeSet::new();
        for task in world
            .state
            .tasks_on(node.id)
            .filter(|task| task.occupies_node())
        {
            for device in task.claims.iter().flat_map(|claims| &claims.devices) {
                let alone = devices.insert((&device.kind, &device.id));
                assert!(alone, "two tasks have {device:?} of node {}", node.id);
            }
        }
        assert!(
            used.host_ports.values().all(|tasks| *tasks <= 1),
            "two tasks have a port of node {}",
            node.id
        );
    }
}

/// Slots that rollouts have taken and whose new tasks have not come to run: never more than the
/// policy allows. Followed from the planner's changes, not by its own reckoning. Only changes of
/// the container count: one of the placement alone cannot be told from a move.
#[derive(Debug, Default)]
struct Steps {
    taken: BTreeSet<TaskId>,
}

impl Steps {
    fn follow(&mut self, state: &State, plan: &Plan) {
        for change in &plan.changes {
            let Change::ReplaceTask { old, new, .. } = change else {
                continue;
            };
            let Some(old) = state.task(*old) else {
                continue;
            };
            // A slot that was given up is in flight no more, whatever follows.
            let given_up = state
                .service(old.service)
                .and_then(|service| service.rollout.as_ref())
                .is_some_and(|rollout| rollout.overdue.contains(&old.slot));
            if given_up {
                self.taken.remove(&old.id);
            }
            let steps = is_step(state, old, new.spec_version) && old.node.is_some();
            // What was in flight still is when its node is lost or another update comes; what has
            // failed is not.
            let in_flight = self.taken.contains(&old.id)
                && old.came_by_a_step()
                && old.running_since.is_none()
                && !old.has_ended();
            if steps || in_flight || new.in_move {
                self.taken.insert(new.id);
            }
        }
    }

    fn check(&mut self, world: &World) {
        for service in world.state.services() {
            let Some(rollout) = &service.rollout else {
                continue;
            };
            for task in live(&world.state, service.id) {
                if rollout.overdue.contains(&task.slot) {
                    self.taken.remove(&task.id);
                }
            }
        }
        let mut in_flight: BTreeMap<ServiceId, Vec<&Task>> = BTreeMap::new();
        for task in world.state.tasks() {
            let waits = task.is_wanted() && !task.has_ended() && task.running_since.is_none();
            if waits && task.came_by_a_step() && self.taken.contains(&task.id) {
                in_flight.entry(task.service).or_default().push(task);
            }
        }
        for (service, tasks) in in_flight {
            let slots: BTreeSet<Slot> = tasks.iter().map(|task| task.slot).collect();
            let service = world.state.service(service).expect("tasks are wanted");
            let limit = service.spec.update_policy().parallelism;
            assert!(
                limit.is_none_or(|limit| slots.len() as u64 <= limit),
                "{} slots in flight, {limit:?} allowed: {tasks:#?} {:#?}",
                slots.len(),
                service.rollout
            );
        }
    }
}

fn is_step(state: &State, old: &Task, version: u64) -> bool {
    let Some(service) = state.service(old.service) else {
        return false;
    };
    let rolls = service
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_active());
    let container = |version| {
        service
            .spec_at(version)
            .map(|spec| spec.task_template.container_spec.clone())
    };
    let restarts = old.spec_version < service.renewed && version >= service.renewed;
    rolls && (restarts || container(old.spec_version) != container(version))
}

/// No restart waits longer than its policy's longest delay.
fn no_longer_than_the_cap(world: &World) {
    for task in world.state.tasks() {
        let Some(service) = world.state.service(task.service) else {
            continue;
        };
        let (Some(start), Some(spec)) = (task.gate.not_before, service.spec_at(task.spec_version))
        else {
            continue;
        };
        let extension = spec.extension().restart.unwrap_or_default();
        let longest = extension.max_delay.unwrap_or(Nanos::from_secs(300));
        // A task that has moved keeps the time, so the wait is never longer than from its making.
        let waits = start - task.meta.created_at;
        assert!(
            waits <= longest,
            "waits {waits}, at most {longest}: {task:#?}"
        );
    }
}

/// With a deadline, no rollout goes on for ever: it is done, or waits for somebody.
fn rollouts_end(world: &World) {
    for service in world.state.services() {
        let Some(rollout) = &service.rollout else {
            continue;
        };
        let policy = if rollout.state.is_rollback() {
            service.spec.rollback_policy()
        } else {
            service.spec.update_policy()
        };
        let ends = policy.progress_deadline.is_some() && !service.stopped;
        let awaits = rollout.hold == Some(Hold::Promotion) || follows(world, service);
        assert!(
            !ends || awaits || !rollout.state.is_active(),
            "goes on for ever: {rollout:#?}"
        );
    }
}

/// Whether a rollout waits for another service, and says so.
fn follows(world: &World, service: &Service) -> bool {
    waits(&world.state, service.id, world.now)
        .iter()
        .any(|wait| matches!(wait, Wait::Dependency(_)))
}

/// With everything well again, each task runs or says why it does not, and no rollout goes on but
/// one that waits for such a task.
fn comes_to_rest(world: &World) {
    for service in world.state.services() {
        super::jobs::rest(world, service);
        let mut waiting = false;
        for task in live(&world.state, service.id) {
            let runs = task.status.state == TaskState::Running;
            assert!(
                runs || task.waiting.is_some(),
                "waits in silence: {task:#?}"
            );
            waiting |= task.waiting.is_some();
        }
        let rolls = service
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.state.is_active());
        let held = follows(world, service)
            || service
                .rollout
                .as_ref()
                .is_some_and(|rollout| rollout.hold.is_some() || rollout.state.is_paused());
        assert!(
            !rolls || waiting || held || service.stopped,
            "hangs: {:#?}",
            service.rollout
        );
        // A run keeps the spec that it was started with.
        let may_stay = waiting || held || service.spec.schedule().is_some();
        let template = |version| service.spec_at(version).map(|spec| &spec.task_template);
        for task in live(&world.state, service.id) {
            let (has, wanted) = (
                template(task.spec_version),
                Some(&service.spec.task_template),
            );
            let same = has.map(|has| &has.container_spec) == wanted.map(|it| &it.container_spec);
            assert!(may_stay || same, "an old task stays: {task:#?}");
        }
        if service.stopped {
            let left = live(&world.state, service.id).count();
            assert_eq!(left, 0, "a stopped service has tasks");
        } else {
            complete(service, world);
        }
    }
}

/// A replicated service has all its slots, but for those whose tasks ended for good.
fn complete(service: &Service, world: &World) {
    let Some(replicas) = service.spec.replicas() else {
        return;
    };
    let slots: BTreeSet<Slot> = world
        .state
        .tasks_of(service.id)
        .filter(|task| task.desired <= DesiredState::Shutdown)
        .map(|task| task.slot)
        .collect();
    assert_eq!(slots.len() as u64, replicas, "slots are missing: {slots:?}");
}

/// What a task that no node takes waits for is what the nodes say when they are asked one by one.
fn reasons_are_the_nodes_own(world: &World) {
    for service in world.state.services() {
        let explanation = explain(&world.state, service.id, world.now);
        for waiting in &explanation.waiting {
            let Waiting::NoSuitableNode(reasons) = &waiting.reason else {
                continue;
            };
            let mut counts: BTreeMap<NodeRejection, u64> = BTreeMap::new();
            for verdict in &waiting.nodes {
                let first = verdict.obstacles.first().expect("no node takes it");
                *counts.entry(first.rejection()).or_default() += 1;
            }
            let said: BTreeMap<NodeRejection, u64> = reasons.iter().copied().collect();
            assert_eq!(counts, said, "{waiting:#?}");
        }
    }
}

/// The same commands make the same state, byte for byte.
fn replays(world: &World) {
    let mut state = State::default();
    for (place, command) in world.log.iter().enumerate() {
        state.apply(place as u64 + 1, command.clone());
    }
    let bytes = |state: &State| state.to_snapshot().expect("a snapshot");
    assert!(bytes(&state) == bytes(&world.state), "a replay differs");
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

/// Histories that once found something.
mod found {
    use super::super::history::JobShape;
    use super::*;

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
}

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
        shape.replicas = replicas;
        shape.global = false;
        shape.job = None;
        shape.condition = "any";
        shape.attempts = 0;
        shape.fit_anywhere();
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
        shape.replicas = replicas;
        shape.global = false;
        shape.job = None;
        shape.condition = "any";
        shape.attempts = 0;
        shape.fit_anywhere();
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
        shape.replicas = replicas;
        shape.global = false;
        shape.condition = "any";
        shape.attempts = 0;
        shape.fit_anywhere();
        (shape.job, shape.binpack, shape.near) = (None, false, "");
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
        let mut words = super::specs::Words::new();
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
