//! Global services: one task on every node that suits.

use super::desk::Desk;
use super::filters::Needs;
use super::{replicas, restart};
use crate::state::Node;
use crate::state::task::{DesiredState, Slot};

/// Makes missing tasks, stops those on nodes that no longer qualify. Returns the slots that stay.
pub(super) fn settle(desk: &mut Desk<'_>) -> Vec<Slot> {
    let needs = Needs::of(&desk.service.spec);
    let qualifies = |node: &Node| node.keeps_tasks() && needs.suits(node);
    for slot in desk.slots() {
        let node = match slot {
            Slot::Node(node) => desk.state.node(node),
            Slot::Replica(_) => None,
        };
        match node {
            None => replicas::remove(desk, slot),
            Some(node) if qualifies(node) => {}
            Some(_) => {
                for task in desk.wanted(slot) {
                    desk.set_desired(task.id, DesiredState::Shutdown);
                }
            }
        }
    }
    let mut slots = Vec::new();
    for node in desk.state.nodes().filter(|node| qualifies(node)) {
        let slot = Slot::Node(node.id);
        // A paused node keeps what it has and gets nothing new.
        if node.takes_tasks() && restart::is_vacant(desk, slot) {
            restart::fill(desk, slot);
        }
        slots.push(slot);
    }
    slots
}
