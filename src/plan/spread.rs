//! Candidates for placement, so arranged that the best one is found without looking at all.
//!
//! Placement preferences make a tree: each level divides the nodes by the value of a label, and a
//! task goes to the branch that has the fewest tasks of the service. In the leaves the nodes are
//! kept in order. Finding and moving a node costs the logarithm of their number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use crate::spec::NodeId;
use crate::spec::extension::Strategy;

/// How a node compares with others; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Recent failures of the same spec there, as far as they count.
    failures: u32,
    /// How little the preferred affinities like it.
    dislike: i32,
    /// By the strategy.
    keys: [i32; 3],
}

impl Rank {
    /// The best that it can be once the node has one more task of the service; `None` where that is
    /// not told by the rank.
    pub(super) const fn with_one_more(self, strategy: Strategy) -> Option<Self> {
        match strategy {
            Strategy::Spread => {
                let [own, others, free] = self.keys;
                let keys = [own.saturating_add(1), others, free];
                Some(Self { keys, ..self })
            }
            // There, less room is better.
            Strategy::Binpack => None,
        }
    }
}

/// What a node is ranked by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    pub(super) failures: u64,
    pub(super) dislike: i64,
    /// Wanted tasks of the same service.
    pub(super) own: u64,
    /// Wanted tasks of other services.
    pub(super) others: u64,
    /// Share of CPUs and memory that is left to reserve.
    pub(super) free: i32,
}

impl Marks {
    pub(super) fn rank(self, strategy: Strategy) -> Rank {
        // Small, for there are many and they are compared often; no node has two thousand million.
        let count = |tasks: u64| i32::try_from(tasks).unwrap_or(i32::MAX);
        let (own, others) = (count(self.own), count(self.others));
        Rank {
            failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
            dislike: i32::try_from(self.dislike).unwrap_or(i32::MAX),
            keys: match strategy {
                Strategy::Spread => [own, others, -self.free],
                // Where nothing is reserved, the node with the most tasks is the fullest.
                Strategy::Binpack => [self.free, -own.saturating_add(others), 0],
            },
        }
    }
}

/// A candidate, by the number under which it was added.
pub(super) type Candidate = usize;

/// A leaf of the tree, by the number under which it was made.
pub(super) type Leaf = usize;

/// All candidates of one group of tasks.
///
/// Of equals the one with the least id, or label, is taken: what is decided must not depend on the
/// order in which nodes came into the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    root: Branch,
    /// The way to each leaf.
    leaves: Vec<Vec<usize>>,
    /// Each candidate's node and leaf.
    places: Vec<(NodeId, Leaf)>,
}

#[derive(Debug, Clone, Default)]
struct Branch {
    label: Arc<str>,
    /// Tasks of the service below, on candidates or not.
    tasks: i64,
    /// The leaf's candidates in order; empty in a fork.
    ranked: BTreeSet<(Rank, NodeId, Candidate)>,
    /// More of them, for a while: cheaper to put in, and never taken out but in order.
    aside: BinaryHeap<Reverse<(Rank, NodeId, Candidate)>>,
    by_label: BTreeMap<Arc<str>, usize>,
    children: Vec<Self>,
    /// The children that have candidates, those with the fewest tasks first.
    open: BTreeSet<(i64, Arc<str>, usize)>,
    /// Its number, where it is a leaf.
    leaf: Option<Leaf>,
}

impl Branch {
    fn has_candidates(&self) -> bool {
        !self.ranked.is_empty() || !self.aside.is_empty() || !self.open.is_empty()
    }

    /// Takes the best of a leaf's candidates out.
    fn pop(&mut self) -> Option<(Rank, NodeId, Candidate)> {
        match (self.ranked.first(), self.aside.peek()) {
            (Some(ranked), Some(Reverse(aside))) if aside < ranked => {
                self.aside.pop().map(|Reverse(key)| key)
            }
            (None, Some(_)) => self.aside.pop().map(|Reverse(key)| key),
            _ => self.ranked.pop_first(),
        }
    }

    /// The key of a child among those that are open.
    fn key(&self, child: usize) -> (i64, Arc<str>, usize) {
        let branch = &self.children[child];
        (branch.tasks, branch.label.clone(), child)
    }
}

