//! The nodes as one group of tasks sees them: those of a view, and what the service has there.
//!
//! What the service has on a node can only make it worse than the view says, but for the few cases
//! that are judged at once. So the others are judged when they come to the front.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use super::neighbours::Neighbours;
use super::place::{Tally, tallies};
use super::spread::{Candidate, Leaf, Rank};
use super::view::{Kind, View, strategy_of};
use crate::spec::by_id::ById;
use crate::spec::extension::Strategy;
use crate::spec::{NetworkId, NodeId, ServiceSpec};
use crate::state::task::{NodeRejection, Waiting};
use crate::state::{Node, State};

#[derive(Debug)]
pub(super) struct Field<'a> {
    state: &'a State,
    pub(super) needs: Needs<'a>,
    pub(super) neighbours: Neighbours<'a>,
    strategy: Strategy,
    /// A node where the service has nothing is as the view says.
    is_plain: bool,
    view: View,
    tallies: ById<NodeId, Tally>,
    /// What was counted for the leaves of the view.
    counted: BTreeMap<Leaf, i64>,
    /// Candidates that are not as the view had them.
    moved: Vec<Candidate>,
    /// Why no node takes a task, while nothing has changed since.
    rejected: Option<Vec<(NodeRejection, u64)>>,
    exhausted: Option<NetworkId>,
}

impl<'a> Field<'a> {
    pub(super) fn new(
        desk: &Desk<'a>,
        board: &mut Board<'_>,
        spec: &'a ServiceSpec,
        spec_version: u64,
    ) -> Self {
        let needs = Needs::of(spec);
        let mut view = board.views().take(&Kind::of(spec));
        view.catch_up(desk.state, board, spec, &needs);
        let neighbours = Neighbours::of(desk, board, spec);
        let mut field = Self {
            state: desk.state,
            is_plain: needs.are_plain() && neighbours.is_empty(),
            neighbours,
            needs,
            strategy: strategy_of(spec),
            view,
            tallies: ById::default(),
            counted: BTreeMap::new(),
            moved: Vec::new(),
            rejected: None,
            exhausted: None,
        };
        field.take_in(desk, board, spec_version);
        if !field.neighbours.is_empty() {
            for candidate in 0..field.view.len() {
                field.judge_anew(board, candidate);
            }
        }
        field
    }

    /// Counts what the service has on nodes.
    fn take_in(&mut self, desk: &Desk<'_>, board: &Board<'_>, spec_version: u64) {
        let (tallies, on) = tallies(desk, spec_version);
        self.tallies = tallies;
        for node in on {
            let tally = self.tallies.get(&node).copied().unwrap_or_default();
            let Some(candidate) = self.view.candidate(node) else {
                continue;
            };
            // What is to leave its node counts for no branch any more.
            let leaves = self
                .view
                .node(candidate)
                .is_none_or(|node| node.is_draining(desk.now));
            if !leaves {
                let tasks = i64::try_from(tally.own).unwrap_or(i64::MAX);
                *self.counted.entry(self.view.leaf(candidate)).or_default() += tasks;
            }
            if tally.counted > tally.own {
                self.judge_anew(board, candidate);
            }
        }
        for (leaf, tasks) in &self.counted {
            self.view.count(*leaf, *tasks);
        }
    }

    /// Gives the view back as it was.
    pub(super) fn close(mut self, board: &mut Board<'_>) {
        for (leaf, tasks) in &self.counted {
            self.view.count(*leaf, -tasks);
            self.view.clear_aside(*leaf);
        }
        self.view.settle(&mut self.moved, board);
        board.views().give_back(self.view);
    }

    /// The best node, taken out of the field, or why there is none.
    pub(super) fn choose(
        &mut self,
        board: &Board<'_>,
        networks: &[NetworkId],
    ) -> Result<(Candidate, NodeId, Rank), Waiting> {
        if let Some(network) = board.exhausted(networks) {
            return Err(Waiting::AddressesExhausted(network));
        }
        while let Some((candidate, rank)) = self.view.pop() {
            self.moved.push(candidate);
            let Some(node) = self.view.node(candidate) else {
                continue;
            };
            let found = if self.is_plain && !self.tallies.contains(&node.id) {
                // The view has said all there is to say.
                Ok(rank)
            } else {
                self.judge(board, node, true)
            };
            match found {
                Err(_) => {}
                Ok(found) if found > rank => self.put_back(candidate, found),
                Ok(_) => match board.exhausted_for(networks, node.id) {
                    // Addresses only get fewer, so this node is out for all the group's tasks.
                    Some(network) => self.exhausted = Some(network),
                    None => return Ok((candidate, node.id, rank)),
                },
            }
        }
        Err(match self.exhausted {
            Some(network) => Waiting::AddressesExhausted(network),
            None => Waiting::NoSuitableNode(self.rejections(board)),
        })
    }

