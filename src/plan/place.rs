//! Choosing nodes for tasks that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::desk::Desk;
use super::field::Field;
use super::filters::Needs;
use super::neighbours::Neighbours;
use super::room;
use super::spread::Marks;
use crate::spec::by_id::ById;
use crate::spec::topology::Topology;
use crate::spec::{Nanos, NodeId, ServiceSpec};
use crate::state::task::{NodeRejection, Slot, Waiting};
use crate::state::{Node, Task, Usage};

/// Failures of a spec on a node count against it from this many on,
const FAILURES: u64 = 5;
/// if they are no older than this.
const FAILURES_WITHIN: Nanos = Nanos::from_secs(5 * 60);

/// Gives nodes to the service's tasks that have none; says why where there is no node.
pub(super) fn place(desk: &mut Desk<'_>, board: &mut Board<'_>) {
    let mut groups: BTreeMap<u64, Vec<Arc<Task>>> = BTreeMap::new();
    let mut fixed = Vec::new();
    for task in desk.tasks().filter(|task| task.is_unplaced()) {
        match task.slot.node() {
            None => groups
                .entry(task.spec_version)
                .or_default()
                .push(task.clone()),
            Some(node) => fixed.push((node, task.clone())),
        }
    }
    for (node, task) in fixed {
        place_on(desk, board, &task, node);
    }
    for mut tasks in groups.into_values() {
        tasks.sort_by_key(|task| (task.slot, task.id));
        place_group(desk, board, &tasks);
    }
}

/// Places a task that can be on one node only.
fn place_on(desk: &mut Desk<'_>, board: &mut Board<'_>, task: &Task, node: NodeId) {
    let spec = desk.placing_spec_of(task);
    let (needs, neighbours) = (Needs::of(spec), Neighbours::of(desk, board, spec));
    let own = own_beside(desk, task, node);
    let rejection = match desk.state.node(node) {
        Some(node) => needs
            .reject(node, board.usage(node.id), own)
            .or_else(|| neighbours.reject(node)),
        None => Some(NodeRejection::NotAvailable),
    };
    let demand = desk.demand(task.spec_version);
    let networks = &demand.networks;
    if let Some(rejection) = rejection {
        let waiting = Waiting::NoSuitableNode(vec![(rejection, 1)]);
        let waiting = room::make(desk, board, (&needs, &neighbours), task, waiting);
        desk.hold(task.id, waiting);
    } else if let Some(network) = board.exhausted_for(networks, node) {
        desk.hold(task.id, Waiting::AddressesExhausted(network));
    } else {
        desk.assign(task.id, node, board);
    }
}

/// Places tasks of one spec, each on the node that is best by then.
fn place_group(desk: &mut Desk<'_>, board: &mut Board<'_>, tasks: &[Arc<Task>]) {
    let Some(first) = tasks.first() else { return };
    let spec = desk.placing_spec_of(first);
    let demand = desk.demand(first.spec_version);
    let mut field = Field::new(desk, board, spec, first.spec_version);
    for task in tasks {
        match field.choose(board, &demand.networks) {
            Ok((candidate, node, rank)) => {
                desk.assign(task.id, node, board);
                field.placed(board, candidate, rank);
            }
            Err(waiting) => {
                let filters = (&field.needs, &field.neighbours);
                let waiting = room::make(desk, board, filters, task, waiting);
                desk.hold(task.id, waiting);
            }
        }
    }
    field.close(board);
}

/// The node that is best for one more task of a spec that is to leave another node, or why there is
/// none.
pub(super) fn node_for(
    desk: &Desk<'_>,
    board: &mut Board<'_>,
    spec_version: u64,
) -> Result<NodeId, Waiting> {
    let spec = desk.service.spec_at(spec_version);
    let spec = spec.unwrap_or(&desk.service.spec);
    let networks = desk.state.networks_of(spec);
    let mut field = Field::new(desk, board, spec, spec_version);
    let found = field.choose(board, &networks).map(|(_, node, _)| node);
    field.close(board);
    found
}

/// What a service has on one node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Wanted tasks, but those that a newer one is about to take the place of.
    pub(super) own: u64,
    /// Tasks that the board counts as active.
    pub(super) counted: u64,
    /// Recent failures of the spec that is being placed.
    failures: u64,
}

impl Tally {
    /// What a node is ranked by, with that on it.
    pub(super) fn marks(self, node: &Node, usage: &Usage, dislike: i64) -> Marks {
        Marks {
            failures: if self.failures >= FAILURES {
                self.failures
            } else {
                0
            },
            dislike,
            own: self.own,
            others: usage.active.saturating_sub(self.counted),
            free: free_share(node, usage),
        }
    }