impl Tree {
    /// Adds a node; it is no candidate before it is put in. `labels` are its values at each level
    /// of the tree.
    pub(super) fn add<L: AsRef<str>>(&mut self, node: NodeId, labels: &[L]) -> Candidate {
        let mut path = Vec::with_capacity(labels.len());
        let mut branch = &mut self.root;
        for label in labels {
            let label: Arc<str> = Arc::from(label.as_ref());
            let next = branch.children.len();
            let child = *branch.by_label.entry(label.clone()).or_insert(next);
            if child == next {
                branch.children.push(Branch {
                    label,
                    ..Branch::default()
                });
            }
            path.push(child);
            branch = &mut branch.children[child];
        }
        let leaf = *branch.leaf.get_or_insert_with(|| {
            self.leaves.push(path);
            self.leaves.len() - 1
        });
        self.places.push((node, leaf));
        self.places.len() - 1
    }

    /// The leaf that a candidate is in.
    pub(super) fn leaf(&self, candidate: Candidate) -> Leaf {
        self.places[candidate].1
    }

    /// Takes the best candidate out.
    pub(super) fn pop(&mut self) -> Option<(Candidate, Rank)> {
        fn pop(branch: &mut Branch) -> Option<(Candidate, Rank)> {
            if let Some((rank, _, candidate)) = branch.pop() {
                return Some((candidate, rank));
            }
            let child = branch.open.first()?.2;
            let found = pop(&mut branch.children[child]);
            if !branch.children[child].has_candidates() {
                branch.open.remove(&branch.key(child));
            }
            found
        }
        pop(&mut self.root)
    }

    /// Puts a candidate in, or back in.
    pub(super) fn put(&mut self, candidate: Candidate, rank: Rank) {
        let (node, leaf) = self.places[candidate];
        let branch = self.open(leaf);
        branch.ranked.insert((rank, node, candidate));
    }

    /// The same until `clear_aside`; before that it comes out by being popped only.
    pub(super) fn put_aside(&mut self, candidate: Candidate, rank: Rank) {
        let (node, leaf) = self.places[candidate];
        let branch = self.open(leaf);
        branch.aside.push(Reverse((rank, node, candidate)));
    }

    /// Takes out what was put aside in a leaf.
    pub(super) fn clear_aside(&mut self, leaf: Leaf) {
        fn clear(branch: &mut Branch, path: &[usize]) {
            let Some((child, rest)) = path.split_first() else {
                return branch.aside.clear();
            };
            clear(&mut branch.children[*child], rest);
            if !branch.children[*child].has_candidates() {
                branch.open.remove(&branch.key(*child));
            }
        }
        clear(&mut self.root, &self.leaves[leaf]);
    }

    /// A leaf that is to have a candidate.
    fn open(&mut self, leaf: Leaf) -> &mut Branch {
        let mut branch = &mut self.root;
        for child in &self.leaves[leaf] {
            if !branch.children[*child].has_candidates() {
                branch.open.insert(branch.key(*child));
            }
            branch = &mut branch.children[*child];
        }
        branch
    }

    /// Takes a candidate of that rank out.
    pub(super) fn remove(&mut self, candidate: Candidate, rank: Rank) {
        fn remove(branch: &mut Branch, path: &[usize], key: &(Rank, NodeId, Candidate)) {
            let Some((child, rest)) = path.split_first() else {
                branch.ranked.remove(key);
                return;
            };
            remove(&mut branch.children[*child], rest, key);
            if !branch.children[*child].has_candidates() {
                branch.open.remove(&branch.key(*child));
            }
        }
        let (node, leaf) = self.places[candidate];
        remove(&mut self.root, &self.leaves[leaf], &(rank, node, candidate));
    }

