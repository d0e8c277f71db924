//! What the planner tells of a service, in the API's words.

use crate::api::wire::planning::{
    Explanation, NodeVerdict, Obstacle, Rehearsal, Step, StillWaiting, WaitingTasks,
};
use crate::plan;
use crate::spec::{NodeId, ServiceId, Timestamp};
use crate::state::task::Slot;
use crate::state::{Op, Rejected, Service, State};

/// Why a service's tasks wait, and what would let them run.
pub fn explain(state: &State, service: &Service, now: Timestamp) -> Explanation {
    let found = plan::explain(state, service.id, now);
    let waiting = found.waiting.into_iter().map(|tasks| WaitingTasks {
        tasks: tasks
            .slots
            .iter()
            .map(|slot| task_name(state, service.name(), *slot))
            .collect(),
        image: service
            .spec_at(tasks.spec_version)
            .map_or_else(String::new, |spec| {
                spec.task_template.container_spec.image.clone()
            }),
        reason: tasks.reason.to_string(),
        nodes: tasks
            .nodes
            .iter()
            .map(|verdict| node_verdict(state, verdict))
            .collect(),
        remedies: tasks.remedies.iter().map(plan::Remedy::text).collect(),
    });
    Explanation {
        service: service.name().to_owned(),
        waiting: waiting.collect(),
        rollout: found.rollout.iter().map(ToString::to_string).collect(),
    }
}

/// What a change of a service would do.
pub fn rehearse(
    state: &State,
    op: Op,
    (id, name): (ServiceId, &str),
    now: Timestamp,
) -> Result<Rehearsal, Rejected> {
    let found = plan::rehearse(state, op, id, now)?;
    let task = |slot: Slot| task_name(state, name, slot);
    let steps = found.steps.into_iter().map(|(after, step)| {
        let (action, slot, image, node, message) = match step {
            plan::Step::Stop { slot, image, node } => {
                ("stop", Some(slot), image, node, String::new())
            }
            plan::Step::Make { slot, image } => {
                ("make", Some(slot), image, String::new(), String::new())
            }
            plan::Step::Place { slot, image, node } => {
                ("place", Some(slot), image, node, String::new())
            }
            plan::Step::Run { slot, image, node } => {
                ("run", Some(slot), image, node, String::new())
            }
            plan::Step::Wait { slot, why } => (
                "wait",
                Some(slot),
                String::new(),
                String::new(),
                why.to_string(),
            ),
            plan::Step::Rollout { message, .. } => {
                ("rollout", None, String::new(), String::new(), message)
            }
        };
        Step {
            after,
            action: action.to_owned(),
            task: slot.map_or_else(String::new, task),
            image,
            node,
            message,
        }
    });
    Ok(Rehearsal {
        steps: steps.collect(),
        cut_short: found.cut_short,
        waiting: found
            .waiting
            .iter()
            .map(|(slot, why)| StillWaiting {
                task: task(*slot),
                reason: why.to_string(),
            })
            .collect(),
    })
}

fn node_verdict(state: &State, verdict: &plan::Verdict) -> NodeVerdict {
    let obstacles = verdict.obstacles.iter().map(|obstacle| Obstacle {
        filter: obstacle.rejection().to_string(),
        reason: obstacle.to_string(),
    });
    NodeVerdict {
        id: verdict.node.to_string(),
        node: node_name(state, verdict.node),
        obstacles: obstacles.collect(),
    }
}

fn task_name(state: &State, service: &str, slot: Slot) -> String {
    match slot {
        Slot::Node(node) => format!("{service}.{}", node_name(state, node)),
        slot => format!("{service}.{slot}"),
    }
}

fn node_name(state: &State, node: NodeId) -> String {
    state.node(node).map_or_else(
        || node.to_string(),
        |node| node.description.hostname.clone(),
    )
}
