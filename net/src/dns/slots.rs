//! How much may be under way at one time, and how much of it for one caller:
//! what one container asks for must not keep the others waiting.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// A number of places. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    taken: Arc<Mutex<Taken>>,
    /// For all callers together.
    most: usize,
    /// For one caller.
    most_each: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_caller: HashMap<Ipv4Addr, usize>,
}

/// One place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    caller: Ipv4Addr,
}

impl Slots {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
            most_each,
        }
    }

    /// A place for `caller`, if there is one.
    pub(super) fn take(&self, caller: Ipv4Addr) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = taken.by_caller.get(&caller).copied().unwrap_or(0);
        if taken.all >= self.most || of_caller >= self.most_each {
            return None;
        }
        taken.all += 1;
        taken.by_caller.insert(caller, of_caller + 1);
        Some(Slot {
            slots: self.clone(),
            caller,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let taken = self.slots.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_caller) = taken.by_caller.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                taken.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_take_all_places() {
        let [greedy, modest] = [1, 2].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let slots = Slots::new(3, 2);
        let first = slots.take(greedy);
        let second = slots.take(greedy);
        assert!(first.is_some() && second.is_some());
        assert!(slots.take(greedy).is_none());
        let third = slots.take(modest);
        assert!(third.is_some());
        assert!(slots.take(modest).is_none(), "all are taken");
        drop(first);
        assert!(slots.take(greedy).is_some());
        drop((second, third));
        assert!(slots.taken.lock().unwrap().by_caller.is_empty());
    }
}
