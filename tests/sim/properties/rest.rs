//! What holds once everything has been well for a while.

use std::collections::{BTreeMap, BTreeSet};

use swarmr::plan::{Wait, explain, waits};
use swarmr::state::service::Hold;
use swarmr::state::task::{DesiredState, NodeRejection, Slot, TaskState, Waiting};
use swarmr::state::{Service, State};

use super::live;
use crate::sim::world::World;

/// With a deadline, no rollout goes on for ever: it is done, or waits for somebody.
pub(super) fn rollouts_end(world: &World) {
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
pub(super) fn comes_to_rest(world: &World) {
    for service in world.state.services() {
        crate::sim::jobs::rest(world, service);
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
pub(super) fn reasons_are_the_nodes_own(world: &World) {
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
pub(super) fn replays(world: &World) {
    let mut state = State::default();
    for (place, command) in world.log.iter().enumerate() {
        state.apply(place as u64 + 1, command.clone());
    }
    let bytes = |state: &State| state.to_snapshot().expect("a snapshot");
    assert!(bytes(&state) == bytes(&world.state), "a replay differs");
}
