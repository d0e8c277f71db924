//! Who belongs to the cluster, and who watches whom.
//!
//! All nodes stand on two rings, on each in an order of its own that follows from their ids. A node's
//! neighbours are the two before and the two after it on both, so everybody has eight, whatever the
//! size of the cluster; two random rings together are as good as a random graph: news crosses 5,000
//! nodes in a dozen hops. Those who watch one node stand side by side, so each has a neighbour that
//! watches it too and can be asked without a new connection. The dead are stepped over, so that
//! nobody is left unwatched; one node more or less moves a handful of neighbourhoods.

use std::collections::BTreeSet;

use super::dice;
use super::node::NodeId;

/// The members of the cluster, as Raft has them. The same list makes the same roster everywhere.
#[derive(Debug)]
pub struct Roster {
    /// Sorted.
    ids: Vec<NodeId>,
    rings: [Ring; 2],
}

#[derive(Debug)]
struct Ring {
    /// Members in the ring's order.
    order: Vec<Seat>,
    /// Where each member is in it.
    place: Vec<u32>,
}

/// A member by its place in the roster's list.
pub(super) type Seat = u32;

/// Somebody who stands beside a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    pub(super) seat: Seat,
    /// It stands right beside it: news goes this way at once.
    pub(super) adjacent: bool,
}

/// How far neighbours may stand from each other.
const REACH: usize = 2;

impl Roster {
    pub fn new(members: impl IntoIterator<Item = NodeId>) -> Self {
        let ids: BTreeSet<NodeId> = members.into_iter().collect();
        let ids: Vec<NodeId> = ids.into_iter().collect();
        let rings = [1, 2].map(|ring| Ring::new(&ids, ring));
        Self { ids, rings }
    }

    pub fn members(&self) -> &[NodeId] {
        &self.ids
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn seat(&self, id: NodeId) -> Option<Seat> {
        self.ids.binary_search(&id).ok().map(|seat| seat as Seat)
    }

    pub(super) fn id(&self, seat: Seat) -> NodeId {
        self.ids[seat as usize]
    }

    /// Who watches `seat`, and is watched by it, as long as `up` holds of the same ones everywhere.
    pub(super) fn neighbours(&self, seat: Seat, up: impl Fn(Seat) -> bool) -> Vec<Neighbour> {
        let mut found: Vec<Neighbour> = Vec::with_capacity(4 * REACH);
        for ring in &self.rings {
            for forward in [true, false] {
                let walk = ring.walk(seat, forward).filter(|other| up(*other));
                for (distance, other) in walk.take(REACH).enumerate() {
                    let adjacent = distance == 0;
                    match found.iter_mut().find(|known| known.seat == other) {
                        Some(known) => known.adjacent |= adjacent,
                        None => found.push(Neighbour {
                            seat: other,
                            adjacent,
                        }),
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }
}

impl Ring {
    fn new(ids: &[NodeId], ring: u64) -> Self {
        let key = |seat: &Seat| {
            let id = ids[*seat as usize];
            let words = [ring, (id.0 >> 64) as u64, id.0 as u64];
            (dice::hash(&words), id)
        };
        let mut order: Vec<Seat> = (0..ids.len() as Seat).collect();
        order.sort_by_cached_key(key);
        let mut place = vec![0; ids.len()];
        for (at, seat) in order.iter().enumerate() {
            place[*seat as usize] = at as u32;
        }
        Self { order, place }
    }

    /// Everybody else, beginning beside `seat`.
    fn walk(&self, seat: Seat, forward: bool) -> impl Iterator<Item = Seat> + '_ {
        let count = self.order.len();
        let start = self.place[seat as usize] as usize;
        (1..count).map(move |steps| {
            let steps = if forward { steps } else { count - steps };
            self.order[(start + steps) % count]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(count: u128) -> Roster {
        Roster::new((0..count).map(|id| NodeId(id * 7 + 1)))
    }

    fn ids_around(roster: &Roster, seat: Seat) -> BTreeSet<NodeId> {
        let around = roster.neighbours(seat, |_| true);
        around.iter().map(|it| roster.id(it.seat)).collect()
    }

    #[test]
    fn neighbours_are_mutual_and_eight() {
        let roster = roster(1_000);
        for seat in 0..1_000 {
            let around = roster.neighbours(seat, |_| true);
            assert!((6..=8).contains(&around.len()), "{seat} has {around:?}");
            for other in around {
                let back = Neighbour { seat, ..other };
                assert!(roster.neighbours(other.seat, |_| true).contains(&back));
            }
        }
    }

    #[test]
    fn in_a_small_cluster_everybody_is_everybodys_neighbour() {
        for count in 1..=5 {
            let roster = roster(count);
            let others = roster.neighbours(0, |_| true).len();
            assert_eq!(others as u128, count - 1);
        }
    }

    #[test]
    fn one_node_more_moves_few_neighbourhoods() {
        let (before, after) = (roster(500), roster(501));
        let same = |seat: &Seat| {
            let id = before.id(*seat);
            let then = after.seat(id).expect("it is still there");
            ids_around(&before, *seat) == ids_around(&after, then)
        };
        let moved = (0..500).filter(|seat| !same(seat)).count();
        assert!((1..=8).contains(&moved), "{moved} nodes got new neighbours");
    }

    #[test]
    fn the_dead_are_stepped_over() {
        let roster = roster(300);
        let up = |seat: Seat| !seat.is_multiple_of(3);
        for seat in (0..300).filter(|seat| up(*seat)) {
            let around = roster.neighbours(seat, up);
            assert!(around.len() >= 6, "{seat} has only {around:?}");
            assert!(around.iter().all(|it| up(it.seat) && it.seat != seat));
        }
    }

    #[test]
    fn each_neighbour_shares_another_one() {
        let roster = roster(1_000);
        for seat in 0..1_000 {
            let around = roster.neighbours(seat, |_| true);
            for watcher in &around {
                let theirs = roster.neighbours(watcher.seat, |_| true);
                let shared = theirs
                    .iter()
                    .any(|it| around.iter().any(|mine| mine.seat == it.seat));
                assert!(shared, "{} stands alone beside {seat}", watcher.seat);
            }
        }
    }
}
