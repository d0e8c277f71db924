//! Choosing nodes for tasks that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use super::neighbours::{Neighbours, value_of};
use super::room;
use super::spread::{Candidate, Marks, Rank, Tree};
use crate::spec::extension::Strategy;
use crate::spec::topology::Topology;
use crate::spec::{Nanos, NetworkId, NodeId, ServiceSpec};
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
    let own = tally(desk, task, node).own;
    let rejection = match desk.state.node(node) {
        Some(node) => needs
            .reject(node, board.usage(node.id), own)
            .or_else(|| neighbours.reject(node)),
        None => Some(NodeRejection::NotAvailable),
    };
    let networks = desk.state.networks_of(spec);
    if let Some(rejection) = rejection {
        let waiting = Waiting::NoSuitableNode(vec![(rejection, 1)]);
        let waiting = room::make(desk, board, (&needs, &neighbours), task, waiting);
        desk.hold(task.id, waiting);
    } else if let Some(network) = board.exhausted_for(&networks, node) {
        desk.hold(task.id, Waiting::AddressesExhausted(network));
    } else {
        desk.assign(task.id, node, board);
    }
}

/// Places tasks of one spec, each on the node that is best by then.
fn place_group(desk: &mut Desk<'_>, board: &mut Board<'_>, tasks: &[Arc<Task>]) {
    let Some(first) = tasks.first() else { return };
    let spec = desk.placing_spec_of(first);
    let networks = desk.state.networks_of(spec);
    let mut field = Field::new(desk, board, spec, first.spec_version);
    for task in tasks {
        match field.choose(board, &networks) {
            Ok((candidate, node)) => {
                desk.assign(task.id, node, board);
                field.placed(board, candidate);
            }
            Err(waiting) => {
                let filters = (&field.needs, &field.neighbours);
                let waiting = room::make(desk, board, filters, task, waiting);
                desk.hold(task.id, waiting);
            }
        }
    }
}

/// The node that is best for one more task of a spec that is to leave another node, or why there is
/// none.
pub(super) fn node_for(
    desk: &Desk<'_>,
    board: &Board<'_>,
    spec_version: u64,
) -> Result<NodeId, Waiting> {
    let spec = desk.service.spec_at(spec_version);
    let spec = spec.unwrap_or(&desk.service.spec);
    let networks = desk.state.networks_of(spec);
    let mut field = Field::new(desk, board, spec, spec_version);
    field.choose(board, &networks).map(|(_, node)| node)
}

/// The nodes as one group of tasks sees them.
#[derive(Debug)]
struct Field<'a> {
    needs: Needs<'a>,
    neighbours: Neighbours<'a>,
    strategy: Strategy,
    nodes: Vec<(&'a Arc<Node>, Tally)>,
    tree: Tree,
    /// The ranks of those in the tree; kept only where placing one task can change all others'.
    ranks: Vec<Option<Rank>>,
    rejected: BTreeMap<NodeRejection, u64>,
    exhausted: Option<NetworkId>,
}

impl<'a> Field<'a> {
    fn new(desk: &Desk<'a>, board: &Board<'_>, spec: &'a ServiceSpec, spec_version: u64) -> Self {
        let levels = levels(spec);
        let tallies = tallies(desk, spec_version);
        let mut field = Self {
            needs: Needs::of(spec),
            neighbours: Neighbours::of(desk, board, spec),
            strategy: spec
                .swarmr
                .as_ref()
                .map_or(Strategy::Spread, |extension| extension.strategy),
            nodes: Vec::new(),
            tree: Tree::new(),
            ranks: Vec::new(),
            rejected: BTreeMap::new(),
            exhausted: None,
        };
        for node in desk.state.nodes() {
            let tally = tallies.get(&node.id).copied().unwrap_or_default();
            // Nodes without the label are a branch of their own.
            let labels: Vec<_> = levels
                .iter()
                .map(|level| value_of(*level, node).unwrap_or_default())
                .collect();
            let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
            let rank = match field.judge(board, node, tally) {
                Ok(rank) => Some(rank),
                Err(rejection) => {
                    field.reject(rejection);
                    None
                }
            };
            // What is to leave its node counts for no branch any more.
            let stays = if node.is_draining(desk.now) {
                0
            } else {
                tally.own
            };
            field.tree.add(&labels, stays, rank);
            field.nodes.push((node, tally));
            if field.neighbours.change() {
                field.ranks.push(rank);
            }
        }
        field
    }

    /// How good a node is for the next task, or why it takes none.
    fn judge(&self, board: &Board<'_>, node: &Node, tally: Tally) -> Result<Rank, NodeRejection> {
        let usage = board.usage(node.id);
        if let Some(rejection) = self.needs.reject(node, usage, tally.own) {
            return Err(rejection);
        }
        if self.neighbours.is_empty() {
            return Ok(tally.marks(node, usage, 0).rank(self.strategy));
        }
        match self.neighbours.reject(node) {
            Some(rejection) => Err(rejection),
            None => {
                let dislike = self.neighbours.dislike(node);
                Ok(tally.marks(node, usage, dislike).rank(self.strategy))
            }
        }
    }

    /// The best node, taken out of the field, or why there is none.
    fn choose(
        &mut self,
        board: &Board<'_>,
        networks: &[NetworkId],
    ) -> Result<(Candidate, NodeId), Waiting> {
        if let Some(network) = board.exhausted(networks) {
            return Err(Waiting::AddressesExhausted(network));
        }
        while let Some(candidate) = self.tree.pop() {
            let node = self.nodes[candidate].0.id;
            match board.exhausted_for(networks, node) {
                // Addresses only get fewer, so this node is out for all the group's tasks.
                Some(network) => self.exhausted = Some(network),
                None => return Ok((candidate, node)),
            }
        }
        Err(match self.exhausted {
            Some(network) => Waiting::AddressesExhausted(network),
            None => Waiting::NoSuitableNode(self.rejections()),
        })
    }

