//! Why a service's tasks wait, node by node, and what would let them run.

use std::collections::BTreeMap;

use super::board::Board;
use super::desk::Desk;
use super::filters::Needs;
use super::neighbours::Neighbours;
use super::obstacles::{self, Verdict};
use super::place::own_by_node;
use super::remedy::{self, Remedy};
use super::wait::Wait;
use crate::spec::{NodeId, ServiceId, ServiceSpec, Timestamp};
use crate::state::stay::Stay;
use crate::state::task::{Slot, Waiting};
use crate::state::{Node, State, Task};

/// Remedies that are named at most.
const REMEDIES: usize = 3;

/// Everything that a service waits for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// Tasks that wait for the same.
    pub waiting: Vec<WaitingTasks>,
    /// What its rollout waits for.
    pub rollout: Vec<Wait>,
}

/// Tasks of one spec that wait for the same.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingTasks {
    pub slots: Vec<Slot>,
    pub spec_version: u64,
    pub reason: Waiting,
    /// What each node says; empty where it is not a node that they wait for.
    pub nodes: Vec<Verdict>,
    /// What would let one of them run, the smallest change first.
    pub remedies: Vec<Remedy>,
}

/// Explains a service as it stands. Pure: any manager can tell from its state.
pub fn explain(state: &State, service: ServiceId, now: Timestamp) -> Explanation {
    let now = now.max(state.clock());
    let Some(desk) = Desk::of(state, service, now) else {
        return Explanation::default();
    };
    let board = Board::new(state);
    let mut waiting: Vec<WaitingTasks> = Vec::new();
    for task in desk
        .tasks()
        .filter(|task| task.is_wanted() && !task.has_ended())
    {
        let Some(reason) = &task.waiting else {
            continue;
        };
        let same = |known: &&mut WaitingTasks| {
            known.reason == **reason
                && known.spec_version == task.spec_version
                && task.slot.node().is_none()
        };
        match waiting.iter_mut().find(same) {
            Some(known) => known.slots.push(task.slot),
            None => waiting.push(look_into(&desk, &board, task, reason)),
        }
    }
    for tasks in &mut waiting {
        tasks.slots.sort();
    }
    waiting.sort_by(|one, other| one.slots.cmp(&other.slots));
    Explanation {
        waiting,
        rollout: super::waits(state, service, now),
    }
}

fn look_into(desk: &Desk<'_>, board: &Board<'_>, task: &Task, reason: &Waiting) -> WaitingTasks {
    let (nodes, remedies) = match reason {
        Waiting::NoSuitableNode(_) => judge(desk, board, task),
        Waiting::Leaving(Stay::NowhereElse(why)) if matches!(**why, Waiting::NoSuitableNode(_)) => {
            judge(desk, board, task)
        }
        _ => (Vec::new(), Vec::new()),
    };
    WaitingTasks {
        slots: vec![task.slot],
        spec_version: task.spec_version,
        reason: reason.clone(),
        nodes,
        remedies,
    }
}

fn judge(desk: &Desk<'_>, board: &Board<'_>, task: &Task) -> (Vec<Verdict>, Vec<Remedy>) {
    let spec: &ServiceSpec = desk.placing_spec_of(task);
    let (needs, neighbours) = (Needs::of(spec), Neighbours::of(desk, board, spec));
    let own: BTreeMap<NodeId, u64> = own_by_node(desk);
    let (mut verdicts, mut remedies) = (Vec::new(), Vec::new());
    let candidates = desk.state.nodes().filter(|node| {
        let only = task.slot.node();
        only.is_none_or(|only| node.id == only)
    });
    for node in candidates {
        let usage = board.usage(node.id);
        let own = own.get(&node.id).copied().unwrap_or(0);
        let found = obstacles::of(&needs, &neighbours, node, usage, own);
        let keeps_rules = |spec: &ServiceSpec, node: &Node| keeps_rules(desk, board, spec, node);
        remedies.extend(remedy::of(
            desk.state,
            spec,
            node,
            usage,
            own,
            &found,
            &keeps_rules,
        ));
        verdicts.push(Verdict {
            node: node.id,
            obstacles: found,
        });
    }
    remedies.retain(|remedy| !remedy.fixes.is_empty());
    remedies.sort_by_key(Remedy::size);
    remedies.dedup_by(|remedy, former| remedy.repeats(former));
    let fewest = remedies.first().map_or(0, |remedy| remedy.fixes.len());
    remedies.retain(|remedy| remedy.fixes.len() == fewest);
    remedies.truncate(REMEDIES);
    (verdicts, remedies)
}

/// Whether a changed spec's own rules, and the others', let a task be on a changed node.
fn keeps_rules(desk: &Desk<'_>, board: &Board<'_>, spec: &ServiceSpec, node: &Node) -> bool {
    Neighbours::of(desk, board, spec).reject(node).is_none()
}
