//! `/swarmr/v1/status`: one screen about the cluster, from this node's memory, so that it answers
//! when nothing else does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::control::{Consensus, Standing, StatusNode, StatusProblem, StatusReport};
use super::server::Api;
use super::warnings;
use super::wire::service;
use crate::spec::{Mode, NodeId, Role, Timestamp};
use crate::state::job::Outcome;
use crate::state::node::NodeState;
use crate::state::service::{Hold, Rollout};
use crate::state::task::Waiting;
use crate::state::{Job, Node, Service, State, Task};

/// Problems of one kind that are told one by one; the rest are counted.
const MOST_PROBLEMS: usize = 20;

/// How long the managers may take to agree on what they know before it is said that they do not.
const AGREE_WITHIN: Duration = Duration::from_secs(2);

/// The report as of now.
pub(super) async fn now(api: &Api) -> StatusReport {
    let mut consensus = api.control.consensus();
    if consensus.leader.is_some() {
        // A manager that does not lead cannot know by itself whether the leader it knows still is.
        let agreed = timeout(AGREE_WITHIN, api.control.read()).await;
        if !matches!(agreed, Ok(Ok(_))) {
            consensus.leader = None;
        }
    }
    status_report(
        &api.control.local_state(),
        &consensus,
        &api.control.standing(),
        api.control.now(),
    )
}

/// What there is to say of the cluster, seen from one node.
pub fn status_report(
    state: &State,
    consensus: &Consensus,
    standing: &Standing,
    now: Timestamp,
) -> StatusReport {
    let Standing::Member {
        node,
        cluster,
        role,
        managers,
        ..
    } = standing
    else {
        return outside(standing);
    };
    let mut report = StatusReport {
        node: node.to_string(),
        role: role.to_string(),
        cluster: cluster.to_string(),
        ..StatusReport::default()
    };
    if *role == Role::Worker {
        describe_worker(managers, &mut report);
        return report;
    }
    report.has_quorum = has_quorum(consensus);
    report.leader = consensus.leader.map(|leader| name_of(state, leader));
    describe_nodes(state, consensus, &mut report);
    blocked_drains(state, &mut report);
    missing_managers(state, consensus, now, &mut report);
    missing_workers(state, now, &mut report);
    for service in state.services() {
        describe_service(state, service, &mut report);
    }
    warnings::add(state, consensus, &mut report);
    report
}

fn outside(standing: &Standing) -> StatusReport {
    let (role, what, next) = match standing {
        Standing::Pending => (
            "joining",
            "this node is joining a cluster",
            "wait, or run swarmr leave --force to give up",
        ),
        _ => (
            "none",
            "this node is in no cluster",
            "run swarmr init to make one, or swarmr join to enter one",
        ),
    };
    StatusReport {
        role: role.to_owned(),
        problems: vec![StatusProblem {
            what: what.to_owned(),
            next: next.to_owned(),
        }],
        ..StatusReport::default()
    }
}

fn describe_worker(managers: &[(NodeId, String)], report: &mut StatusReport) {
    report.managers = managers
        .iter()
        .map(|(id, addr)| StatusNode {
            id: id.to_string(),
            addr: addr.clone(),
            state: "unknown".to_owned(),
            ..StatusNode::default()
        })
        .collect();
    report.warnings.push(
        "this node is a worker: it does not know the state of the cluster; ask a manager"
            .to_owned(),
    );
}

/// Whether enough voters answer for anything to be written.
fn has_quorum(consensus: &Consensus) -> bool {
    let answering = consensus
        .voters
        .iter()
        .filter(|voter| !consensus.unreachable.contains(voter))
        .count();
    consensus.leader.is_some() && answering >= consensus.quorum()
}

fn describe_nodes(state: &State, consensus: &Consensus, report: &mut StatusReport) {
    for node in state.nodes() {
        let silent = consensus.unreachable.contains(&node.id);
        let described = StatusNode {
            id: node.id.to_string(),
            hostname: name(node).to_owned(),
            addr: node.addr.clone(),
            state: match (silent, node.status.state) {
                (true, _) => "unreachable",
                (false, NodeState::Ready) => "ready",
                (false, NodeState::Down) => "down",
                (false, NodeState::Unknown) => "unknown",
            }
            .to_owned(),
            availability: node.spec.availability.to_string(),
            tasks: state
                .tasks_on(node.id)
                .filter(|task| task.is_serving())
                .count() as u64,
        };
        if node.is_manager() {
            report.managers.push(described);
        } else {
            report.workers.push(described);
        }
    }
}

