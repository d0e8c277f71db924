//! Moving tasks off nodes that are being drained, as an update would replace them: in the service's
//! order, as many at a time as its parallelism allows, with its delay between them.
//!
//! A task moves only where there is a node for it; one that has none runs on where it is and says
//! why. What is in flight is read off the tasks, as in a rollout, and counts for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::desk::{Desk, Successor};
use super::flight::{self, Flight, Progress};
use super::wait::Wait;
use super::{place, restart, rollout};
use crate::spec::{Nanos, NodeId, Timestamp, UpdateOrder, UpdatePolicy};
use crate::state::Task;
use crate::state::stay::Stay;
use crate::state::task::{DesiredState, Gate, Slot, TaskState, Waiting};

/// The tasks of a slot that moves start-first.
#[derive(Debug)]
pub(super) struct Pair {
    /// Serves until the new one runs.
    pub(super) old: Arc<Task>,
    pub(super) new: Arc<Task>,
}

/// The tasks of a slot of which one is about to take the other's place in a move.
pub(super) fn pair(desk: &Desk<'_>, slot: Slot) -> Option<Pair> {
    let mut alive: Vec<Arc<Task>> = desk.wanted(slot);
    alive.retain(|task| !task.has_ended() && !restart::has_lost_node(desk, task));
    let new = alive.pop().filter(|task| task.in_move)?;
    let old = alive.into_iter().rev().find(|task| runs(task))?;
    Some(Pair { old, new })
}

/// Ends the moves whose new tasks run, and calls off those that are of no use any more: a newer
/// spec is being rolled out, or the new task has lost the place that it was made for.
pub(super) fn settle(desk: &mut Desk<'_>, slots: &[Slot]) {
    let rolls = rollout::advances(desk);
    for slot in desk.restless(slots) {
        let Some(Pair { old, new }) = pair(desk, slot) else {
            continue;
        };
        if runs(&new) {
            desk.set_desired(old.id, DesiredState::Shutdown);
        } else if new.node.is_none() || (rolls && !desk.is_clean(&new)) {
            desk.set_desired(new.id, DesiredState::Shutdown);
        }
    }
}

/// Moves those tasks whose turn it is; says of the others what they wait for.
pub(super) fn step(desk: &mut Desk<'_>, board: &mut Board<'_>, slots: &[Slot]) {
    let leaving = leaving(desk, slots);
    if leaving.is_empty() {
        return;
    }
    let policy = rollout::policy(desk);
    let mut flight = flight(desk, slots, &policy);
    let mut places = Places::default();
    for task in leaving {
        let deadline = task
            .node
            .and_then(|node| desk.state.node(node))
            .and_then(|node| node.drain_deadline);
        if let Some(deadline) = deadline {
            desk.wake(deadline);
        }
        if let Err(stay) = leave(desk, board, &task, &policy, &mut flight, &mut places) {
            if let Stay::Delay(until) = stay {
                desk.wake(until);
            }
            desk.hold(task.id, Waiting::Leaving(stay));
        }
    }
}

/// Moves a job's tasks at once: nobody is served by them, and their work begins anew elsewhere.
pub(super) fn step_job(desk: &mut Desk<'_>, board: &mut Board<'_>, slots: &[Slot]) {
    let mut places = Places::default();
    for task in leaving(desk, slots) {
        let node = task.node.and_then(|node| desk.state.node(node));
        if let Some(deadline) = node.and_then(|node| node.drain_deadline) {
            desk.wake(deadline);
        }
        if let Err(stay) = leave_at_once(desk, board, &task, &mut places) {
            desk.hold(task.id, Waiting::Leaving(stay));
        }
    }
}

/// Tasks on nodes that are being drained; those that do not run first, for moving them takes
/// nothing away. The tasks of a global service belong to their nodes.
fn leaving(desk: &Desk<'_>, slots: &[Slot]) -> Vec<Arc<Task>> {
    let mut leaving: Vec<Arc<Task>> = desk
        .restless(slots)
        .into_iter()
        .filter(|slot| slot.node().is_none())
        .flat_map(|slot| desk.wanted(slot))
        .filter(|task| !task.has_ended() && desk.is_leaving(task))
        .collect();
    leaving.sort_by_key(|task| (runs(task), task.slot, task.meta.created_at));
    leaving
}

/// Moves one task, or says why it stays for now.
fn leave(
    desk: &mut Desk<'_>,
    board: &mut Board<'_>,
    task: &Task,
    policy: &UpdatePolicy,
    flight: &mut Flight,
    places: &mut Places,
) -> Result<(), Stay> {
    let newer = desk
        .in_slot(task.slot)
        .rev()
        .take_while(|newer| newer.id != task.id)
        .find(|newer| newer.is_wanted() && !newer.has_ended());
    if let Some(newer) = newer {
        return Err(Stay::Successor(newer.id));
    }
    if !runs(task) {
        return leave_at_once(desk, board, task, places);
    }
    let rolls = rollout::advances(desk);
    if rolls && !desk.is_clean(task) {
        return Err(Stay::Turn);
    }
    if let Some(until) = failed_until(desk, task) {
        return Err(Stay::Delay(until));
    }
    let version = desk.successor_version(task);
    // A place first: what has none takes no room from the others.
    let node = places.best(desk, board, version)?;
    take_off(desk, flight)?;
    take_place(desk, board, task, node, policy.order);
    places.known.clear();
    Ok(())
}

