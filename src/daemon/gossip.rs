//! This node's part in the gossip: who belongs to the cluster comes from its assignments, what died
//! here goes out, and what others say goes to the agent's tables and to the manager.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swarmr_net::gossip::{self, Phase, Timing};
use swarmr_net::membership::{Absence, Member, Members, Membership, Settings, Told, View};
use swarmr_net::quic::Pool;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, Hearsay, Silence, to_be_told};
use crate::message::GOSSIP;
use crate::spec::{NodeId, TaskId};
use crate::state::assignment::Assignment;
use crate::state::members::ClusterMembers;

/// That a task has died is said for so long after it has left this node's tables: others may get
/// their next assignment later.
const LINGER: Duration = Duration::from_secs(10);
/// Dead tasks that are told of.
const MOST_DEAD: usize = 2_000;

/// Starts to take part, with what is known from before a restart.
pub(super) fn start(
    agent: &Arc<Agent>,
    pool: &Pool,
    tracker: &TaskTracker,
    stopping: &CancellationToken,
) -> Arc<Membership> {
    let members = watch::Sender::new(Arc::default());
    let told = watch::Sender::new(Arc::default());
    let settings = Settings {
        me: gossip::NodeId(agent.node().bits()),
        start: milliseconds_now(),
        seed: rand::random(),
        alpn: GOSSIP,
        timing: Timing::default(),
    };
    let membership = Arc::new(Membership::start(
        settings,
        pool.clone(),
        members.subscribe(),
        told.subscribe(),
        tracker,
        stopping,
    ));
    tracker.spawn(hear(agent.clone(), membership.view(), stopping.clone()));
    let say = Say {
        agent: agent.clone(),
        listed: ClusterMembers::default(),
        members,
        dead: BTreeMap::new(),
        told,
    };
    tracker.spawn(say.run(stopping.clone()));
    membership
}

/// Later starts of this node's daemon have larger numbers; where its clock was put back, others tell
/// it of the number that they know, and it goes beyond that.
fn milliseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

async fn hear(
    agent: Arc<Agent>,
    mut view: watch::Receiver<Arc<View>>,
    stopping: CancellationToken,
) {
    loop {
        let news = hearsay(&view.borrow_and_update());
        agent.hear(news);
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

fn hearsay(view: &View) -> Hearsay {
    let silence = |absence| match absence {
        Absence::Suspected => Silence::Suspected,
        Absence::Silent | Absence::Unresponsive => Silence::Gone,
    };
    let absent = view.absent.iter();
    let drains = view
        .tasks
        .iter()
        .filter(|(_, phase)| **phase == Phase::Draining);
    Hearsay {
        nodes: absent
            .map(|(node, absence)| (NodeId::from_bits(node.0), silence(*absence)))
            .collect(),
        dead: drains
            .map(|((node, task), _)| (NodeId::from_bits(node.0), TaskId::from_bits(task.0)))
            .collect(),
    }
}

struct Say {
    agent: Arc<Agent>,
    listed: ClusterMembers,
    members: watch::Sender<Arc<Members>>,
    /// Tasks that others hear are dead, and until when of those that are in no table here any more.
    dead: BTreeMap<TaskId, Option<Instant>>,
    told: watch::Sender<Arc<Told>>,
}

impl Say {
    async fn run(mut self, stopping: CancellationToken) {
        let mut assignments = self.agent.assignments();
        let mut changes = self.agent.changes();
        loop {
            let assignment = assignments.borrow_and_update().clone();
            changes.mark_unchanged();
            if let Some(assignment) = assignment {
                self.list(&assignment);
                let dead = to_be_told(&assignment, &self.agent.dead());
                self.tell(&dead, Instant::now());
            }
            let next = self.dead.values().flatten().min().copied();
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = assignments.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
                () = at(next) => {}
            }
        }
    }

    fn list(&mut self, assignment: &Assignment) {
        if self.listed == assignment.members {
            return;
        }
        self.listed.clone_from(&assignment.members);
        let members = self.listed.0.iter().map(|member| Member {
            id: gossip::NodeId(member.node.bits()),
            name: member.node.to_string(),
            address: member.addr,
        });
        self.members.send_replace(Arc::new(Members::new(members)));
    }

    fn tell(&mut self, dead: &BTreeSet<TaskId>, now: Instant) {
        for (task, until) in &mut self.dead {
            if !dead.contains(task) {
                until.get_or_insert(now + LINGER);
            }
        }
        self.dead
            .retain(|_, until| until.is_none_or(|until| until > now));
        for task in dead {
            if self.dead.len() < MOST_DEAD || self.dead.contains_key(task) {
                self.dead.insert(*task, None);
            }
        }
        let ids = self.dead.keys();
        let told: Told = ids
            .map(|task| (gossip::TaskId(task.bits()), Phase::Draining))
            .collect();
        self.told.send_if_modified(|known| {
            let news = **known != told;
            if news {
                *known = Arc::new(told);
            }
            news
        });
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