fn missing_managers(
    state: &State,
    consensus: &Consensus,
    now: Timestamp,
    report: &mut StatusReport,
) {
    for id in &consensus.unreachable {
        let node = state.node(*id);
        let since = node.map(|node| since(node, now)).unwrap_or_default();
        let addr = node.map_or("unknown", |node| node.addr.as_str());
        report.problems.push(StatusProblem {
            what: format!(
                "manager {} ({addr}) does not answer{since}",
                name_of(state, *id)
            ),
            next: format!(
                "start it again, or check that UDP traffic to {addr} passes; if it is lost for good: swarmr node rm --force {id}"
            ),
        });
    }
    if !report.has_quorum {
        let voters = consensus.voters.len();
        let what = format!(
            "no quorum: {} of {voters} managers must answer, {} do; nothing can be changed, what runs goes on running",
            consensus.quorum(),
            voters.saturating_sub(consensus.unreachable.len()),
        );
        let next = if consensus.unreachable.is_empty() {
            "wait a moment: the managers are choosing a leader".to_owned()
        } else {
            let lost: Vec<String> = consensus
                .unreachable
                .iter()
                .map(|id| name_of(state, *id))
                .collect();
            format!(
                "start {} again; if they are lost for good, run swarmr init --force-new-cluster here",
                lost.join(" or ")
            )
        };
        report.problems.insert(0, StatusProblem { what, next });
    }
}

fn missing_workers(state: &State, now: Timestamp, report: &mut StatusReport) {
    let down: Vec<_> = state
        .nodes()
        .filter(|node| node.is_down() && !node.is_manager())
        .collect();
    for node in down.iter().take(MOST_PROBLEMS) {
        let (name, since) = (name(node), since(node, now));
        let why = if node.status.message.is_empty() {
            String::new()
        } else {
            format!(": {}", node.status.message)
        };
        report.problems.push(StatusProblem {
            what: format!("node {name} ({}) is down{since}{why}", node.addr),
            next: format!(
                "start it again; its tasks run elsewhere. If it is gone for good: swarmr node rm {name}"
            ),
        });
    }
    if let Some(more) = down
        .len()
        .checked_sub(MOST_PROBLEMS)
        .filter(|more| *more > 0)
    {
        report.problems.push(StatusProblem {
            what: format!("{more} more nodes are down"),
            next: "swarmr node ls shows them".to_owned(),
        });
    }
}

fn describe_service(state: &State, service: &Service, report: &mut StatusReport) {
    if let Some(job) = &service.job {
        describe_job(state, service, job, report);
        return stuck_tasks(state, service, report);
    }
    let counts = service::status(service, state);
    let (running, wanted) = (counts.running_tasks, counts.desired_tasks);
    let rollout = service.rollout.as_ref();
    let rolls = rollout.is_some_and(|rollout| rollout.state.is_active());
    if service.stopped {
        report.warnings.push(format!(
            "service {0} is stopped: swarmr service start {0} starts it",
            service.name()
        ));
        return;
    }
    if running != wanted || rolls {
        let progress = rollout
            .filter(|rollout| rollout.state.is_active())
            .map(|rollout| {
                let done = state
                    .tasks_of(service.id)
                    .filter(|task| task.is_serving() && task.spec_version == rollout.target)
                    .count();
                let kind = rollout.noun();
                format!(", {kind} in progress ({done} of {wanted} tasks)")
            })
            .unwrap_or_default();
        report.converging.push(format!(
            "{}: {running}/{wanted} running{progress}",
            service.name()
        ));
    }
    if let Some(rollout) = rollout {
        describe_hold(service, rollout, report);
    }
    stuck_tasks(state, service, report);
}

/// Why a rollout does not go on, and who must do what.
fn describe_hold(service: &Service, rollout: &Rollout, report: &mut StatusReport) {
    let name = service.name();
    if rollout.hold == Some(Hold::Promotion) {
        report
            .converging
            .push(format!("{name}: {}", rollout.message));
    } else if rollout.state.is_paused() {
        let next = if rollout.hold == Some(Hold::User) {
            format!("swarmr service resume {name} lets it go on")
        } else {
            format!(
                "swarmr service ps {name} shows why; then swarmr service rollback {name}, update it again, or swarmr service resume {name}"
            )
        };
        report.problems.push(StatusProblem {
            what: format!(
                "the {} of {name} is paused: {}",
                rollout.noun(),
                rollout.message
            ),
            next,
        });
    }
}

