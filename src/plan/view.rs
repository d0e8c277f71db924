//! Candidates kept from one look to the next, so that a task is placed without a look at all nodes.
//!
//! A view ranks the nodes that specs of one kind may be put on, as for a service that has nothing
//! there yet. A look borrows it, puts in what its own service has on nodes, and gives it back as it
//! was. What changed on nodes in between is read from the journals of the state and of the board.

use std::sync::Arc;

use super::board::Board;
use super::filters::{Needs, has_room};
use super::neighbours::value_of;
use super::place::{Tally, levels};
use super::spread::{Candidate, Leaf, Rank, Tree};
use crate::spec::by_id::ById;
use crate::spec::extension::Strategy;
use crate::spec::service::Placement;
use crate::spec::{NodeId, ServiceSpec};
use crate::state::usage::Reserved;
use crate::state::{Node, State};

/// Views that are kept; the one that was not used for the longest time goes first.
const KEPT: usize = 64;

/// What specs have in common that can share a view.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Kind {
    placement: Option<Placement>,
    reserved: Reserved,
    strategy: Strategy,
}

impl Kind {
    pub(super) fn of(spec: &ServiceSpec) -> Self {
        Self {
            placement: spec.task_template.placement.clone(),
            reserved: Reserved::of(spec),
            strategy: strategy_of(spec),
        }
    }
}

pub(super) fn strategy_of(spec: &ServiceSpec) -> Strategy {
    let extension = spec.swarmr.as_ref();
    extension.map_or(Strategy::default(), |extension| extension.strategy)
}

/// The views of one leadership.
#[derive(Debug, Clone, Default)]
pub(super) struct Views {
    /// The one used last is the last.
    views: Vec<View>,
    /// Counts the passes.
    pass: u64,
}

impl Views {
    /// What boards said so far may not have come to be.
    pub(super) const fn begin_pass(&mut self) {
        self.pass += 1;
    }

    pub(super) fn take(&mut self, kind: &Kind) -> View {
        let place = self.views.iter().rposition(|view| view.kind == *kind);
        let mut view = match place {
            Some(place) => self.views.remove(place),
            None => View {
                kind: kind.clone(),
                ..View::default()
            },
        };
        if view.pass != self.pass {
            view.pass = self.pass;
            view.journal_seen = 0;
            view.stale.append(&mut view.provisional);
        }
        view
    }

    pub(super) fn give_back(&mut self, view: View) {
        if self.views.len() == KEPT {
            self.views.remove(0);
        }
        self.views.push(view);
    }
}

/// The nodes for one kind of spec. All nodes of the cluster are in it, those that do not suit with
/// no rank, for their tasks count for their branch.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    kind: Kind,
    tree: Tree,
    entries: Vec<Entry>,
    candidates: ById<NodeId, Candidate>,
    /// Changes of the state up to this log index are in it; `None` before the first.
    seen: Option<u64>,
    /// The pass that it was used in last, and how much of that pass's journal is in it.
    pass: u64,
    journal_seen: usize,
    /// Nodes as a board of this pass had them.
    provisional: Vec<NodeId>,
    /// Nodes to be looked at again.
    stale: Vec<NodeId>,
    /// Counts the times that it was brought up to date.
    round: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    /// As it was looked at; `None` once it is gone, or is another candidate by now.
    node: Option<Arc<Node>>,
    suits: bool,
    /// Its values at each level of the tree.
    labels: Vec<String>,
    /// The rank under which it is in the tree now.
    rank: Option<Rank>,
    /// When it was last looked at.
    round: u64,
}

impl View {
    /// Takes in what has changed since it was used last.
    pub(super) fn catch_up(
        &mut self,
        state: &State,
        board: &Board<'_>,
        spec: &ServiceSpec,
        needs: &Needs<'_>,
    ) {
        let news = self.seen.and_then(|seen| state.touched().loads_since(seen));
        let crowded = self.entries.len() > 2 * state.nodes().len() + 16;
        match news.filter(|_| !crowded) {
            Some(nodes) => self.stale.extend(nodes),
            None => {
                *self = Self {
                    kind: std::mem::take(&mut self.kind),
                    pass: self.pass,
                    ..Self::default()
                };
                self.stale.extend(state.nodes().map(|node| node.id));
            }
        }
        self.seen = Some(state.index());
        let news = board.journal().get(self.journal_seen..).unwrap_or_default();
        self.provisional.extend(news);
        self.stale.extend(news);
        self.journal_seen = board.journal().len();
        self.round += 1;
        for node in std::mem::take(&mut self.stale) {
            if self.is_seen(node) {
                continue;
            }
            match state.node(node) {
                Some(node) => {
                    let candidate = self.admit(node, spec, needs);
                    self.rest(candidate, board);
                }
                None => self.drop_node(node),
            }
        }
    }

