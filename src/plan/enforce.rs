//! Tasks that may not stay where they are: their node no longer meets the constraints, or has
//! shrunk below what its tasks reserve.

use std::collections::BTreeMap;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use crate::spec::Availability;
use crate::state::claims::Claims;
use crate::state::task::TaskState;
use crate::state::{Node, Task};

const MISPLACED: &str = "assigned node no longer meets constraints";

/// Rejects misplaced tasks; what becomes of their slots is decided as after any other failure.
/// Paused nodes keep their tasks, drained and silent ones lose them anyway. A task that suits its
/// node goes on to do so until the node changes.
pub(super) fn reject_misplaced(desk: &mut Desk<'_>, board: &mut Board<'_>) {
    let placed: Vec<_> = desk
        .tasks()
        .filter(|task| task.is_wanted() && task.occupies_node())
        .filter(|task| task.node.is_some_and(|node| board.may_have_changed(node)))
        .cloned()
        .collect();
    if placed.is_empty() {
        return;
    }
    let specs = &desk.service.specs;
    let needs: BTreeMap<u64, Needs<'_>> = specs
        .iter()
        .map(|(version, spec)| (*version, Needs::of(spec)))
        .collect();
    for task in placed {
        let Some(node) = task.node.and_then(|node| desk.state.node(node)) else {
            continue;
        };
        let settled = node.spec.availability == Availability::Active && !node.is_down();
        if settled && (!suits(desk, &needs, &task, node) || overcommits(&task, node, board)) {
            desk.end(task.id, TaskState::Rejected, MISPLACED);
            board.give_back(node.id, &task);
        }
    }
}

/// A global service's tasks on nodes that do not suit it are stopped, not rejected.
fn suits(desk: &Desk<'_>, needs: &BTreeMap<u64, Needs<'_>>, task: &Task, node: &Node) -> bool {
    let version = if desk.is_clean(task) {
        desk.service.spec_version
    } else {
        task.spec_version
    };
    let global = task.slot.node().is_some();
    global || needs.get(&version).is_none_or(|needs| needs.suits(node))
}

fn overcommits(task: &Task, node: &Node, board: &Board<'_>) -> bool {
    let (usage, has) = (board.usage(node.id), &node.description);
    let exceeds = |claims: &Claims| usage.taken.exceeds(claims, has);
    task.claims.as_deref().is_some_and(exceeds)
        || (task.reserved.nano_cpus > 0 && usage.nano_cpus > has.nano_cpus)
        || (task.reserved.memory_bytes > 0 && usage.memory_bytes > has.memory_bytes)
}
