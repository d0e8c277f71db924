//! Global services: one task on every node that suits. On a node that is drained it goes on until
//! all tasks have left that can run elsewhere: they may need it.

use super::desk::Desk;
use super::filters::Needs;
use super::{replicas, restart};
use crate::state::stay::Stay;
use crate::state::task::{DesiredState, Slot, Waiting};
use crate::state::{Node, State};

/// Makes missing tasks, stops those on nodes that no longer qualify. Returns the slots that stay.
pub(super) fn settle(desk: &mut Desk<'_>) -> Vec<Slot> {
    let needs = Needs::of(&desk.service.spec);
    let (state, now) = (desk.state, desk.now);
    let qualifies = |node: &Node| {
        let stays = !node.is_draining(now) || has_movable_tasks(state, node);
        node.keeps_tasks(now) && needs.suits(node) && stays
    };
    for slot in desk.slots() {
        match slot.node().and_then(|node| desk.state.node(node)) {
            None => replicas::remove(desk, slot),
            Some(node) if qualifies(node) => {}
            Some(_) => {
                for task in desk.wanted(slot) {
                    desk.set_desired(task.id, DesiredState::Shutdown);
                }
            }
        }
    }
    let version = desk.newcomer_version();
    let mut slots = Vec::new();
    for node in desk.state.nodes().filter(|node| qualifies(node)) {
        let slot = Slot::Node(node.id);
        // A paused node keeps what it has and gets nothing new.
        if node.takes_tasks() && restart::is_vacant(desk, slot) {
            restart::fill(desk, slot, version);
        }
        if node.is_draining(now) {
            if restart::is_vacant(desk, slot) {
                // It has none there to stay, and whether others stay is nothing to it.
                continue;
            }
            stay_till_last(desk, slot, node);
        }
        slots.push(slot);
    }
    slots
}

/// Whether tasks are on a node that can also run elsewhere.
fn has_movable_tasks(state: &State, node: &Node) -> bool {
    state
        .tasks_on(node.id)
        .any(|task| !task.has_ended() && task.slot.node().is_none())
}

fn stay_till_last(desk: &mut Desk<'_>, slot: Slot, node: &Node) {
    for task in desk.wanted(slot) {
        desk.hold(task.id, Waiting::Leaving(Stay::Last));
    }
    if let Some(deadline) = node.drain_deadline {
        desk.wake(deadline);
    }
}