    fn count(
        &mut self,
        desk: &Desk<'_>,
        (task, before): (&Task, Option<&Arc<Task>>),
        spec_version: u64,
    ) {
        self.counted += u64::from(is_counted(task, before));
        self.own += u64::from(holds_place(desk, task));
        if task.has_failed()
            && task.spec_version == spec_version
            && desk.now - task.status.applied_at <= FAILURES_WITHIN
        {
            self.failures += 1;
        }
    }
}

/// Whether the board counts a task as active: it did in the state and was not ended by this look,
/// or it was placed by this look.
fn is_counted(task: &Task, before: Option<&Arc<Task>>) -> bool {
    match before.filter(|was| was.node.is_some()) {
        Some(was) => was.is_wanted() && !was.has_ended() && !task.has_ended(),
        None => true,
    }
}

/// Start-first: a newer task of the slot is there already.
pub(super) fn is_on_its_way_out(desk: &Desk<'_>, task: &Task) -> bool {
    // One that is alone in its slot has no newer one.
    desk.is_restless(task.slot)
        && desk
            .in_slot(task.slot)
            .rev()
            .take_while(|newer| newer.id != task.id)
            .any(|newer| newer.is_wanted() && !newer.has_ended())
}

/// What the service has on nodes, and which those are.
pub(super) fn tallies(desk: &Desk<'_>, spec_version: u64) -> (ById<NodeId, Tally>, Vec<NodeId>) {
    let (mut tallies, mut on) = (ById::<NodeId, Tally>::default(), Vec::new());
    for (task, before) in desk.tasks_before() {
        if let Some(node) = task.node {
            let new = || {
                on.push(node);
                Tally::default()
            };
            let tally = tallies.get_or_insert_with(node, new);
            tally.count(desk, (task, before), spec_version);
        }
    }
    (tallies, on)
}

/// The tasks that count against the limit on the one node of a global service's slot. Runs of a job
/// that go on side by side share it.
fn own_beside(desk: &Desk<'_>, placed: &Task, node: NodeId) -> u64 {
    let runs = desk.job.iter().flat_map(|job| job.live_runs());
    let of_runs = runs.map(|run| Slot::RunOnNode {
        run: run.number,
        node,
    });
    let slots = of_runs
        .filter(|slot| *slot != placed.slot)
        .chain([placed.slot]);
    let there = slots
        .flat_map(|slot| desk.in_slot(slot))
        .filter(|task| task.node == Some(node));
    there.filter(|task| holds_place(desk, task)).count() as u64
}

/// Whether a task counts against the limit per node.
fn holds_place(desk: &Desk<'_>, task: &Task) -> bool {
    task.is_wanted() && !task.has_ended() && !is_on_its_way_out(desk, task)
}

/// The service's tasks that count against the limit per node, by node.
pub(super) fn own_by_node(desk: &Desk<'_>) -> BTreeMap<NodeId, u64> {
    let mut own: BTreeMap<NodeId, u64> = BTreeMap::new();
    for task in desk.tasks() {
        if let Some(node) = task.node {
            *own.entry(node).or_default() += u64::from(holds_place(desk, task));
        }
    }
    own
}

/// The service's tasks on a node that count against the limit per node.
pub(super) fn own_on(desk: &Desk<'_>, node: NodeId) -> u64 {
    let there = desk.tasks().filter(|task| task.node == Some(node));
    there.filter(|task| holds_place(desk, task)).count() as u64
}

/// The levels of placement preferences. A descriptor that names no label divides nothing.
pub(super) fn levels(spec: &ServiceSpec) -> Vec<Topology<'_>> {
    let placement = spec.task_template.placement.as_ref();
    placement
        .iter()
        .flat_map(|placement| &placement.preferences)
        .filter_map(|preference| preference.spread.as_ref())
        .filter_map(|spread| Topology::parse(&spread.spread_descriptor))
        .collect()
}

/// What of a node's CPUs and memory is left to reserve, each in parts of ten thousand.
fn free_share(node: &Node, usage: &Usage) -> i32 {
    const WHOLE: i32 = 10_000;
    let share = |has: i64, used: i64| {
        let left = has.saturating_sub(used).max(0);
        let share = left.saturating_mul(i64::from(WHOLE)).checked_div(has);
        let share = share.and_then(|share| i32::try_from(share).ok());
        share.unwrap_or(WHOLE)
    };
    let has = &node.description;
    share(has.nano_cpus, usage.nano_cpus) + share(has.memory_bytes, usage.memory_bytes)
}
