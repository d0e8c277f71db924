//! The tasks of one service as a look finds and leaves them, by id and by slot.
//!
//! Tasks that the look does not change are borrowed from the state, and what is derived from them
//! is kept in arrays: a service of many thousands is looked at again with each of its steps.

use std::sync::Arc;

use crate::spec::by_id::ById;
use crate::spec::{TaskId, Timestamp};
use crate::state::Task;
use crate::state::task::{DesiredState, Slot};

#[derive(Debug, Default)]
pub(super) struct Roster<'a> {
    /// Those of the state by id, then those that the look has made.
    entries: Vec<Entry<'a>>,
    /// The ids of those of the state.
    ids: Vec<TaskId>,
    /// Where those are that the look has made.
    made: ById<TaskId, usize>,
    /// Slots that have tasks of the state, and where those are in `by_slot`.
    slots: Vec<Group>,
    by_slot: Vec<usize>,
    /// The tasks that the look has made, which are the newest of their slots: where the first is,
    /// and the others.
    made_in: ById<Slot, (usize, Vec<usize>)>,
    /// The slots of those.
    made_slots: Vec<Slot>,
}

#[derive(Debug)]
struct Entry<'a> {
    /// As the state has it.
    known: Option<&'a Arc<Task>>,
    /// As the look leaves it, where that is something else.
    ours: Option<Arc<Task>>,
    /// Forgotten by the look.
    gone: bool,
    /// Which of the look's changes makes it.
    birth: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    slot: Slot,
    begin: usize,
    end: usize,
}

impl<'a> Roster<'a> {
    /// `tasks` are those of the state, by id.
    pub(super) fn of(tasks: impl Iterator<Item = &'a Arc<Task>>) -> Self {
        let mut roster = Self::default();
        let mut ages: Vec<(Slot, Timestamp, usize)> = Vec::new();
        for (place, task) in tasks.enumerate() {
            roster.ids.push(task.id);
            ages.push((task.slot, task.meta.created_at, place));
            roster.entries.push(Entry {
                known: Some(task),
                ours: None,
                gone: false,
                birth: None,
            });
        }
        // Of the same age, the one with the lesser id comes first.
        if !put_in_order(&mut ages) {
            ages.sort_unstable();
        }
        roster.by_slot.reserve(ages.len());
        for (slot, _, place) in ages {
            roster.by_slot.push(place);
            let end = roster.by_slot.len();
            match roster.slots.last_mut().filter(|last| last.slot == slot) {
                Some(last) => last.end = end,
                None => roster.slots.push(Group {
                    slot,
                    begin: end - 1,
                    end,
                }),
            }
        }
        roster
    }

