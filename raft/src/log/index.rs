//! What the log contains, in memory: the id of every entry, where it is on disk, and the payload
//! of the recent ones. Shared by the log's handle, its writer and its readers.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::record::Place;
use crate::types::{Entry, LogId, Payload, Vote};

/// The log as it is after everything asked of it, also what is still on its way to the disk.
#[derive(Debug)]
pub(super) struct Index {
    /// Index of the first slot; where the next entry goes if there is none.
    first: u64,
    slots: VecDeque<Slot>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Slots before this one have no payload in memory.
    cached_from: u64,
    cached_bytes: usize,
    cache_limit: usize,
    files: BTreeMap<u64, Arc<File>>,
}

#[derive(Debug)]
struct Slot {
    id: LogId,
    /// `None` until the writer has put it on disk.
    place: Option<Place>,
    payload: Option<Payload>,
}

/// An entry, or where to read it.
pub(super) enum Found {
    Here(Entry),
    There {
        id: LogId,
        place: Place,
        file: Arc<File>,
    },
}

impl Index {
    pub(super) fn new(cache_limit: usize) -> Self {
        Self {
            first: 0,
            slots: VecDeque::new(),
            purged: None,
            vote: None,
            committed: None,
            cached_from: 0,
            cached_bytes: 0,
            cache_limit,
            files: BTreeMap::new(),
        }
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(super) fn set_vote(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub(super) fn set_committed(&mut self, id: LogId) {
        self.committed = Some(id);
    }

    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    pub(super) fn first_index(&self) -> u64 {
        self.first
    }

    pub(super) fn last_id(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Adds the next entry. The first one ever may have any index.
    pub(super) fn push(&mut self, entry: Entry, place: Option<Place>) -> io::Result<()> {
        let index = entry.log_id.index;
        if self.purged.is_none() {
            self.rebase_if_empty(index);
        }
        if index != self.next_index() {
            return Err(io::Error::other(format!(
                "entry {index} would follow entry {}",
                self.next_index().wrapping_sub(1)
            )));
        }
        let keep = place.is_none();
        if keep {
            self.cached_bytes += weight(&entry.payload);
        } else {
            self.cached_from = index + 1;
        }
        self.slots.push_back(Slot {
            id: entry.log_id,
            place,
            payload: keep.then_some(entry.payload),
        });
        Ok(())
    }

    /// Lets an empty log go on at any index. Recovery needs this: the first segment left may begin
    /// with entries whose predecessors a purge recorded further on took away.
    pub(super) fn rebase_if_empty(&mut self, index: u64) {
        if self.slots.is_empty() {
            self.first = index;
            self.cached_from = index;
        }
    }

    pub(super) fn truncate_after(&mut self, after: Option<LogId>) {
        let next = after.map_or(0, |id| id.index + 1);
        while self.next_index() > next {
            let Some(slot) = self.slots.pop_back() else {
                break;
            };
            self.cached_bytes -= slot.payload.as_ref().map_or(0, weight);
        }
        if self.slots.is_empty() && self.purged.is_none() {
            self.first = next;
        }
        self.cached_from = self.cached_from.min(self.next_index());
    }

    /// Forgets everything up to `upto`, which may be beyond the end.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        while self.first <= upto.index {
            let Some(slot) = self.slots.pop_front() else {
                break;
            };
            self.cached_bytes -= slot.payload.as_ref().map_or(0, weight);
            self.first += 1;
        }
        if self.slots.is_empty() {
            self.first = upto.index + 1;
        }
        self.cached_from = self.cached_from.max(self.first);
        self.purged = Some(upto);
    }

    /// Says that an entry is on disk, if it is still part of the log.
    pub(super) fn placed(&mut self, id: LogId, place: Place) {
        let Some(position) = id.index.checked_sub(self.first) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(position as usize)
            && slot.id == id
        {
            slot.place = Some(place);
        }
    }

    /// Drops the oldest payloads that are on disk, down to the limit.
    pub(super) fn evict(&mut self) {
        while self.cached_bytes > self.cache_limit {
            let position = (self.cached_from - self.first) as usize;
            let Some(slot) = self.slots.get_mut(position) else {
                return;
            };
            if slot.place.is_none() {
                return;
            }
            let freed = slot.payload.take().as_ref().map_or(0, weight);
            self.cached_bytes -= freed;
            self.cached_from += 1;
        }
    }

    /// The entries of a range that the log has, at most `limit_bytes` of them but at least one.
    pub(super) fn find(&self, range: Range<u64>, limit_bytes: usize) -> io::Result<Vec<Found>> {
        let mut bytes = 0;
        let mut found = Vec::new();
        for index in range.start.max(self.first)..range.end.min(self.next_index()) {
            let slot = &self.slots[(index - self.first) as usize];
            let (entry, size) = match (&slot.payload, slot.place) {
                (Some(payload), _) => {
                    let entry = Entry {
                        log_id: slot.id,
                        payload: payload.clone(),
                    };
                    (Found::Here(entry), weight(payload))
                }
                (None, Some(place)) => {
                    let file = self.files.get(&place.segment).cloned().ok_or_else(|| {
                        io::Error::other(format!("segment {} is gone", place.segment))
                    })?;
                    let id = slot.id;
                    (Found::There { id, place, file }, place.bytes as usize)
                }
                (None, None) => return Err(io::Error::other(format!("entry {index} is lost"))),
            };
            bytes += size;
            if bytes > limit_bytes && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// Ids of the last entry of each leader, within a range of indexes.
    pub(super) fn last_of_each_leader(&self, first: u64, last: u64) -> Vec<LogId> {
        let mut ids: Vec<LogId> = Vec::new();
        for index in first.max(self.first)..(last + 1).min(self.next_index()) {
            let id = self.slots[(index - self.first) as usize].id;
            match ids.last_mut() {
                Some(seen) if seen.leader_id == id.leader_id => *seen = id,
                _ => ids.push(id),
            }
        }
        ids
    }

    pub(super) fn add_file(&mut self, segment: u64, file: Arc<File>) {
        self.files.insert(segment, file);
    }

    /// Takes away the segments that hold nothing of the log any more; never `active`.
    pub(super) fn unused_segments(&mut self, active: u64) -> Vec<u64> {
        let oldest = self.slots.front().map_or(active, |slot| {
            slot.place.map_or(active, |place| place.segment).min(active)
        });
        let kept = self.files.split_off(&oldest);
        let unused = std::mem::replace(&mut self.files, kept);
        unused.into_keys().collect()
    }
}

/// What a payload costs in memory, roughly.
fn weight(payload: &Payload) -> usize {
    match payload {
        Payload::Normal(data) => data.0.len() + 64,
        Payload::Blank => 64,
        Payload::Membership(membership) => 64 + 128 * membership.nodes().count(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload;
    use super::*;
    use crate::types::log_id;

    fn entry(term: u64, index: u64) -> Entry {
        Entry {
            log_id: log_id(term, 1, index),
            payload: payload::normal(vec![0; 36].into()),
        }
    }

    fn place(segment: u64) -> Place {
        Place {
            segment,
            offset: 32,
            bytes: 76,
        }
    }

    fn filled(entries: u64) -> Index {
        let mut index = Index::new(1000);
        for at in 0..entries {
            index.push(entry(1, at), None).unwrap();
        }
        index
    }

    #[test]
    fn an_entry_with_a_gap_before_it_is_refused() {
        let mut index = filled(3);
        assert!(index.push(entry(1, 4), None).is_err());
        assert!(index.push(entry(1, 2), None).is_err());
        index.push(entry(1, 3), None).unwrap();
    }

    #[test]
    fn payloads_leave_memory_oldest_first_and_only_once_on_disk() {
        let mut index = filled(20);
        index.evict();
        assert_eq!(index.cached_bytes, 2000, "nothing is on disk yet");
        for at in 0..20 {
            index.placed(log_id(1, 1, at), place(1));
        }
        index.evict();
        assert_eq!(index.cached_bytes, 1000);
        index.add_file(1, Arc::new(tempfile::tempfile().unwrap()));
        let found = index.find(0..20, usize::MAX).unwrap();
        assert!(matches!(found[9], Found::There { .. }));
        assert!(matches!(found[10], Found::Here(_)));
    }

    #[test]
    fn a_range_is_limited_in_bytes_but_never_empty() {
        let index = filled(10);
        assert_eq!(index.find(0..10, 250).unwrap().len(), 2);
        assert_eq!(index.find(0..10, 1).unwrap().len(), 1);
    }

    #[test]
    fn a_place_is_not_given_to_another_entry_at_the_same_index() {
        let mut index = filled(3);
        index.truncate_after(Some(log_id(1, 1, 1)));
        index.push(entry(2, 2), None).unwrap();
        index.placed(log_id(1, 1, 2), place(1));
        assert!(index.slots[2].place.is_none());
    }

    #[test]
    fn a_segment_is_unused_once_all_its_entries_are_purged() {
        let mut index = filled(4);
        for segment in 1..=3 {
            index.add_file(segment, Arc::new(tempfile::tempfile().unwrap()));
        }
        for at in 0..4 {
            index.placed(log_id(1, 1, at), place(1 + at / 2));
        }
        index.purge(log_id(1, 1, 0));
        assert!(index.unused_segments(3).is_empty());
        index.purge(log_id(1, 1, 1));
        assert_eq!(index.unused_segments(3), vec![1]);
        index.purge(log_id(1, 1, 9));
        assert_eq!(index.unused_segments(3), vec![2]);
        index.push(entry(1, 10), None).unwrap();
    }

    #[test]
    fn the_last_entry_of_each_leader_is_found() {
        let mut index = Index::new(1000);
        for (term, at) in [(1, 0), (1, 1), (2, 2), (2, 3), (5, 4), (5, 5)] {
            index.push(entry(term, at), None).unwrap();
        }
        let ids: Vec<_> = index
            .last_of_each_leader(0, 5)
            .iter()
            .map(|id| (id.leader_id.term, id.index))
            .collect();
        assert_eq!(ids, vec![(1, 1), (2, 3), (5, 5)]);
    }
}