    /// Counts tasks more, or less, on nodes of a leaf.
    pub(super) fn count(&mut self, leaf: Leaf, tasks: i64) {
        let mut branch = &mut self.root;
        for child in &self.leaves[leaf] {
            let open = branch.open.remove(&branch.key(*child));
            branch.children[*child].tasks += tasks;
            if open {
                branch.open.insert(branch.key(*child));
            }
            branch = &mut branch.children[*child];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(own: u64) -> Rank {
        let marks = Marks {
            own,
            ..Marks::default()
        };
        marks.rank(Strategy::Spread)
    }

    fn add(tree: &mut Tree, labels: &[&str], tasks: i64, rank: Option<Rank>) -> Candidate {
        let node = NodeId::from_bits(tree.places.len() as u128 + 1);
        let candidate = tree.add(node, labels);
        tree.count(tree.leaf(candidate), tasks);
        if let Some(rank) = rank {
            tree.put(candidate, rank);
        }
        candidate
    }

    fn popped(tree: &mut Tree) -> Option<Candidate> {
        tree.pop().map(|(candidate, _)| candidate)
    }

    /// Places `tasks` tasks on nodes of these labels; how many each node got.
    fn place(nodes: &[&[&str]], had: &[u64], tasks: usize) -> Vec<u64> {
        let mut tree = Tree::default();
        for (labels, had) in nodes.iter().zip(had) {
            let tasks = i64::try_from(*had).unwrap();
            add(&mut tree, labels, tasks, Some(rank(*had)));
        }
        let mut counts = had.to_vec();
        for _ in 0..tasks {
            let (node, _) = tree.pop().unwrap();
            counts[node] += 1;
            tree.count(tree.leaf(node), 1);
            tree.put(node, rank(counts[node]));
        }
        counts
    }

    #[test]
    fn without_preferences_nodes_fill_evenly() {
        assert_eq!(place(&[&[], &[], &[]], &[0, 0, 0], 7), [3, 2, 2]);
        assert_eq!(place(&[&[], &[], &[]], &[5, 0, 1], 4), [5, 3, 2]);
    }

    #[test]
    fn branches_fill_evenly_whatever_their_size() {
        let nodes: &[&[&str]] = &[&["a"], &["b"], &["b"], &["b"]];
        assert_eq!(place(nodes, &[0, 0, 0, 0], 6), [3, 1, 1, 1]);
    }

    #[test]
    fn tasks_that_are_there_count_for_their_branch() {
        let nodes: &[&[&str]] = &[&["a"], &["b"]];
        assert_eq!(place(nodes, &[4, 0], 4), [4, 4]);
    }

    #[test]
    fn preferences_nest() {
        let nodes: &[&[&str]] = &[&["a", "1"], &["a", "2"], &["a", "2"], &["b", "1"]];
        assert_eq!(place(nodes, &[0, 0, 0, 0], 8), [2, 1, 1, 4]);
    }

    #[test]
    fn a_branch_without_candidates_drops_out_but_its_tasks_count() {
        let mut tree = Tree::default();
        let full = add(&mut tree, &["a"], 1, None);
        let free = add(&mut tree, &["b"], 9, Some(rank(9)));
        assert_eq!(popped(&mut tree), Some(free));
        assert_eq!(popped(&mut tree), None);
        tree.put(full, rank(1));
        tree.put(free, rank(0));
        assert_eq!(popped(&mut tree), Some(full), "branch a has fewer tasks");
    }

    #[test]
    fn nodes_that_failed_come_last() {
        let mut tree = Tree::default();
        add(
            &mut tree,
            &[],
            0,
            Some(
                Marks {
                    failures: 5,
                    ..Marks::default()
                }
                .rank(Strategy::Spread),
            ),
        );
        let busy = add(&mut tree, &[], 3, Some(rank(3)));
        assert_eq!(popped(&mut tree), Some(busy));
    }

    #[test]
    fn what_is_taken_out_is_found_no_more() {
        let mut tree = Tree::default();
        let first = add(&mut tree, &["a"], 0, Some(rank(0)));
        let second = add(&mut tree, &["b"], 0, Some(rank(1)));
        tree.remove(first, rank(0));
        assert_eq!(popped(&mut tree), Some(second));
        assert_eq!(popped(&mut tree), None);
    }

    #[test]
    fn what_is_put_aside_comes_in_its_turn() {
        let mut tree = Tree::default();
        let first = add(&mut tree, &["a"], 0, None);
        let second = add(&mut tree, &["a"], 0, Some(rank(1)));
        let third = add(&mut tree, &["b"], 7, None);
        tree.put_aside(first, rank(2));
        tree.put_aside(third, rank(0));
        assert_eq!(popped(&mut tree), Some(second));
        assert_eq!(popped(&mut tree), Some(first));
        tree.clear_aside(tree.leaf(third));
        assert_eq!(popped(&mut tree), None);
    }

    #[test]
    fn strategies_differ_in_what_they_rank_by() {
        let empty = Marks {
            free: 20_000,
            ..Marks::default()
        };
        let half = Marks {
            free: 10_000,
            others: 1,
            ..Marks::default()
        };
        assert!(empty.rank(Strategy::Spread) < half.rank(Strategy::Spread));
        assert!(half.rank(Strategy::Binpack) < empty.rank(Strategy::Binpack));
        let small = Marks { others: 0, ..half };
        assert!(empty.rank(Strategy::Spread) < small.rank(Strategy::Spread));
    }
}
