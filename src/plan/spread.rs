//! Candidates for placement, so arranged that the best one is found without looking at all.
//!
//! Placement preferences make a tree: each level divides the nodes by the value of a label, and a
//! task goes to the branch that has the fewest tasks of the service. In the leaves the nodes are
//! kept in order. Finding and moving a node costs the logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::extension::Strategy;

/// How a node compares with others; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Recent failures of the same spec there, as far as they count.
    failures: u64,
    /// How little the preferred affinities like it.
    dislike: i64,
    /// By the strategy.
    keys: [i64; 3],
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
    pub(super) free: i64,
}

impl Marks {
    pub(super) fn rank(self, strategy: Strategy) -> Rank {
        let count = |tasks: u64| i64::try_from(tasks).unwrap_or(i64::MAX);
        let (own, others) = (count(self.own), count(self.others));
        Rank {
            failures: self.failures,
            dislike: self.dislike,
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

/// All candidates of one group of tasks.
#[derive(Debug)]
pub(super) struct Tree {
    root: Branch,
    /// The way to each candidate's leaf.
    paths: Vec<Vec<usize>>,
}

#[derive(Debug, Default)]
struct Branch {
    /// Tasks of the service below, on candidates or not.
    tasks: u64,
    /// The leaf's candidates in order; empty in a fork.
    ranked: BTreeSet<(Rank, Candidate)>,
    by_label: BTreeMap<String, usize>,
    children: Vec<Self>,
    /// The children that have candidates, those with the fewest tasks first.
    open: BTreeSet<(u64, usize)>,
}

impl Branch {
    fn has_candidates(&self) -> bool {
        !self.ranked.is_empty() || !self.open.is_empty()
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            root: Branch::default(),
            paths: Vec::new(),
        }
    }

    /// Adds a node that has that many tasks of the service. `labels` are its values at each level
    /// of the tree, `rank` is `None` for one that is no candidate but whose tasks count.
    pub(super) fn add(&mut self, labels: &[&str], tasks: u64, rank: Option<Rank>) -> Candidate {
        let mut path = Vec::with_capacity(labels.len());
        let mut branch = &mut self.root;
        for label in labels {
            let next = branch.children.len();
            let child = *branch.by_label.entry((*label).to_owned()).or_insert(next);
            if child == next {
                branch.children.push(Branch::default());
            }
            path.push(child);
            branch = &mut branch.children[child];
        }
        let candidate = self.paths.len();
        self.paths.push(path);
        self.count(candidate, tasks);
        if let Some(rank) = rank {
            self.put(candidate, rank);
        }
        candidate
    }

    /// Takes the best candidate out.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        fn pop(branch: &mut Branch) -> Option<Candidate> {
            if let Some((_, candidate)) = branch.ranked.pop_first() {
                return Some(candidate);
            }
            let (tasks, child) = *branch.open.first()?;
            let found = pop(&mut branch.children[child]);
            if !branch.children[child].has_candidates() {
                branch.open.remove(&(tasks, child));
            }
            found
        }
        pop(&mut self.root)
    }

    /// Puts a candidate in, or back in.
    pub(super) fn put(&mut self, candidate: Candidate, rank: Rank) {
        let mut branch = &mut self.root;
        for child in &self.paths[candidate] {
            let tasks = branch.children[*child].tasks;
            branch.open.insert((tasks, *child));
            branch = &mut branch.children[*child];
        }
        branch.ranked.insert((rank, candidate));
    }

    /// Takes a candidate of that rank out.
    pub(super) fn remove(&mut self, candidate: Candidate, rank: Rank) {
        fn remove(branch: &mut Branch, path: &[usize], key: (Rank, Candidate)) {
            let Some((child, rest)) = path.split_first() else {
                branch.ranked.remove(&key);
                return;
            };
            let below = &mut branch.children[*child];
            remove(below, rest, key);
            if !below.has_candidates() {
                let tasks = below.tasks;
                branch.open.remove(&(tasks, *child));
            }
        }
        remove(&mut self.root, &self.paths[candidate], (rank, candidate));
    }

    /// Counts tasks more on a candidate's node.
    pub(super) fn count(&mut self, candidate: Candidate, tasks: u64) {
        let mut branch = &mut self.root;
        for child in &self.paths[candidate] {
            let had = branch.children[*child].tasks;
            if branch.open.remove(&(had, *child)) {
                branch.open.insert((had + tasks, *child));
            }
            branch = &mut branch.children[*child];
            branch.tasks = had + tasks;
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

    /// Places `tasks` tasks on nodes of these labels; how many each node got.
    fn place(nodes: &[&[&str]], had: &[u64], tasks: usize) -> Vec<u64> {
        let mut tree = Tree::new();
        for (labels, had) in nodes.iter().zip(had) {
            tree.add(labels, *had, Some(rank(*had)));
        }
        let mut counts = had.to_vec();
        for _ in 0..tasks {
            let node = tree.pop().unwrap();
            counts[node] += 1;
            tree.count(node, 1);
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
        let mut tree = Tree::new();
        let full = tree.add(&["a"], 1, None);
        let free = tree.add(&["b"], 9, Some(rank(9)));
        assert_eq!(tree.pop(), Some(free));
        assert_eq!(tree.pop(), None);
        tree.put(full, rank(1));
        tree.put(free, rank(0));
        assert_eq!(tree.pop(), Some(full), "branch a has fewer tasks");
    }

    #[test]
    fn nodes_that_failed_come_last() {
        let mut tree = Tree::new();
        tree.add(
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
        let busy = tree.add(&[], 3, Some(rank(3)));
        assert_eq!(tree.pop(), Some(busy));
    }

    #[test]
    fn what_is_taken_out_is_found_no_more() {
        let mut tree = Tree::new();
        let first = tree.add(&["a"], 0, Some(rank(0)));
        let second = tree.add(&["b"], 0, Some(rank(1)));
        tree.remove(first, rank(0));
        assert_eq!(tree.pop(), Some(second));
        assert_eq!(tree.pop(), None);
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