    /// All slots that have tasks of any kind, in order.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.slots.iter().map(|group| group.slot).collect();
        let known = slots.len();
        let made = self.made_slots.iter().copied();
        slots.extend(made.filter(|slot| self.group(*slot).is_none()));
        if slots.len() > known {
            slots.sort_unstable();
        }
        slots
    }

    /// The slots that have tasks of the state, each with its task if all others are but history, and
    /// no more of that than `most` tasks leave room for.
    pub(super) fn only(&self, most: usize) -> impl Iterator<Item = (Slot, Option<&Arc<Task>>)> {
        self.slots.iter().map(move |group| {
            let mut tasks = self.by_slot[group.begin..group.end]
                .iter()
                .filter_map(|place| self.entries[*place].task())
                .filter(|task| !(task.has_ended() && task.desired == DesiredState::Shutdown));
            let only = tasks.next().filter(|_| group.end - group.begin <= most);
            (group.slot, only.filter(|_| tasks.next().is_none()))
        })
    }

    /// Whether a slot has, or had, any task.
    pub(super) fn has_slot(&self, slot: Slot) -> bool {
        self.group(slot).is_some() || self.made_in.contains(&slot)
    }

    /// Which of the look's changes makes a task, if one does.
    pub(super) fn birth(&self, id: TaskId) -> Option<usize> {
        self.entries.get(self.place(id)?)?.birth
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.entries.iter().filter_map(Entry::task)
    }

    /// All tasks, each with what the state has of it.
    pub(super) fn tasks_before(&self) -> impl Iterator<Item = (&Arc<Task>, Option<&Arc<Task>>)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry.task()?, entry.known)))
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.entries.get(self.place(id)?)?.task()
    }

    /// The tasks of a slot, oldest first.
    pub(super) fn in_slot(&self, slot: Slot) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let known = self
            .group(slot)
            .map(|group| &self.by_slot[group.begin..group.end]);
        let made = self.made_in.get(&slot).into_iter();
        known
            .into_iter()
            .flatten()
            .chain(made.flat_map(|(first, others)| std::iter::once(first).chain(others)))
            .filter_map(|place| self.entries[*place].task())
    }

    /// A task to be changed.
    pub(super) fn change(&mut self, id: TaskId) -> Option<&mut Task> {
        let place = self.place(id)?;
        let entry = self.entries.get_mut(place).filter(|entry| !entry.gone)?;
        if entry.ours.is_none() {
            entry.ours = entry.known.cloned();
        }
        entry.ours.as_mut().map(Arc::make_mut)
    }

    /// Makes room for that many tasks that the look is about to make.
    pub(super) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
        self.made.reserve(more);
        self.made_in.reserve(more);
        self.made_slots.reserve(more);
    }

    /// A task that the look makes by the change of that number: the newest of its slot.
    pub(super) fn add(&mut self, task: Task, birth: usize) {
        let place = self.entries.len();
        self.made.insert(task.id, place);
        let mut is_first = false;
        let made = self.made_in.get_or_insert_with(task.slot, || {
            is_first = true;
            (place, Vec::new())
        });
        if is_first {
            self.made_slots.push(task.slot);
        } else {
            made.1.push(place);
        }
        self.entries.push(Entry {
            known: None,
            ours: Some(Arc::new(task)),
            gone: false,
            birth: Some(birth),
        });
    }

    /// Forgets a task; whether it was there.
    pub(super) fn remove(&mut self, id: TaskId) -> bool {
        let entry = self.place(id).and_then(|place| self.entries.get_mut(place));
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.gone, true))
    }

    fn place(&self, id: TaskId) -> Option<usize> {
        match self.ids.binary_search(&id) {
            Ok(place) => Some(place),
            Err(_) => self.made.get(&id).copied(),
        }
    }

    fn group(&self, slot: Slot) -> Option<Group> {
        let place = self.slots.binary_search_by_key(&slot, |group| group.slot);
        self.slots.get(place.ok()?).copied()
    }
}

impl Entry<'_> {
    fn task(&self) -> Option<&Arc<Task>> {
        let task = self.ours.as_ref().or(self.known);
        task.filter(|_| !self.gone)
    }
}

/// Puts tasks in the order of their slots without comparing each with many: where slots are
/// numbered, and the numbers are no greater than is usual. Whether that could be done.
fn put_in_order(ages: &mut Vec<(Slot, Timestamp, usize)>) -> bool {
    let most = ages.len() * 2 + 16;
    let number = |slot: Slot| match slot {
        Slot::Replica(number) => usize::try_from(number).ok().filter(|number| *number < most),
        _ => None,
    };
    // How many tasks there are before those of each number.
    let mut begins = vec![0; most + 1];
    for (slot, ..) in ages.iter() {
        let Some(number) = number(*slot) else {
            return false;
        };
        begins[number + 1] += 1;
    }
    for place in 1..begins.len() {
        begins[place] += begins[place - 1];
    }
    let mut ordered = ages.clone();
    for age in ages.drain(..) {
        // All have a number, as was seen above.
        if let Some(begin) = number(age.0).and_then(|number| begins.get_mut(number)) {
            ordered[*begin] = age;
            *begin += 1;
        }
    }
    for of_slot in ordered.chunk_by_mut(|one, other| one.0 == other.0) {
        of_slot.sort_unstable();
    }
    *ages = ordered;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_lie_by_slot_and_age() {
        let rows: [&[(u64, i64)]; 4] = [
            &[],
            &[(2, 5), (1, 9), (2, 3), (1, 1), (0, 4)],
            &[(3, 1), (2, 1), (1, 1)],
            &[(1_000_000, 1), (2, 1)],
        ];
        for (row, fast) in rows.into_iter().zip([true, true, true, false]) {
            let given = row.iter().enumerate();
            let mut ages: Vec<_> = given
                .map(|(place, (slot, at))| (Slot::Replica(*slot), Timestamp(*at), place))
                .collect();
            let mut sorted = ages.clone();
            sorted.sort();
            assert_eq!(put_in_order(&mut ages), fast);
            assert!(!fast || ages == sorted, "{ages:?}");
        }
        let mut mixed = vec![(Slot::Completion { run: 1, number: 0 }, Timestamp(0), 0)];
        assert!(!put_in_order(&mut mixed));
    }
}