/// Gives a running task's slot a new task on another node, in that order.
pub(super) fn take_place(
    desk: &mut Desk<'_>,
    board: &mut Board<'_>,
    old: &Task,
    node: NodeId,
    order: UpdateOrder,
) {
    let (old_desired, after) = match order {
        UpdateOrder::StartFirst => (old.desired, None),
        UpdateOrder::StopFirst => (DesiredState::Shutdown, Some(old.id)),
    };
    let new = Successor {
        spec_version: desk.successor_version(old),
        gate: Gate {
            not_before: None,
            after,
            dependencies: false,
        },
        in_rollout: false,
        in_move: true,
        taken_at: None,
        restarts: old.restarts.clone(),
    };
    let new = desk.replace(old, old_desired, new);
    desk.assign(new, node, board);
}

fn leave_at_once(
    desk: &mut Desk<'_>,
    board: &mut Board<'_>,
    task: &Task,
    places: &mut Places,
) -> Result<(), Stay> {
    let new = restart::moved(desk, task);
    let node = places.best(desk, board, new.spec_version)?;
    let new = desk.replace(task, DesiredState::Shutdown, new);
    desk.assign(new, node, board);
    places.known.clear();
    Ok(())
}

/// Where the next task of each spec would go, until one does.
#[derive(Debug, Default)]
struct Places {
    known: BTreeMap<u64, Result<NodeId, Waiting>>,
}

impl Places {
    fn best(
        &mut self,
        desk: &Desk<'_>,
        board: &mut Board<'_>,
        version: u64,
    ) -> Result<NodeId, Stay> {
        let known = self.known.entry(version);
        known
            .or_insert_with(|| place::node_for(desk, board, version))
            .clone()
            .map_err(|why| Stay::NowhereElse(Box::new(why)))
    }
}

/// Until when a task is left alone whose last move failed: for the delay of its restart policy.
fn failed_until(desk: &Desk<'_>, task: &Task) -> Option<Timestamp> {
    let last = desk.in_slot(task.slot).next_back()?;
    let failed = last.in_move && last.ended_by_itself();
    let until = last.status.applied_at + desk.restart_policy_of(task).delay();
    (failed && last.id != task.id && until > desk.now).then_some(until)
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running
}

/// The slots that are in flight, by a rollout's steps or by moves. Stop-first, slots that do not
/// serve for another reason count too: one more would leave fewer up than an update does.
fn flight(desk: &mut Desk<'_>, slots: &[Slot], policy: &UpdatePolicy) -> Flight {
    let mut flight = Flight::new(policy.parallelism);
    for slot in slots {
        let wanted = desk.wanted(*slot);
        let serves = wanted
            .iter()
            .any(|task| runs(task) && !restart::has_lost_node(desk, task));
        let counts = !serves && policy.order == UpdateOrder::StopFirst;
        let away = wanted
            .iter()
            .find(|task| flight::is_in_flight(task) || (counts && !has_no_place(task)));
        let free_at = wanted
            .iter()
            .filter_map(|task| free_at(task, policy.delay))
            .max()
            .filter(|until| *until > desk.now);
        let progress = match (away, free_at) {
            (Some(task), _) => Progress::InFlight(task.id),
            (None, Some(until)) => Progress::Delay(until),
            (None, None) => Progress::Landed,
        };
        flight.note(desk, progress);
    }
    flight
}

/// Takes one more slot, or says what keeps it from being taken.
fn take_off(desk: &Desk<'_>, flight: &mut Flight) -> Result<(), Stay> {
    if flight.take_off() {
        return Ok(());
    }
    Err(match flight.waits().as_slice() {
        [Wait::Delay(until)] => Stay::Delay(*until),
        [Wait::InFlight(tasks), ..] => tasks
            .iter()
            .filter_map(|task| desk.task(*task))
            .find(|task| !flight::is_in_flight(task))
            .map_or(Stay::Turn, |task| Stay::Down(task.slot)),
        _ => Stay::Turn,
    })
}

/// Whether a task waits for a node and may do so for ever: the service is not what it should be,
/// but nothing is on its way.
fn has_no_place(task: &Task) -> bool {
    task.node.is_none()
        && matches!(
            task.waiting.as_deref(),
            Some(Waiting::NoSuitableNode(_) | Waiting::AddressesExhausted(_))
        )
}

/// When the delay ends that a task's own step began.
fn free_at(task: &Task, delay: Nanos) -> Option<Timestamp> {
    let since = task.running_since.filter(|_| task.came_by_a_step())?;
    Some(since + delay)
}
