//! Replicated services: as many slots as wanted, each with a task.

use std::collections::BTreeMap;

use super::desk::Desk;
use super::restart;
use crate::spec::NodeId;
use crate::state::task::{DesiredState, Gate, Slot, TaskState};

/// New slots that one look makes at most; the rest are made in the next passes.
const SLOTS_AT_ONCE: u64 = 10_000;

/// Makes missing tasks, takes away surplus slots. Returns the slots that stay, in order.
pub(super) fn settle(desk: &mut Desk<'_>) -> Vec<Slot> {
    let replicas = desk.service.spec.replicas().unwrap_or(0);
    let slots = desk.slots();
    let mut held: Vec<Slot> = slots
        .iter()
        .copied()
        .filter(|slot| !desk.is_restless(*slot) || !restart::is_vacant(desk, *slot))
        .collect();
    let count = held.len() as u64;
    if count < replicas {
        held.extend(add(desk, &held, replicas - count));
    } else if count > replicas {
        // As many as an index can hold are more than there are.
        keep_best(
            desk,
            &mut held,
            usize::try_from(replicas).unwrap_or(usize::MAX),
        );
    }
    held.sort();
    for slot in slots {
        if held.binary_search(&slot).is_err() {
            remove(desk, slot);
        }
    }
    held
}

/// Fills the lowest free slot numbers.
fn add(desk: &mut Desk<'_>, held: &[Slot], missing: u64) -> Vec<Slot> {
    let free: Vec<Slot> = (1..)
        .map(Slot::Replica)
        .filter(|slot| held.binary_search(slot).is_err())
        .take(usize::try_from(missing.min(SLOTS_AT_ONCE)).unwrap_or(0))
        .collect();
    let version = desk.newcomer_version();
    desk.reserve(free.len());
    for slot in &free {
        let given_up = desk
            .in_slot(*slot)
            .all(|task| task.desired == DesiredState::Remove);
        if given_up {
            desk.create(*slot, version, Gate::default());
        } else {
            restart::fill(desk, *slot, version);
        }
    }
    free
}

/// Keeps that many slots. Those that do not run go first, then those on the nodes with the most,
/// then high numbers, so that the nodes stay even.
fn keep_best(desk: &Desk<'_>, held: &mut Vec<Slot>, count: usize) {
    let mut ranked: Vec<(bool, Slot, Option<NodeId>)> = held
        .iter()
        .map(|slot| {
            let wanted = desk.wanted(*slot);
            let idle = !wanted
                .iter()
                .any(|task| task.status.state == TaskState::Running);
            let node = match wanted.as_slice() {
                [task] if !desk.is_leaving(task) => task.node,
                // Being replaced or moved, or ended: it counts for no node and is the first to go.
                _ => None,
            };
            (idle, *slot, node)
        })
        .collect();
    ranked.sort();
    let mut on_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut numbered: Vec<(u64, Slot)> = ranked
        .into_iter()
        .map(|(_, slot, node)| {
            let nth = node.map_or(u64::MAX, |node| {
                let nth = on_node.entry(node).or_default();
                *nth += 1;
                *nth
            });
            (nth, slot)
        })
        .collect();
    // Stable: among the n-th of each node, those that run and have low numbers stay in front.
    numbered.sort_by_key(|(nth, _)| *nth);
    *held = numbered
        .into_iter()
        .take(count)
        .map(|(_, slot)| slot)
        .collect();
}

/// Gives a slot up, history included.
pub(super) fn remove(desk: &mut Desk<'_>, slot: Slot) {
    let tasks: Vec<_> = desk.in_slot(slot).map(|task| task.id).collect();
    for task in tasks {
        desk.set_desired(task, DesiredState::Remove);
    }
}
