//! Room for tasks that run beside the ones whose places they take.
//!
//! Start-first needs a place for both for a while. Where nodes have a port, a device or CPUs for
//! one only and none is spare, waiting for a place would be waiting for ever: there the slot's old
//! task stops first after all. It does so only if the filters say that the new one can then run, and
//! not while the rollout is paused.

use std::sync::Arc;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use super::neighbours::Neighbours;
use super::place::own_on;
use crate::spec::NodeId;
use crate::state::Task;
use crate::state::task::{DesiredState, Waiting};

/// What a task that no node takes waits for: the old task of its slot, which is told to stop if
/// nothing else will make room.
pub(super) fn make(
    desk: &mut Desk<'_>,
    board: &Board<'_>,
    (needs, neighbours): (&Needs<'_>, &Neighbours<'_>),
    task: &Task,
    waiting: Waiting,
) -> Waiting {
    let paused = desk
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.state.is_paused());
    if paused || !matches!(waiting, Waiting::NoSuitableNode(_)) {
        return waiting;
    }
    let old: Vec<Arc<Task>> = desk
        .in_slot(task.slot)
        .take_while(|old| old.id != task.id)
        .filter(|old| old.occupies_node() && !desk.is_lost(old))
        .cloned()
        .collect();
    let fits =
        |gone: &[Arc<Task>], at: NodeId| fits_without(desk, board, (needs, neighbours), gone, at);
    let with_place = |old: &&Arc<Task>| {
        let stopped = std::slice::from_ref(*old);
        old.node.is_some_and(|node| fits(stopped, node))
    };
    let stopping = old.iter().filter(|old| !old.is_wanted());
    if let Some(old) = stopping.clone().find(with_place) {
        return Waiting::Predecessor(old.id);
    }
    let Some(old) = old.iter().filter(|old| old.is_wanted()).find(with_place) else {
        return waiting;
    };
    // Others of the service are stopping: their room may do, and the slot stays up.
    let leaving: Vec<Arc<Task>> = desk
        .tasks()
        .filter(|other| !other.is_wanted() && other.occupies_node() && !desk.is_lost(other))
        .cloned()
        .collect();
    let nodes = leaving.iter().filter_map(|other| other.node);
    if nodes.into_iter().any(|node| fits(&leaving, node)) {
        return waiting;
    }
    let old = old.id;
    desk.set_desired(old, DesiredState::Shutdown);
    Waiting::Predecessor(old)
}

/// Whether a node takes a task once those others have stopped.
fn fits_without(
    desk: &Desk<'_>,
    board: &Board<'_>,
    (needs, neighbours): (&Needs<'_>, &Neighbours<'_>),
    gone: &[Arc<Task>],
    at: NodeId,
) -> bool {
    let Some(node) = desk.state.node(at) else {
        return false;
    };
    let mut usage = board.usage(at).clone();
    for other in gone.iter().filter(|other| other.node == Some(at)) {
        usage.remove(&other.reserved, other.claims.as_deref(), other.is_wanted());
    }
    let own = own_on(desk, at);
    needs.reject(node, &usage, own).is_none() && neighbours.reject(node).is_none()
}