    /// A task was put on a node that was chosen under that rank. It may or may not take another.
    pub(super) fn placed(&mut self, board: &Board<'_>, candidate: Candidate, rank: Rank) {
        let Some(id) = self.view.node(candidate).map(|node| node.id) else {
            return;
        };
        self.rejected = None;
        let tally = self.tallies.get_or_insert_with(id, Tally::default);
        tally.own += 1;
        tally.counted += 1;
        let leaf = self.view.leaf(candidate);
        *self.counted.entry(leaf).or_default() += 1;
        self.view.count(leaf, 1);
        if self.neighbours.change() {
            return self.judge_around(board, candidate, id);
        }
        // Where its rank can be told, it is judged when it comes to the front.
        let node = || self.view.node(candidate);
        let next = rank
            .with_one_more(self.strategy)
            .or_else(|| self.judge(board, node()?, true).ok());
        if let Some(next) = next {
            self.put_back(candidate, next);
        }
    }

    /// Judges a candidate anew on which a task was put, and those to which that matters.
    fn judge_around(&mut self, board: &Board<'_>, candidate: Candidate, node: NodeId) {
        let Some(node) = self.state.node(node) else {
            return;
        };
        self.neighbours.placed(node);
        for other in 0..self.view.len() {
            let told = |other: &Arc<Node>| self.neighbours.tells_on(node, other);
            if self.view.has_rank(other) && self.view.node(other).is_some_and(told) {
                self.judge_anew(board, other);
            }
        }
        self.judge_anew(board, candidate);
    }

    /// Puts a candidate back that was taken out, no better than it was.
    fn put_back(&mut self, candidate: Candidate, rank: Rank) {
        if self.neighbours.change() {
            // It may become better by what is placed next.
            return self.view.set_rank(candidate, Some(rank));
        }
        // Its leaf is cleared when the view is given back.
        self.counted.entry(self.view.leaf(candidate)).or_default();
        self.view.put_aside(candidate, rank);
    }

    fn judge_anew(&mut self, board: &Board<'_>, candidate: Candidate) {
        let node = self.view.node(candidate);
        let suits = self.view.suits(candidate);
        let rank = node
            .filter(|_| suits)
            .and_then(|node| self.judge(board, node, true).ok());
        self.view.set_rank(candidate, rank);
        self.moved.push(candidate);
    }

    /// How good a node is for the next task, or why it takes none. `suits` says that it is known to
    /// be of the kind that the spec asks for.
    fn judge(&self, board: &Board<'_>, node: &Node, suits: bool) -> Result<Rank, NodeRejection> {
        let usage = board.usage(node.id);
        let tally = self.tallies.get(&node.id).copied().unwrap_or_default();
        let rejection = if suits {
            self.needs.reject_suitable(node, usage, tally.own)
        } else {
            self.needs.reject(node, usage, tally.own)
        };
        if let Some(rejection) = rejection {
            return Err(rejection);
        }
        if let Some(rejection) = self.neighbours.reject(node) {
            return Err(rejection);
        }
        let dislike = self.neighbours.dislike(node);
        Ok(tally.marks(node, usage, dislike).rank(self.strategy))
    }

    /// Why nodes take no task, most frequent first.
    fn rejections(&mut self, board: &Board<'_>) -> Vec<(NodeRejection, u64)> {
        if let Some(known) = &self.rejected {
            return known.clone();
        }
        let mut counts: BTreeMap<NodeRejection, u64> = BTreeMap::new();
        for node in self.state.nodes() {
            if let Err(rejection) = self.judge(board, node, false) {
                *counts.entry(rejection).or_default() += 1;
            }
        }
        let mut counts: Vec<(NodeRejection, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(rejection, count)| (std::cmp::Reverse(*count), *rejection));
        self.rejected.insert(counts).clone()
    }
}
