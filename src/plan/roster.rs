//! The tasks of one service as a look finds and leaves them, by id and by slot.
//!
//! Tasks that the look does not change are borrowed from the state, and what is derived from them
//! is kept in arrays: a service of many thousands is looked at again with each of its steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::spec::by_id::ById;
use crate::spec::{TaskId, Timestamp};
use crate::state::Task;
use crate::state::task::Slot;

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
    /// The tasks that the look has made, which are the newest of their slots.
    made_in: BTreeMap<Slot, Vec<usize>>,
}

#[derive(Debug)]
struct Entry<'a> {
    /// As the state has it.
    known: Option<&'a Arc<Task>>,
    /// As the look leaves it, where that is something else.
    ours: Option<Arc<Task>>,
    /// Forgotten by the look.
    gone: bool,
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
            });
        }
        // Of the same age, the one with the lesser id comes first.
        ages.sort_unstable();
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
        let made = self.made_in.keys();
        slots.extend(made.filter(|slot| self.group(**slot).is_none()));
        if slots.len() > known {
            slots.sort_unstable();
        }
        slots
    }

    /// The slots that have tasks of the state, with the task of those that have but one.
    pub(super) fn only(&self) -> impl Iterator<Item = (Slot, Option<&Arc<Task>>)> {
        self.slots.iter().map(|group| {
            let only = match &self.by_slot[group.begin..group.end] {
                [place] => self.entries[*place].task(),
                _ => None,
            };
            (group.slot, only)
        })
    }

    /// Whether the look has made a task in a slot.
    pub(super) fn has_made_in(&self, slot: Slot) -> bool {
        !self.made_in.is_empty() && self.made_in.contains_key(&slot)
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
        let made = if self.made_in.is_empty() {
            None
        } else {
            self.made_in.get(&slot)
        };
        known
            .into_iter()
            .flatten()
            .chain(made.into_iter().flatten())
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

    /// A task that the look makes: the newest of its slot.
    pub(super) fn add(&mut self, task: Task) {
        let place = self.entries.len();
        self.made.insert(task.id, place);
        self.made_in.entry(task.slot).or_default().push(place);
        self.entries.push(Entry {
            known: None,
            ours: Some(Arc::new(task)),
            gone: false,
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
