//! What holds at every moment of a history.

use std::collections::{BTreeMap, BTreeSet};

use swarmr::plan::Plan;
use swarmr::spec::{Nanos, ServiceId, TaskId, UpdateOrder};
use swarmr::state::task::{DesiredState, Slot};
use swarmr::state::{Change, Service, State, Task};

use super::live;
use crate::sim::world::World;

fn starts_first(service: &Service) -> bool {
    service.spec.update_policy().order == UpdateOrder::StartFirst
}

/// Never more slots than replicas, never more tasks in a slot than one, or, start-first, two.
pub(super) fn no_more_than_wanted(world: &World) {
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
pub(super) struct Twins {
    exempt: BTreeSet<TaskId>,
}

impl Twins {
    pub(super) fn check(&mut self, world: &World) {
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
pub(super) fn no_overcommitment(world: &World) {
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
pub(super) struct Steps {
    taken: BTreeSet<TaskId>,
}

impl Steps {
    pub(super) fn follow(&mut self, state: &State, plan: &Plan) {
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

    pub(super) fn check(&mut self, world: &World) {
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
pub(super) fn no_longer_than_the_cap(world: &World) {
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
