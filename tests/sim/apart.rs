//! Required anti-affinity is never violated by placing a task.

use swarmr::plan::Plan;
use swarmr::spec::extension::Strength;
use swarmr::state::{Change, Command, Op, Service, State, Task};

/// Where a plan puts a task there is none in the end that it, or that one, keeps apart from. In the
/// end: a task is made with its node, and who leaves that for its sake may be told later in the plan.
pub(super) fn keeps_apart(state: &State, plan: &Plan) {
    if state.services_keeping_apart().next().is_none() {
        return;
    }
    let mut state = state.clone();
    let at = state.clock();
    let op = Op::Plan(plan.changes.clone());
    state.apply(state.index() + 1, Command { at, op });
    let placed = plan.changes.iter().filter_map(|change| match change {
        Change::Assign { task, .. } => Some(*task),
        Change::CreateTask(new) | Change::ReplaceTask { new, .. } => Some(new.id),
        _ => None,
    });
    for task in placed.filter_map(|task| state.task(task)) {
        let Some(node) = task.node else { continue };
        for other in state.tasks_on(node) {
            let counts = other.id != task.id && other.is_wanted() && !other.has_ended();
            let own = other.service == task.service;
            if counts && !(own && has_successor(&state, other)) {
                assert!(
                    !keep_apart(&state, task, other) && !keep_apart(&state, other, task),
                    "{task:#?} was put beside {other:#?}"
                );
            }
        }
    }
}

/// Whether a newer task of its slot is there: then it does not stay.
fn has_successor(state: &State, task: &Task) -> bool {
    state.tasks_of(task.service).any(|newer| {
        newer.slot == task.slot
            && newer.meta.created_at > task.meta.created_at
            && newer.is_wanted()
            && !newer.has_ended()
    })
}

/// Whether one task's service keeps apart, host by host, from the other's.
fn keep_apart(state: &State, one: &Task, other: &Task) -> bool {
    let (Some(one), Some(other)) = (state.service(one.service), state.service(other.service))
    else {
        return false;
    };
    let rules = |service: &Service| {
        let extension = service.spec.extension();
        extension.anti_affinities
    };
    rules(one).iter().any(|rule| {
        rule.topology == "node.hostname"
            && rule.strength == Strength::Required
            && rule.selects(&other.spec.labels)
    })
}
