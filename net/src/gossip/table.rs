//! What is believed of all members, with hashes by which two nodes find out where they differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dice;
use super::node::NodeId;
use super::record::Record;
use super::roster::{Roster, Seat};

#[derive(Debug)]
pub(super) struct Table {
    pub(super) roster: Arc<Roster>,
    records: Vec<Record>,
    /// Of each bucket the sum of its records' hashes.
    buckets: Vec<u64>,
    dead: usize,
}

/// Most buckets: their hashes fit a datagram.
const MOST_BUCKETS: usize = 256;

impl Table {
    pub(super) fn new(roster: Arc<Roster>) -> Self {
        Self::holding(roster, BTreeMap::new())
    }

    /// The same beliefs of whoever is still a member.
    pub(super) fn move_to(&mut self, roster: Arc<Roster>) {
        let ids = self.roster.members().iter().copied();
        let known = ids.zip(self.records.drain(..)).collect();
        *self = Self::holding(roster, known);
    }

    fn holding(roster: Arc<Roster>, mut known: BTreeMap<NodeId, Record>) -> Self {
        let members = roster.members().iter();
        let records: Vec<Record> = members
            .map(|id| known.remove(id).unwrap_or_default())
            .collect();
        let count = (roster.len().next_power_of_two() / 16).clamp(1, MOST_BUCKETS);
        let mut table = Self {
            buckets: vec![0; count],
            dead: records.iter().filter(|it| it.dead.is_some()).count(),
            roster,
            records,
        };
        for seat in 0..table.records.len() as Seat {
            table.flip(seat);
        }
        table
    }

    pub(super) fn get(&self, seat: Seat) -> &Record {
        &self.records[seat as usize]
    }

    pub(super) fn is_up(&self, seat: Seat) -> bool {
        self.get(seat).dead.is_none()
    }

    pub(super) const fn dead(&self) -> usize {
        self.dead
    }

    pub(super) fn up(&self) -> usize {
        self.records.len() - self.dead
    }

    /// The only way to change what is believed.
    pub(super) fn change<T>(&mut self, seat: Seat, how: impl FnOnce(&mut Record) -> T) -> T {
        self.flip(seat);
        let record = &mut self.records[seat as usize];
        self.dead -= usize::from(record.dead.is_some());
        let result = how(record);
        self.dead += usize::from(record.dead.is_some());
        self.flip(seat);
        result
    }

    /// The hash of everything.
    pub(super) fn view(&self) -> u64 {
        self.buckets.iter().fold(0, |view, bucket| view ^ bucket)
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = [u8; 4]> + '_ {
        self.buckets.iter().map(|it| (*it as u32).to_le_bytes())
    }

    /// Which of somebody's buckets differ from these. Nothing where the number makes no sense.
    pub(super) fn differing(&self, theirs: &[[u8; 4]]) -> Buckets {
        let count = theirs.len().min(self.buckets.len());
        if !theirs.len().is_power_of_two() || theirs.len() > MOST_BUCKETS {
            return Buckets { differ: Vec::new() };
        }
        // Who has more members may have more buckets; many fold into few.
        let mut differ = vec![0u32; count];
        for (at, hash) in self.buckets().chain(theirs.iter().copied()).enumerate() {
            let own = at < self.buckets.len();
            let at = if own { at } else { at - self.buckets.len() };
            differ[at % count] ^= u32::from_le_bytes(hash);
        }
        Buckets {
            differ: differ.iter().map(|it| *it != 0).collect(),
        }
    }

    /// Puts a record's hash into its bucket, or takes it out.
    fn flip(&mut self, seat: Seat) {
        let record = &self.records[seat as usize];
        let id = self.roster.id(seat);
        let standing = u64::from(record.life.refutations) << 1 | u64::from(record.dead.is_some());
        let hash = dice::hash(&[
            (id.0 >> 64) as u64,
            id.0 as u64,
            record.life.start,
            standing,
            record.version,
        ]);
        let bucket = bucket(id) % self.buckets.len();
        self.buckets[bucket] ^= hash;
    }
}

/// Some of the buckets.
#[derive(Debug)]
pub(super) struct Buckets {
    differ: Vec<bool>,
}

impl Buckets {
    pub(super) fn is_empty(&self) -> bool {
        !self.differ.contains(&true)
    }

    pub(super) fn contain(&self, id: NodeId) -> bool {
        let at = bucket(id) % self.differ.len().max(1);
        self.differ.get(at).is_some_and(|it| *it)
    }
}

fn bucket(id: NodeId) -> usize {
    let [low, ..] = dice::hash(&[(id.0 >> 64) as u64, id.0 as u64]).to_le_bytes();
    usize::from(low)
}

#[cfg(test)]
mod tests {
    use super::super::node::Life;
    use super::*;

    fn table(count: u128) -> Table {
        Table::new(Arc::new(Roster::new((0..count).map(NodeId))))
    }

    #[test]
    fn differences_are_found_where_they_are() {
        let (mut one, other) = (table(1_000), table(1_000));
        assert_eq!(one.view(), other.view());
        one.change(17, |record| record.begin(Life::of_start(3)));
        assert_ne!(one.view(), other.view());
        let hashes: Vec<_> = other.buckets().collect();
        let differing = one.differing(&hashes);
        assert!(differing.contain(one.roster.id(17)));
        let members = one.roster.members().iter();
        let suspects = members.filter(|id| differing.contain(**id)).count();
        assert!((1..50).contains(&suspects), "{suspects}");
    }

    #[test]
    fn the_same_members_compare_over_other_numbers_of_buckets() {
        let (mut small, mut large) = (table(1_000), table(1_000));
        small.buckets = vec![small.view()];
        let few: Vec<_> = small.buckets().collect();
        let many: Vec<_> = large.buckets().collect();
        assert!(large.differing(&few).is_empty());
        assert!(small.differing(&many).is_empty());
        large.change(1, |record| record.begin(Life::of_start(1)));
        assert!(!large.differing(&few).is_empty());
    }

    #[test]
    fn nonsense_differs_in_nothing() {
        let table = table(1_000);
        for count in [0, 3, 512] {
            assert!(table.differing(&vec![[1; 4]; count]).is_empty(), "{count}");
        }
    }

    #[test]
    fn beliefs_move_with_their_nodes() {
        let mut table = table(10);
        table.change(4, |record| record.begin(Life::of_start(9)));
        table.move_to(Arc::new(Roster::new((3..8).map(NodeId))));
        assert_eq!(table.get(1).life, Life::of_start(9));
        assert_eq!(table.up(), 5);
    }
}
