//! Moving tasks from the fullest nodes to the emptiest, once asked for or where a service wants it
//! always.
//!
//! One task of a service at a time, only while all of its slots serve and nothing else is changing
//! them. A move must make the spread better by the first level of the placement preferences at
//! which the two nodes differ, or else between the nodes themselves, by two tasks at least: so
//! every move lowers the unevenness of that level and leaves the levels above it as they are, and
//! moving ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use super::neighbours::{Neighbours, value_of};
use super::{moves, place, rollout};
use crate::spec::extension::{Extension, Rebalance, Strategy};
use crate::spec::{Mode, Nanos, NodeId, Timestamp};
use crate::state::service::Rollout;
use crate::state::task::{DesiredState, Slot, TaskState};
use crate::state::{Change, Node, Task};

/// How long a node must have taken tasks before any is moved to it unasked: one that comes and goes
/// gets nothing.
const QUIET: Nanos = Nanos::from_secs(60);
/// Between one move of a service and the next: twelve a minute at most.
const PACE: Nanos = Nanos::from_secs(5);
/// For how long nothing of a service is moved after a move that failed.
const AFTER_FAILURE: Nanos = Nanos::from_secs(60);

/// Takes the next move, if there is one to be taken now.
pub(super) fn step(desk: &mut Desk<'_>, board: &mut Board<'_>, slots: &[Slot]) {
    let extension = desk.service.spec.swarmr.as_ref();
    let always = extension.is_some_and(|it| it.rebalance == Some(Rebalance::Auto));
    let asked = desk.service.rebalance;
    if !(always || asked) || !matches!(desk.service.spec.mode, Mode::Replicated(_)) {
        return;
    }
    let Some(running) = all_serving(desk, slots) else {
        return;
    };
    if let Some(until) = paused_until(desk) {
        return desk.wake(until);
    }
    let best = if extension.is_none_or(wants_spread) {
        Nodes::of(desk, board, &running, asked).best(desk)
    } else {
        None
    };
    match best {
        Some((from, to)) => {
            if let Some(task) = running.iter().rev().find(|task| task.node == Some(from)) {
                let order = rollout::policy(desk).order;
                moves::take_place(desk, board, task, to, order);
            }
        }
        None if asked => desk.note(Change::EndRebalance {
            service: desk.service.id,
        }),
        None => {}
    }
}

/// Whether evenness is what the service wants: not where its tasks are to fill nodes up, or to be
/// near to others.
fn wants_spread(extension: &Extension) -> bool {
    extension.strategy == Strategy::Spread && extension.affinities.is_empty()
}

/// The one task of each slot, if each has one that runs where it may stay, and no rollout is under
/// way or paused.
fn all_serving(desk: &Desk<'_>, slots: &[Slot]) -> Option<Vec<Arc<Task>>> {
    let rollout = desk.rollout.as_ref();
    if rollout.is_some_and(Rollout::is_unfinished) {
        return None;
    }
    slots
        .iter()
        .map(|slot| {
            let wanted = desk.wanted(*slot);
            let [task] = wanted.as_slice() else {
                return None;
            };
            let node = task.node.and_then(|node| desk.state.node(node))?;
            let serves = task.desired == DesiredState::Running
                && task.status.state == TaskState::Running
                && node.keeps_tasks(desk.now)
                && !node.is_drained();
            serves.then(|| task.clone())
        })
        .collect()
}

/// Until when nothing is moved after the last move.
fn paused_until(desk: &Desk<'_>) -> Option<Timestamp> {
    let delay = rollout::policy(desk).delay;
    let pace = if delay > PACE { delay } else { PACE };
    desk.tasks()
        .filter(|task| task.in_move)
        .filter_map(|task| {
            if task.ended_by_itself() {
                return Some(task.status.applied_at + AFTER_FAILURE);
            }
            Some(task.running_since? + pace)
        })
        .max()
        .filter(|until| *until > desk.now)
}

/// A node as rebalancing sees it.
#[derive(Debug)]
struct Place<'a> {
    node: NodeId,
    /// Its labels at each level of the placement preferences.
    labels: Vec<Cow<'a, str>>,
    tasks: u64,
    takes: bool,
    /// When it may be moved to unasked, if that is still to come.
    quiet_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Nodes<'a> {
    places: Vec<Place<'a>>,
}

impl<'a> Nodes<'a> {
    fn of(desk: &Desk<'a>, board: &Board<'_>, running: &[Arc<Task>], asked: bool) -> Self {
        let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
        for node in running.iter().filter_map(|task| task.node) {
            *counts.entry(node).or_default() += 1;
        }
        let spec = &desk.service.spec;
        let (needs, levels) = (Needs::of(spec), place::levels(spec));
        let neighbours = Neighbours::of(desk, board, spec);
        let networks = desk.state.networks_of(spec);
        let place = |node: &'a Arc<Node>| {
            let tasks = counts.get(&node.id).copied().unwrap_or(0);
            let quiet_at = node.takes_tasks_since() + QUIET;
            let fits = needs.reject(node, board.usage(node.id), tasks).is_none()
                && neighbours.reject(node).is_none()
                && board.exhausted_for(&networks, node.id).is_none();
            let quiet_at = Some(quiet_at).filter(|at| !asked && *at > desk.now);
            Place {
                node: node.id,
                labels: levels
                    .iter()
                    .map(|level| value_of(*level, node).unwrap_or_default())
                    .collect(),
                tasks,
                takes: fits,
                quiet_at,
            }
        };
        Self {
            places: desk.state.nodes().map(place).collect(),
        }
    }

    /// From where to where the next task moves; `None` when the service is even, or will be looked
    /// at again when a node has been quiet for long enough.
    fn best(mut self, desk: &mut Desk<'_>) -> Option<(NodeId, NodeId)> {
        let places: Vec<&Place<'_>> = self.places.iter().collect();
        let (from, to) = improve(&places, 0)?;
        let quiet_at = self.places.iter().find(|it| it.node == to)?.quiet_at;
        if quiet_at.is_none() {
            return Some((from, to));
        }
        // The first of those that are still to be quiet may do before this one is.
        let open = self.places.iter().filter(|place| place.takes);
        if let Some(first) = open.filter_map(|place| place.quiet_at).min() {
            desk.wake(first);
        }
        // Until then the others may gain from each other.
        for place in &mut self.places {
            place.takes &= place.quiet_at.is_none();
        }
        let places: Vec<&Place<'_>> = self.places.iter().collect();
        improve(&places, 0)
    }
}