/// What goes on of a job, and whether its newest run has failed.
fn describe_job(state: &State, service: &Service, job: &Job, report: &mut StatusReport) {
    let name = service.name();
    let counts = service::status(service, state);
    if job.live_runs().next().is_some() {
        report.converging.push(format!(
            "{name}: {} running, {} completed",
            counts.running_tasks, counts.completed_tasks
        ));
    }
    let end = job.run(job.iteration).and_then(|run| run.end.as_ref());
    if let Some(end) = end.filter(|end| end.outcome == Outcome::Failed) {
        report.problems.push(StatusProblem {
            what: format!("run {} of {name} has failed: {}", job.iteration, end.err),
            next: format!(
                "swarmr service ps {name} shows which tasks; swarmr service run-now {name} runs it again"
            ),
        });
    }
}

/// Why tasks of a service wait or fail, each reason once.
fn stuck_tasks(state: &State, service: &Service, report: &mut StatusReport) {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for task in state.tasks_of(service.id) {
        if let Some(reason) = stuck(task) {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in reasons.into_iter().take(MOST_PROBLEMS) {
        let plural = if count == 1 { "" } else { "s" };
        report.problems.push(StatusProblem {
            what: format!(
                "{}: {count} task{plural} not running: {reason}",
                service.name()
            ),
            next: match service.spec.mode {
                Mode::Global(_) | Mode::GlobalJob(_) => {
                    format!("swarmr service ps {} shows on which nodes", service.name())
                }
                Mode::Replicated(_) | Mode::ReplicatedJob(_) => {
                    format!("swarmr service ps {} shows which", service.name())
                }
            },
        });
    }
}

/// Nodes that cannot be drained for want of other places.
fn blocked_drains(state: &State, report: &mut StatusReport) {
    for node in state.nodes().filter(|node| node.is_drained()) {
        let blocked: Vec<_> = state
            .tasks_on(node.id)
            .filter_map(|task| match task.waiting.as_deref() {
                Some(Waiting::Leaving(stay)) if stay.is_blocked() => Some(stay),
                _ => None,
            })
            .collect();
        let Some(first) = blocked.first() else {
            continue;
        };
        let (name, count) = (name(node), blocked.len());
        let tasks = if count == 1 { "task" } else { "tasks" };
        report.problems.push(StatusProblem {
            what: format!("node {name} is not drained: {count} {tasks} left: {first}"),
            next: format!(
                "make room on other nodes, or stop what is left with swarmr node drain --force {name}"
            ),
        });
    }
}

fn stuck(task: &Task) -> Option<String> {
    if !task.is_wanted() {
        return None;
    }
    match task.waiting.as_deref() {
        // These pass by themselves.
        Some(Waiting::RestartDelay(_) | Waiting::Predecessor(_)) => None,
        // It runs; that it cannot leave is its node's problem.
        Some(Waiting::Leaving(_)) => None,
        // Their times differ; what is wrong does not.
        Some(Waiting::CrashLoop(crash_loop)) => {
            Some(format!("crash loop, last exit: {}", crash_loop.last))
        }
        Some(waiting) => Some(waiting.to_string()),
        None if task.has_failed() => {
            Some(task.status.err.to_string()).filter(|err| !err.is_empty())
        }
        None => None,
    }
}

fn since(node: &Node, now: Timestamp) -> String {
    if !node.is_down() {
        return String::new();
    }
    let seconds = (now - node.status.since).0.max(0) / 1_000_000_000;
    let age = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!(" since {} ({age})", node.status.since)
}

pub(super) fn name(node: &Node) -> &str {
    if node.spec.name.is_empty() {
        &node.description.hostname
    } else {
        &node.spec.name
    }
}

fn name_of(state: &State, id: NodeId) -> String {
    state
        .node(id)
        .map(|node| name(node))
        .filter(|name| !name.is_empty())
        .map_or_else(|| id.to_string(), str::to_owned)
}