    /// Whether a node was looked at in this round; from now on it was.
    fn is_seen(&mut self, node: NodeId) -> bool {
        let Some(candidate) = self.candidates.get(&node) else {
            return false;
        };
        let round = &mut self.entries[*candidate].round;
        std::mem::replace(round, self.round) == self.round
    }

    /// The candidate of a node, which is new, or is what it was, or has changed.
    fn admit(&mut self, node: &Arc<Node>, spec: &ServiceSpec, needs: &Needs<'_>) -> Candidate {
        let known = self.candidates.get(&node.id).copied();
        let same = |known: &Candidate| {
            let before = self.entries[*known].node.as_ref();
            before.is_some_and(|before| before.meta.version == node.meta.version)
        };
        if let Some(candidate) = known.filter(same) {
            return candidate;
        }
        // Nodes without the label are a branch of their own.
        let labels: Vec<String> = levels(spec)
            .iter()
            .map(|level| value_of(*level, node).unwrap_or_default().into_owned())
            .collect();
        let suits = node.takes_tasks() && needs.suits(node);
        if let Some(candidate) = known.filter(|known| self.entries[*known].labels == labels) {
            let entry = &mut self.entries[candidate];
            entry.node = Some(node.clone());
            entry.suits = suits;
            return candidate;
        }
        self.drop_node(node.id);
        let candidate = self.tree.add(node.id, &labels);
        self.entries.push(Entry {
            node: Some(node.clone()),
            suits,
            labels,
            rank: None,
            round: self.round,
        });
        self.candidates.insert(node.id, candidate);
        candidate
    }

    fn drop_node(&mut self, node: NodeId) {
        if let Some(candidate) = self.candidates.remove(&node) {
            self.set_rank(candidate, None);
            self.entries[candidate].node = None;
        }
    }

    /// Ranks a candidate as for a service that has nothing there. Without room it has no rank.
    fn rest(&mut self, candidate: Candidate, board: &Board<'_>) {
        let entry = &self.entries[candidate];
        let rank = entry.node.as_ref().filter(|_| entry.suits);
        let rank = rank.and_then(|node| {
            let usage = board.usage(node.id);
            has_room(&self.kind.reserved, node, usage).then(|| {
                Tally::default()
                    .marks(node, usage, 0)
                    .rank(self.kind.strategy)
            })
        });
        self.set_rank(candidate, rank);
    }

    /// Ranks those candidates again as for a service that has nothing there. The board's journal is
    /// known by then: it tells of no others.
    pub(super) fn settle(&mut self, candidates: &mut Vec<Candidate>, board: &Board<'_>) {
        candidates.sort_unstable();
        candidates.dedup();
        for candidate in candidates {
            self.rest(*candidate, board);
            if let Some(node) = self.node(*candidate).map(|node| node.id) {
                self.provisional.push(node);
            }
        }
        self.journal_seen = board.journal().len();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn candidate(&self, node: NodeId) -> Option<Candidate> {
        self.candidates.get(&node).copied()
    }

    /// The node of a candidate that has not gone.
    pub(super) fn node(&self, candidate: Candidate) -> Option<&Arc<Node>> {
        self.entries[candidate].node.as_ref()
    }

    /// Whether a candidate is of the kind that the specs ask for.
    pub(super) fn suits(&self, candidate: Candidate) -> bool {
        self.entries[candidate].suits
    }

    pub(super) fn leaf(&self, candidate: Candidate) -> Leaf {
        self.tree.leaf(candidate)
    }

    pub(super) fn has_rank(&self, candidate: Candidate) -> bool {
        self.entries[candidate].rank.is_some()
    }

    /// Puts a candidate under that rank, or out of the running.
    pub(super) fn set_rank(&mut self, candidate: Candidate, rank: Option<Rank>) {
        let had = std::mem::replace(&mut self.entries[candidate].rank, rank);
        if had == rank {
            return;
        }
        if let Some(had) = had {
            self.tree.remove(candidate, had);
        }
        if let Some(rank) = rank {
            self.tree.put(candidate, rank);
        }
    }

    /// Puts a candidate that was popped back under that rank, until the view is given back.
    pub(super) fn put_aside(&mut self, candidate: Candidate, rank: Rank) {
        self.tree.put_aside(candidate, rank);
    }

    /// Takes out what was put aside in a leaf.
    pub(super) fn clear_aside(&mut self, leaf: Leaf) {
        self.tree.clear_aside(leaf);
    }

    /// Counts tasks of the service on nodes of a leaf, or takes them off.
    pub(super) fn count(&mut self, leaf: Leaf, tasks: i64) {
        self.tree.count(leaf, tasks);
    }

    /// Takes the best candidate out.
    pub(super) fn pop(&mut self) -> Option<(Candidate, Rank)> {
        let (candidate, rank) = self.tree.pop()?;
        self.entries[candidate].rank = None;
        Some((candidate, rank))
    }
}