/// The move that makes these nodes most even: between the branches of this level, or else within
/// one of them.
fn improve(places: &[&Place<'_>], level: usize) -> Option<(NodeId, NodeId)> {
    let branches = branches(places, level);
    let tasks = |branch: &[&Place<'_>]| branch.iter().map(|place| place.tasks).sum::<u64>();
    let fullest = branches.iter().max_by_key(|branch| tasks(branch))?;
    let emptiest = branches
        .iter()
        .filter(|branch| branch.iter().any(|place| place.takes))
        .min_by_key(|branch| tasks(branch))?;
    if tasks(fullest) >= tasks(emptiest) + 2 {
        return Some((donor(fullest)?, receiver(emptiest, level + 1)?));
    }
    // A branch of one node has nothing within.
    let within = |branch: &Vec<&Place<'_>>| {
        (branch.len() > 1)
            .then(|| improve(branch, level + 1))
            .flatten()
    };
    branches.iter().find_map(within)
}

/// The nodes by their label at that level; below the last level each is its own.
fn branches<'p, 'a>(places: &[&'p Place<'a>], level: usize) -> Vec<Vec<&'p Place<'a>>> {
    let mut by_label: BTreeMap<&str, Vec<&Place<'_>>> = BTreeMap::new();
    let mut alone = Vec::new();
    for place in places {
        match place.labels.get(level) {
            Some(label) => by_label.entry(label.as_ref()).or_default().push(place),
            None => alone.push(vec![*place]),
        }
    }
    by_label.into_values().chain(alone).collect()
}

/// The fullest node.
fn donor(places: &[&Place<'_>]) -> Option<NodeId> {
    let fullest = places.iter().max_by_key(|place| place.tasks)?;
    (fullest.tasks > 0).then_some(fullest.node)
}

/// The emptiest node that takes tasks, in the emptiest branch of each level.
fn receiver(places: &[&Place<'_>], level: usize) -> Option<NodeId> {
    if let [place] = places {
        return place.takes.then_some(place.node);
    }
    let branches = branches(places, level);
    let emptiest = branches
        .iter()
        .filter(|branch| branch.iter().any(|place| place.takes))
        .min_by_key(|branch| branch.iter().map(|place| place.tasks).sum::<u64>())?;
    receiver(emptiest, level + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places<'a>(nodes: &[(&'a [&'a str], u64, bool)]) -> Vec<Place<'a>> {
        let place = |(n, (labels, tasks, takes)): (usize, &(&'a [&'a str], u64, bool))| Place {
            node: NodeId::from_bits(n as u128),
            labels: labels.iter().map(|label| Cow::Borrowed(*label)).collect(),
            tasks: *tasks,
            takes: *takes,
            quiet_at: None,
        };
        nodes.iter().enumerate().map(place).collect()
    }

    /// Moves until there is nothing to move; how many moves, and what each node has then.
    fn settle(mut places: Vec<Place<'_>>) -> (u64, Vec<u64>) {
        let mut moves = 0;
        while let Some((from, to)) = improve(&places.iter().collect::<Vec<_>>(), 0) {
            moves += 1;
            assert!(moves < 1_000, "no end");
            for place in &mut places {
                place.tasks -= u64::from(place.node == from);
                place.tasks += u64::from(place.node == to);
            }
        }
        (moves, places.iter().map(|place| place.tasks).collect())
    }

    #[test]
    fn moves_go_from_the_fullest_to_the_emptiest_until_they_differ_by_one() {
        let none: &[&str] = &[];
        type Row = (&'static [(u64, bool)], u64, &'static [u64]);
        let rows: [Row; 4] = [
            (&[(6, true), (0, true), (0, true)], 4, &[2, 2, 2]),
            (&[(3, true), (2, true)], 0, &[3, 2]),
            // A node that takes none keeps what it has and may give.
            (&[(5, false), (1, true)], 2, &[3, 3]),
            (&[(1, true), (0, false), (5, true)], 2, &[3, 0, 3]),
        ];
        for (nodes, moves, even) in rows {
            let nodes: Vec<_> = nodes.iter().map(|(n, takes)| (none, *n, *takes)).collect();
            assert_eq!(settle(places(&nodes)), (moves, even.to_vec()));
        }
    }

    #[test]
    fn branches_come_before_their_nodes() {
        let (a, b): (&[&str], &[&str]) = (&["a"], &["b"]);
        // Zone b has one node only: it gets half of all, and no move takes that back.
        let (moves, even) = settle(places(&[(a, 4, true), (a, 4, true), (b, 0, true)]));
        assert_eq!((moves, even), (4, vec![2, 2, 4]));
        let (moves, even) = settle(places(&[(a, 4, true), (a, 0, true), (b, 4, true)]));
        assert_eq!((moves, even), (2, vec![2, 2, 4]));
    }
}