    /// A task was put on a chosen node, which may or may not take another.
    fn placed(&mut self, board: &Board<'_>, candidate: Candidate) {
        let (node, tally) = &mut self.nodes[candidate];
        tally.own += 1;
        tally.counted += 1;
        let (node, tally) = (*node, *tally);
        self.tree.count(candidate, 1);
        if self.neighbours.change() {
            self.neighbours.placed(node);
            self.ranks[candidate] = None;
            self.refresh(board, candidate);
        } else {
            match self.judge(board, node, tally) {
                Ok(rank) => self.tree.put(candidate, rank),
                Err(rejection) => self.reject(rejection),
            }
        }
    }

    /// Judges those nodes anew on which the rules may say something else now.
    fn refresh(&mut self, board: &Board<'_>, placed: Candidate) {
        let (on, _) = self.nodes[placed];
        for candidate in 0..self.nodes.len() {
            let (node, tally) = self.nodes[candidate];
            let had = self.ranks[candidate];
            let concerned = candidate == placed || had.is_some();
            if !concerned || !self.neighbours.tells_on(on, node) && candidate != placed {
                continue;
            }
            if let Some(rank) = had {
                self.tree.remove(candidate, rank);
            }
            self.ranks[candidate] = match self.judge(board, node, tally) {
                Ok(rank) => {
                    self.tree.put(candidate, rank);
                    Some(rank)
                }
                Err(rejection) => {
                    self.reject(rejection);
                    None
                }
            };
        }
    }

    fn reject(&mut self, rejection: NodeRejection) {
        *self.rejected.entry(rejection).or_default() += 1;
    }

    /// Most frequent first.
    fn rejections(&self) -> Vec<(NodeRejection, u64)> {
        let mut counts: Vec<(NodeRejection, u64)> = self
            .rejected
            .iter()
            .map(|(rejection, count)| (*rejection, *count))
            .collect();
        counts.sort_by_key(|(rejection, count)| (std::cmp::Reverse(*count), *rejection));
        counts
    }
}

/// What a service has on one node.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Wanted tasks, but those that a newer one is about to take the place of.
    own: u64,
    /// Tasks that the board counts as active.
    counted: u64,
    /// Recent failures of the spec that is being placed.
    failures: u64,
}

impl Tally {
    fn marks(self, node: &Node, usage: &Usage, dislike: i64) -> Marks {
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

    fn count(&mut self, desk: &Desk<'_>, task: &Task, spec_version: u64) {
        self.counted += u64::from(is_counted(desk, task));
        if task.is_wanted() && !task.has_ended() && !is_on_its_way_out(desk, task) {
            self.own += 1;
        }
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
fn is_counted(desk: &Desk<'_>, task: &Task) -> bool {
    match desk.state.task(task.id).filter(|was| was.node.is_some()) {
        Some(was) => was.is_wanted() && !was.has_ended() && !task.has_ended(),
        None => true,
    }
}

/// Start-first: a newer task of the slot is there already.
pub(super) fn is_on_its_way_out(desk: &Desk<'_>, task: &Task) -> bool {
    desk.in_slot(task.slot)
        .rev()
        .take_while(|newer| newer.id != task.id)
        .any(|newer| newer.is_wanted() && !newer.has_ended())
}

fn tallies(desk: &Desk<'_>, spec_version: u64) -> BTreeMap<NodeId, Tally> {
    let mut tallies: BTreeMap<NodeId, Tally> = BTreeMap::new();
    for task in desk.tasks() {
        if let Some(node) = task.node {
            let tally = tallies.entry(node).or_default();
            tally.count(desk, task, spec_version);
        }
    }
    tallies
}

/// What there is on the one node of a global service's slot. Runs of a job that go on side by side
/// share it.
fn tally(desk: &Desk<'_>, placed: &Task, node: NodeId) -> Tally {
    let runs = desk.job.iter().flat_map(|job| job.live_runs());
    let of_runs = runs.map(|run| Slot::RunOnNode {
        run: run.number,
        node,
    });
    let mut tally = Tally::default();
    for slot in of_runs
        .filter(|slot| *slot != placed.slot)
        .chain([placed.slot])
    {
        for task in desk.in_slot(slot).filter(|task| task.node == Some(node)) {
            tally.count(desk, task, placed.spec_version);
        }
    }
    tally
}

/// The service's tasks that count against the limit per node, by node.
pub(super) fn own_by_node(desk: &Desk<'_>) -> BTreeMap<NodeId, u64> {
    let tallies = tallies(desk, desk.service.spec_version).into_iter();
    tallies.map(|(node, tally)| (node, tally.own)).collect()
}

/// The service's tasks on a node that count against the limit per node.
pub(super) fn own_on(desk: &Desk<'_>, node: NodeId) -> u64 {
    let mut tally = Tally::default();
    for task in desk.tasks().filter(|task| task.node == Some(node)) {
        tally.count(desk, task, 0);
    }
    tally.own
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
fn free_share(node: &Node, usage: &Usage) -> i64 {
    const WHOLE: i64 = 10_000;
    let share = |has: i64, used: i64| {
        let left = has.saturating_sub(used).max(0);
        left.saturating_mul(WHOLE).checked_div(has).unwrap_or(WHOLE)
    };
    let has = &node.description;
    share(has.nano_cpus, usage.nano_cpus) + share(has.memory_bytes, usage.memory_bytes)
}
